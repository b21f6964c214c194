//! Moving files, also between filesystems.

use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::{Context, Error, GuestPath, Result};

use super::tree::{self, How};
use crate::file::directories::removal::remove_tree;
use crate::guest::{Guest, Place, file_type};

/// Moves `src` to `dest`, or into it if it is a directory.
pub(super) fn move_to(guest: &Guest, src: &GuestPath, dest: &GuestPath) -> Result<()> {
    let from = guest.parent(src)?;
    let stat = from.stat().context(src)?;
    let target = match guest.stat(dest) {
        Ok(stat) if file_type(&stat) == SFlag::S_IFDIR => dest.join(from.name.as_bytes()),
        _ => dest.clone(),
    };
    let to = guest.parent(&target)?;
    if let Ok(there) = to.stat()
        && (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)
    {
        return merge(&from, &to, src, &target);
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
            // What is there must give way as a rename would make it.
            match unlinkat(&to.dir, to.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR) if file_type(&stat) == SFlag::S_IFDIR => {
                    unlinkat(&to.dir, to.name.as_os_str(), UnlinkatFlags::RemoveDir)
                        .with_context(subject)?;
                }
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::os(errno, subject())),
            }
            tree::copy(guest, src, &target, How::Archive)?;
            remove_tree(from, src)
        }
        Err(errno) => Err(Error::os(errno, subject())),
    }
}

/// Two names of one file: the old one goes, unless it is the same name.
fn merge(from: &Place, to: &Place, src: &GuestPath, target: &GuestPath) -> Result<()> {
    let (a, b) = (
        fstat(&from.dir).context(src)?,
        fstat(&to.dir).context(target)?,
    );
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) && from.name == to.name {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("'{src}' and '{target}' are the same file"),
        ));
    }
    unlinkat(&from.dir, from.name.as_os_str(), UnlinkatFlags::NoRemoveDir).context(src)
}
