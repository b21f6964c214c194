//! Files of the guest: one module per file of `idl/file/`, and what they share.

pub(crate) mod archives;
mod attributes;
mod checksums;
mod contents;
mod copy;
mod directories;
pub(crate) mod fresh;
mod links;
mod search;
mod status;
mod text;
mod transfer;

use std::fmt;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, fstat};
use protocol::{Context, DeviceOrPath, Error, GuestPath, Result};

use crate::guest::{Guest, file_type};

pub(crate) use directories::removal::remove_tree;

/// The mode of a new file, before the umask.
const NEW_FILE: Mode = Mode::from_bits_truncate(0o666);

/// A handle (`O_PATH`) of a directory. Callers know the words that refuse
/// anything else.
fn open_directory(guest: &Guest, path: &GuestPath) -> Result<OwnedFd> {
    let handle = guest.handle(path)?;
    if file_type(&fstat(&handle).context(path)?) == SFlag::S_IFDIR {
        Ok(handle)
    } else {
        Err(Error::with_errno(
            Errno::ENOTDIR,
            format!("{path}: not a directory"),
        ))
    }
}

/// Waits until what was written to a device is there. The kernel reports what it could not write
/// only to those who ask, and some filesystems read a device past what it holds back.
fn write_out(file: &File, target: &DeviceOrPath) -> Result<()> {
    match target {
        DeviceOrPath::Device(device) => file.sync_data().context(device),
        DeviceOrPath::Path(_) => Ok(()),
    }
}

/// A path without the slashes at its end: the name of what is to be made.
fn unslashed(path: &GuestPath) -> Result<GuestPath> {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/');
    GuestPath::new(bytes.get(..=end.unwrap_or(0)).unwrap_or_default())
}

/// The last component of a path as it is written, without the slashes at its end; `None` if there
/// is none, as in the root.
fn last_component(path: &[u8]) -> Option<&[u8]> {
    path.rsplit(|&byte| byte == b'/')
        .find(|component| !component.is_empty())
}

/// A mode that a caller gave as a number.
fn mode_bits(mode: i32, path: &GuestPath) -> Result<u32> {
    u32::try_from(mode).map_err(|_| Error::invalid(format!("{path}: mode is negative")))
}

/// Goes to where a part of a file or device begins.
fn seek(file: &mut File, offset: u64, subject: &impl fmt::Display) -> Result<()> {
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))
            .context(subject)
            .context("lseek")?;
    }
    Ok(())
}
