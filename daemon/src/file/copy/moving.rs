//! Moving files, also between filesystems.

use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::sys::stat::SFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::{Context, Error, GuestPath, Progress, Result};

use super::targets::{is_below, refuse_same, require_no_slash};
use super::tree::{self, How};
use crate::file::directories::removal::remove_tree;
use crate::guest::{Guest, file_type};

/// Moves `src` to `dest`, or into it if it is a directory.
pub(super) fn move_to(
    guest: &Guest,
    src: &GuestPath,
    dest: &GuestPath,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let from = guest.parent(src)?;
    let stat = from.stat().context(src)?;
    let target = match guest.stat(dest) {
        Ok(stat) if file_type(&stat) == SFlag::S_IFDIR => dest.join(from.name.as_bytes()),
        _ => dest.clone(),
    };
    let is_dir = file_type(&stat) == SFlag::S_IFDIR;
    if !is_dir {
        require_no_slash(&target)?;
    }
    let to = guest.parent(&target)?;
    if let Ok(there) = to.stat() {
        refuse_same(guest, src, &stat, &target, &there)?;
    }
    let subject = || format!("cannot move '{src}' to '{target}'");
    match renameat(
        &from.dir,
        from.name.as_os_str(),
        &to.dir,
        to.name.as_os_str(),
    ) {
        Ok(()) => Ok(()),
        Err(Errno::EXDEV) => {
            // What is there must give way as a rename would make it: a directory to a directory,
            // and anything else to anything else.
            let kind = if is_dir {
                UnlinkatFlags::RemoveDir
            } else {
                UnlinkatFlags::NoRemoveDir
            };
            match unlinkat(&to.dir, to.name.as_os_str(), kind) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::os(errno, subject())),
            }
            progress.pulse_while(|| {
                tree::copy(guest, src, &target, How::Archive)?;
                remove_tree(from, src)
            })
        }
        Err(Errno::EINVAL) if is_dir && is_below(&to.dir, &stat).is_ok_and(|below| below) => {
            Err(Error::os(
                Errno::EINVAL,
                format!("cannot move '{src}' to a subdirectory of itself, '{target}'"),
            ))
        }
        Err(errno) => Err(Error::os(errno, subject())),
    }
}
