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

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat};
use protocol::{Context, DeviceOrPath, Error, GuestPath, Result};

use crate::guest::{Guest, file_type};

pub(crate) use directories::removal::remove_tree;

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

/// Waits until what was written to a device is there. The kernel tells of what it could not write
/// only to whom asks, and some filesystems read a device past what it holds back.
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
