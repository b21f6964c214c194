//! Extended attributes of files that are held by handles.

use std::os::fd::AsFd;

use nix::errno::Errno;
use protocol::{Context, GuestPath, Result};
use rustix::fs::{XattrFlags, getxattr, listxattr, setxattr};

use crate::guest::descriptor_path;

/// The kernel's limit for a list of names, and for a value.
const SIZE_MAX: usize = 64 * 1024;

/// What ntfs-3g shows of a compressed file: its content, not an attribute.
const HIDDEN: &[u8] = b"user.WofCompressedData";

/// Copies all attributes, replacing those of the same names.
pub(super) fn copy(
    from: &impl AsFd,
    from_path: &GuestPath,
    to: &impl AsFd,
    to_path: &GuestPath,
) -> Result<()> {
    // The system calls for descriptors do not take O_PATH ones.
    let (from, to) = (descriptor_path(from), descriptor_path(to));
    let mut names = vec![0; SIZE_MAX];
    let length = listxattr(&from, &mut names)
        .map_err(errno)
        .context(from_path)?;
    names.truncate(length);
    let mut value = vec![0; SIZE_MAX];
    for name in names.split(|&byte| byte == 0) {
        if name.is_empty() || name == HIDDEN {
            continue;
        }
        let subject = |path| format!("{path}: {}", String::from_utf8_lossy(name));
        let length = getxattr(&from, name, &mut value)
            .map_err(errno)
            .with_context(|| subject(from_path))?;
        let value = value.get(..length).unwrap_or_default();
        setxattr(&to, name, value, XattrFlags::empty())
            .map_err(errno)
            .with_context(|| subject(to_path))?;
    }
    Ok(())
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
