//! The system calls on filesystems that have no safe wrapper.
#![allow(unsafe_code, reason = "ioctl takes pointers")]

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use nix::errno::Errno;
use nix::libc::c_long;

/// Requests of linux/btrfs.h and linux/fs.h.
mod raw {
    nix::ioctl_write_ptr!(create_snapshot, 0x94, 23, super::Volume);
    nix::ioctl_write_ptr!(create_subvolume, 0x94, 24, super::Volume);
    nix::ioctl_write_ptr!(delete_subvolume, 0x94, 15, super::Name);
    nix::ioctl_readwrite!(trim, b'X', 121, super::Range);
    nix::ioctl_read!(generation, b'v', 1, super::Generation);
    nix::ioctl_write_ptr!(set_generation, b'v', 2, super::Generation);
}

const READ_ONLY: u64 = 1 << 1;
const IN_GROUP: u64 = 1 << 2;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Name {
    origin: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct Volume {
    origin: i64,
    transaction: u64,
    flags: u64,
    group_size: u64,
    group: *const Group,
    unused: [u64; 2],
    name: [u8; 4040],
}

/// `struct btrfs_qgroup_inherit`, for a single group.
#[repr(C)]
struct Group {
    flags: u64,
    /// How many there are, and how many to copy from.
    counts: [u64; 3],
    limits: [u64; 5],
    id: u64,
}

/// `struct fstrim_range`.
#[repr(C)]
struct Range {
    start: u64,
    length: u64,
    minimum: u64,
}

/// The requests' numbers say `long`, but the kernel copies an `int`: the first of these.
type Generation = [u32; size_of::<c_long>() / size_of::<u32>()];

/// What a new subvolume is made of.
#[derive(Debug, Default)]
pub(super) struct NewVolume<'a> {
    /// The subvolume that it is a snapshot of.
    pub(super) origin: Option<&'a File>,
    /// It is a snapshot that nobody can write to.
    pub(super) read_only: bool,
    /// The quota group that it is put in.
    pub(super) group: Option<u64>,
}

/// Makes a subvolume of this name in a directory.
///
/// # Errors
///
/// The errno of the system call: ENOTTY if this is no btrfs.
pub(super) fn create_subvolume(
    parent: &File,
    name: &OsStr,
    wanted: &NewVolume<'_>,
) -> nix::Result<()> {
    let group = wanted.group.map(|id| Group {
        flags: 0,
        counts: [1, 0, 0],
        limits: [0; 5],
        id,
    });
    let mut volume = Volume {
        origin: wanted.origin.map_or(0, |origin| origin.as_raw_fd().into()),
        transaction: 0,
        flags: 0,
        group_size: 0,
        group: ptr::null(),
        unused: [0; 2],
        name: terminated(name)?,
    };
    if wanted.read_only {
        volume.flags |= READ_ONLY;
    }
    if let Some(group) = &group {
        volume.flags |= IN_GROUP;
        volume.group_size = size_of::<Group>() as u64;
        volume.group = group;
    }
    let create = match wanted.origin {
        Some(_) => raw::create_snapshot,
        None => raw::create_subvolume,
    };
    // SAFETY: the descriptors are open; the kernel reads a structure of this layout, whose pointer
    // is null or to a group that is there until the call has ended.
    unsafe { create(parent.as_raw_fd(), &raw const volume) }.map(drop)
}

/// Deletes the subvolume of this name in a directory, and what is in it.
///
/// # Errors
///
/// The errno of the system call: EINVAL if it is no subvolume, ENOTEMPTY if others are in it.
pub(super) fn delete_subvolume(parent: &File, name: &OsStr) -> nix::Result<()> {
    let name = Name {
        origin: 0,
        name: terminated(name)?,
    };
    // SAFETY: the descriptor is open, and the kernel reads a structure of this layout.
    unsafe { raw::delete_subvolume(parent.as_raw_fd(), &raw const name) }.map(drop)
}

/// Discards what is free in a part of the filesystem that a directory is on, but no extents that
/// are shorter than `minimum`.
///
/// # Errors
///
/// The errno of the system call: ENOTTY or EOPNOTSUPP if nothing can be discarded there.
pub(super) fn trim(directory: &File, start: u64, length: u64, minimum: u64) -> nix::Result<()> {
    let mut range = Range {
        start,
        length,
        minimum,
    };
    // SAFETY: the descriptor is open, and the kernel reads and writes a structure of this layout.
    unsafe { raw::trim(directory.as_raw_fd(), &raw mut range) }.map(drop)
}

/// The generation of the inode of a file or directory.
///
/// # Errors
///
/// The errno of the system call: ENOTTY if its filesystem has none.
pub(super) fn generation(file: &File) -> nix::Result<u32> {
    let mut found = Generation::default();
    // SAFETY: the descriptor is open, and the kernel writes no more than the request's number says.
    unsafe { raw::generation(file.as_raw_fd(), &raw mut found) }?;
    let [generation, ..] = found;
    Ok(generation)
}

/// Sets the generation of the inode of a file or directory.
///
/// # Errors
///
/// The errno of the system call: ENOTTY or EOPNOTSUPP if it cannot be changed on its filesystem.
pub(super) fn set_generation(file: &File, generation: u32) -> nix::Result<()> {
    let mut wanted = Generation::default();
    let [first, ..] = &mut wanted;
    *first = generation;
    // SAFETY: the descriptor is open, and the kernel reads no more than the request's number says.
    unsafe { raw::set_generation(file.as_raw_fd(), &raw const wanted) }.map(drop)
}

/// A name with a NUL behind it.
fn terminated<const N: usize>(name: &OsStr) -> nix::Result<[u8; N]> {
    let mut field = [0; N];
    match field.get_mut(..name.len()) {
        Some(start) if name.len() < N => start.copy_from_slice(name.as_bytes()),
        _ => return Err(Errno::ENAMETOOLONG),
    }
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_long_as_the_kernel_has_them() {
        assert_eq!(size_of::<Name>(), 4096);
        assert_eq!(size_of::<Volume>(), 4096);
        assert_eq!(size_of::<Group>(), 80);
        assert_eq!(size_of::<Range>(), 24);
    }

    #[test]
    fn names_end() {
        assert_eq!(terminated::<3>(OsStr::new("ab")), Ok(*b"ab\0"));
        assert_eq!(terminated::<2>(OsStr::new("ab")), Err(Errno::ENAMETOOLONG));
        assert_eq!(terminated::<1>(OsStr::new("ab")), Err(Errno::ENAMETOOLONG));
    }
}
