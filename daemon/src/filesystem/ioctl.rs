//! The system calls on filesystems that have no safe wrapper.
#![allow(unsafe_code, reason = "ioctl takes pointers")]

use std::ffi::{CStr, OsStr};
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
    nix::ioctl_readwrite!(search_tree, 0x94, 17, super::Search);
    nix::ioctl_readwrite!(look_up_inode, 0x94, 18, super::Inode);
    nix::ioctl_read!(label, 0x94, 49, super::Label);
    nix::ioctl_readwrite!(trim, b'X', 121, super::Range);
    nix::ioctl_read!(generation, b'v', 1, super::Generation);
    nix::ioctl_write_ptr!(set_generation, b'v', 2, super::Generation);
}

const READ_ONLY: u64 = 1 << 1;
const IN_GROUP: u64 = 1 << 2;

/// The inode of the topmost directory of each tree of files.
const TOP_OF_TREE: u64 = 256;

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

/// `struct btrfs_ioctl_search_args`.
#[repr(C)]
struct Search {
    tree: u64,
    objects: [u64; 2],
    offsets: [u64; 2],
    transactions: [u64; 2],
    kinds: [u32; 2],
    items: u32,
    unused: [u32; 9],
    found: [u8; 3992],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct Inode {
    tree: u64,
    number: u64,
    name: [u8; 4080],
}

/// `struct fstrim_range`.
#[repr(C)]
struct Range {
    start: u64,
    length: u64,
    minimum: u64,
}

/// A label with NULs behind it.
pub(super) type Label = [u8; 256];

/// The requests' numbers say `long`, but the kernel copies an `int`: the first of these.
type Generation = [u32; size_of::<c_long>() / size_of::<u32>()];

/// Where an item is in a tree of btrfs; they are in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u32,
    pub(super) offset: u64,
}

impl Key {
    /// What comes next, if anything can.
    pub(super) fn next(self) -> Option<Self> {
        // On the disk it is a byte.
        const LAST_KIND: u32 = 255;
        let Self { object, kind, .. } = self;
        let (object, kind, offset) = match self.offset.checked_add(1) {
            Some(offset) => (object, kind, offset),
            None if kind < LAST_KIND => (object, kind + 1, 0),
            None => (object.checked_add(1)?, 0, 0),
        };
        Some(Self {
            object,
            kind,
            offset,
        })
    }
}

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

/// An item of a tree, and what it holds.
pub(super) type Item = (Key, Vec<u8>);

/// Some items of a tree from one place to another, beginning with the first; none when there are no
/// more.
///
/// # Errors
///
/// The errno of the system call: ENOTTY if the directory is on no btrfs.
pub(super) fn search_tree(
    directory: &File,
    tree: u64,
    from: Key,
    to: Key,
) -> nix::Result<Vec<Item>> {
    let mut search = Search {
        tree,
        objects: [from.object, to.object],
        offsets: [from.offset, to.offset],
        transactions: [0, u64::MAX],
        kinds: [from.kind, to.kind],
        // As many as fit.
        items: u32::MAX,
        unused: [0; 9],
        found: [0; 3992],
    };
    // SAFETY: the descriptor is open, and the kernel reads and writes a structure of this layout.
    unsafe { raw::search_tree(directory.as_raw_fd(), &raw mut search) }?;
    let mut rest = &search.found[..];
    Ok((0..search.items)
        .map_while(|_| {
            let item;
            (item, rest) = split_item(rest)?;
            Some(item)
        })
        .collect())
}

/// The first of the items that a search found, and what is behind it.
fn split_item(found: &[u8]) -> Option<(Item, &[u8])> {
    let (_, rest) = found.split_first_chunk::<8>()?;
    let (object, rest) = rest.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let (data, rest) = rest.split_at_checked(length)?;
    let key = Key {
        object: u64::from_ne_bytes(*object),
        kind: u32::from_ne_bytes(*kind),
        offset: u64::from_ne_bytes(*offset),
    };
    Some(((key, data.to_vec()), rest))
}

/// The number of the tree, which is a subvolume's, that a directory is in.
///
/// # Errors
///
/// The errno of the system call: ENOTTY if the directory is on no btrfs.
pub(super) fn tree_of(directory: &File) -> nix::Result<u64> {
    look_up(directory, 0, TOP_OF_TREE).map(|found| found.tree)
}

/// The path of a directory below the top of its tree, with a slash behind it; empty for the top.
///
/// # Errors
///
/// The errno of the system call: ENOENT if there is no such directory.
pub(super) fn directory_in_tree(any: &File, tree: u64, number: u64) -> nix::Result<Vec<u8>> {
    let found = look_up(any, tree, number)?;
    let name = CStr::from_bytes_until_nul(&found.name).map_err(|_| Errno::ENAMETOOLONG)?;
    Ok(name.to_bytes().to_vec())
}

fn look_up(directory: &File, tree: u64, number: u64) -> nix::Result<Inode> {
    let mut found = Inode {
        tree,
        number,
        name: [0; 4080],
    };
    // SAFETY: the descriptor is open, and the kernel reads and writes a structure of this layout.
    unsafe { raw::look_up_inode(directory.as_raw_fd(), &raw mut found) }?;
    Ok(found)
}

/// The label of the filesystem that an open directory is on.
///
/// # Errors
///
/// The errno of the system call: ENOTTY if the filesystem does not tell.
pub(super) fn label(directory: &File) -> nix::Result<Label> {
    let mut found: Label = [0; size_of::<Label>()];
    // SAFETY: the descriptor is open, and the kernel writes an array of this length.
    unsafe { raw::label(directory.as_raw_fd(), &raw mut found) }?;
    Ok(found)
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
        assert_eq!(size_of::<Search>(), 4096);
        assert_eq!(size_of::<Inode>(), 4096);
        assert_eq!(size_of::<Range>(), 24);
    }

    #[test]
    fn items_end_where_they_say() {
        let header = [[7; 8], 256u64.to_ne_bytes(), 5u64.to_ne_bytes()].concat();
        let lengths = [144u32.to_ne_bytes(), 3u32.to_ne_bytes()].concat();
        let found = [&header[..], &lengths, b"abcrest"].concat();
        let key = Key {
            object: 256,
            kind: 144,
            offset: 5,
        };
        let expected = ((key, b"abc".to_vec()), &b"rest"[..]);
        assert_eq!(split_item(&found), Some(expected));
        for cut in [0, 8, 31, 34] {
            assert_eq!(split_item(&found[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn keys_go_on_to_the_last() {
        let key = |object, kind, offset| Key {
            object,
            kind,
            offset,
        };
        for (one, next) in [
            (key(256, 144, 5), Some(key(256, 144, 6))),
            (key(256, 144, u64::MAX), Some(key(256, 145, 0))),
            (key(256, 255, u64::MAX), Some(key(257, 0, 0))),
            (key(u64::MAX, 255, u64::MAX), None),
        ] {
            assert_eq!(one.next(), next, "{one:?}");
            assert!(next.is_none_or(|next| next > one), "{one:?}");
        }
    }

    #[test]
    fn names_end() {
        assert_eq!(terminated::<3>(OsStr::new("ab")), Ok(*b"ab\0"));
        assert_eq!(terminated::<2>(OsStr::new("ab")), Err(Errno::ENAMETOOLONG));
        assert_eq!(terminated::<1>(OsStr::new("ab")), Err(Errno::ENAMETOOLONG));
    }
}
