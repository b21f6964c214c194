//! Where the second half of a directory begins, for a reader of its own.
//!
//! The position of an entry, which the kernel gives with the one before it, is
//! the filesystem's affair. Two readers need one whose positions only ever grow,
//! whatever the directory holds, and where one can begin in the middle of them.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::{EXT4_SUPER_MAGIC, FsType, XFS_SUPER_MAGIC, fstatfs};
use rustix::fs::{SeekFrom, seek};

use crate::processors;

/// The least that a directory takes on the disk for it to have two readers, in bytes.
const LARGE: u64 = 128 << 10;

/// The middle of the positions in an indexed directory of ext4, which are hashes
/// of the names: 31 bits, and 32 more for those that are alike. To put the entries
/// into that order takes the kernel far longer than to hand them out.
const EXT4_MIDDLE: u64 = 0x4000_0000 << 32;

/// A position in a large directory of XFS is an offset in units of so many bytes. Where no
/// entry begins there, the kernel goes on to the next one: it may have been removed.
const XFS_UNIT: u64 = 8;

/// A descriptor for the second half of a directory, and the position where that
/// begins, if the directory is worth it.
pub(super) fn second_reader(directory: BorrowedFd<'_>) -> Option<(OwnedFd, u64)> {
    let size = u64::try_from(fstat(directory).ok()?.st_size).ok()?;
    if size < LARGE || !processors::several() {
        return None;
    }
    let middle = middle(fstatfs(directory).ok()?.filesystem_type(), size)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let second = openat(directory, c".", flags, Mode::empty()).ok()?;
    // ext4 refuses where the directory is not indexed: its positions are offsets, none that large.
    seek(&second, SeekFrom::Start(middle)).ok()?;
    Some((second, middle))
}

/// Whether what looked like the end of a directory, to a reader that did not meet the middle, may
/// have been none.
///
/// Where ext4 has no checksums, damage in an index that either reader meets makes the kernel forget
/// the index; the other one is then nowhere. Who opens the directory next is given all of it.
pub(super) fn lost_its_index(directory: BorrowedFd<'_>, middle: u64) -> bool {
    let (Ok(position), Ok(stat)) = (seek(directory, SeekFrom::Current(0)), fstat(directory)) else {
        return false;
    };
    // If it was forgotten before the first entry, all have come, by their offsets.
    let by_index = i64::try_from(position).is_ok_and(|position| position > stat.st_size);
    by_index && seek(directory, SeekFrom::Start(middle)).is_err()
}

fn middle(filesystem: FsType, size: u64) -> Option<u64> {
    match filesystem {
        EXT4_SUPER_MAGIC => Some(EXT4_MIDDLE),
        XFS_SUPER_MAGIC => Some(size / 2 / XFS_UNIT),
        // btrfs has its readers wait for each other.
        _ => None,
    }
}
