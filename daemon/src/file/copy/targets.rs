//! What may be copied where: nothing onto itself, no directory into itself.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use protocol::{Context, Error, GuestPath, Result};

use crate::file::last_component;
use crate::guest::{Guest, Place, file_type};

/// Refuses to copy a file to itself, and a directory into itself; gives back the
/// place of the target.
pub(super) fn refuse_itself(
    guest: &Guest,
    src: &GuestPath,
    stat: &FileStat,
    target: &GuestPath,
) -> Result<Place> {
    let there = guest.lstat(target);
    if let Ok(there) = &there {
        refuse_same(guest, src, stat, target, there)?;
    }
    if file_type(stat) == SFlag::S_IFREG
        && there.is_ok()
        && let Ok(there) = guest.stat(target)
        && identity(&there) == identity(stat)
    {
        return Err(same(src, target));
    }
    let place = guest.parent(target)?;
    if file_type(stat) != SFlag::S_IFDIR {
        return Ok(place);
    }
    if is_below(&place.dir, stat).context(target)? {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("cannot copy a directory, '{src}', into itself, '{target}'"),
        ));
    }
    Ok(place)
}

/// Whether a directory is, or is below, the one that `above` describes: by what they are and not
/// by their paths, since a filesystem can be mounted in several places.
pub(super) fn is_below(directory: &OwnedFd, above: &FileStat) -> nix::Result<bool> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut here = openat(directory, ".", flags, Mode::empty())?;
    let mut this = fstat(&here)?;
    loop {
        if identity(&this) == identity(above) {
            return Ok(true);
        }
        here = openat(&here, "..", flags, Mode::empty())?;
        let up = fstat(&here)?;
        // Only the uppermost directory is above itself.
        if identity(&up) == identity(&this) {
            return Ok(false);
        }
        this = up;
    }
}

/// Refuses what is, or as a link leads to, the very file that it would replace:
/// nothing would be left of that file.
pub(super) fn refuse_same(
    guest: &Guest,
    src: &GuestPath,
    stat: &FileStat,
    target: &GuestPath,
    there: &FileStat,
) -> Result<()> {
    let leads_there = || {
        file_type(stat) == SFlag::S_IFLNK
            && guest
                .stat(src)
                .is_ok_and(|stat| identity(&stat) == identity(there))
    };
    if identity(stat) == identity(there) || leads_there() {
        return Err(same(src, target));
    }
    Ok(())
}

/// Refuses to make anything but a directory under a name with a slash at its
/// end.
pub(super) fn require_no_slash(target: &GuestPath) -> Result<()> {
    if target.as_bytes().ends_with(b"/") {
        return Err(Error::os(Errno::ENOTDIR, target));
    }
    Ok(())
}

/// By what a file is known, whatever its name.
pub(super) fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn same(src: &GuestPath, target: &GuestPath) -> Error {
    Error::with_errno(
        Errno::EINVAL,
        format!("'{src}' and '{target}' are the same file"),
    )
}

/// The name of a copy in a directory; `None` if the path names the directory
/// itself, as `/a/.` does.
pub(super) fn name_of_copy(path: &GuestPath) -> Option<&[u8]> {
    last_component(path.as_bytes()).filter(|name| !matches!(*name, b"." | b".."))
}
