//! Extended attributes of files that are held by a descriptor of any kind.

use std::os::fd::AsFd;

use nix::errno::Errno;
use rustix::fs::XattrFlags;

use crate::guest::descriptor_path;

/// The longest value that Linux can hold.
pub(crate) const VALUE_MAX: usize = 64 << 10;

/// How much the names and values of a file's attributes may take together, where all are in memory.
/// An inode can have thousands of the longest values, and a forged one needs no disk for them.
const ALL_MAX: usize = 64 << 20;

/// NTFS keeps the packed contents of system files in this one, and it can never
/// be read.
const HIDDEN: &[u8] = b"user.WofCompressedData";

/// One attribute: its full name, and its value.
pub(crate) type Attribute = (Vec<u8>, Vec<u8>);

/// The names of a file's attributes, in the order of its filesystem.
///
/// # Errors
///
/// ENOTSUP if the filesystem has none; the errno of the system call.
pub(crate) fn list(file: &impl AsFd) -> nix::Result<Vec<Vec<u8>>> {
    let path = descriptor_path(file);
    let names = grow(|buffer| rustix::fs::listxattr(&path, buffer))?;
    Ok(names
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty() && *name != HIDDEN)
        .map(<[u8]>::to_vec)
        .collect())
}

/// The value of one attribute.
///
/// # Errors
///
/// ENODATA if there is none of that name; the errno of the system call.
pub(crate) fn get(file: &impl AsFd, name: &[u8]) -> nix::Result<Vec<u8>> {
    let path = descriptor_path(file);
    grow(|buffer| rustix::fs::getxattr(&path, name, buffer))
}

/// All attributes with their values, sorted by name.
///
/// # Errors
///
/// Those of [`list`] and [`get`]; E2BIG if they take more than 64 MiB.
pub(crate) fn all(file: &impl AsFd) -> nix::Result<Vec<Attribute>> {
    let mut names = list(file)?;
    names.sort();
    let mut left = ALL_MAX;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let value = get(file, &name)?;
        left = left
            .checked_sub(name.len() + value.len())
            .ok_or(Errno::E2BIG)?;
        all.push((name, value));
    }
    Ok(all)
}

/// Sets one attribute, whether it was there or not.
///
/// # Errors
///
/// The errno of the system call.
pub(crate) fn set(file: &impl AsFd, name: &[u8], value: &[u8]) -> nix::Result<()> {
    rustix::fs::setxattr(descriptor_path(file), name, value, XattrFlags::empty()).map_err(errno)
}

/// Removes one attribute.
///
/// # Errors
///
/// ENODATA if there is none of that name; the errno of the system call.
pub(crate) fn remove(file: &impl AsFd, name: &[u8]) -> nix::Result<()> {
    rustix::fs::removexattr(descriptor_path(file), name).map_err(errno)
}

/// Calls `read` with buffers of growing size until its result fits.
fn grow(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> nix::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                // A file can have thousands of short values.
                buffer.shrink_to_fit();
                return Ok(buffer);
            }
            // Both lists and values are at most 64 KiB.
            Err(rustix::io::Errno::RANGE) if buffer.len() < VALUE_MAX => {
                buffer.resize(VALUE_MAX, 0);
            }
            Err(error) => return Err(errno(error)),
        }
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
