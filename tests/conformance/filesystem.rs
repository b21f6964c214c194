//! Filesystems: what the scripts of the differential lane cannot reach.

mod btrfs;
mod ext;
mod mkfs;
mod mount;
mod ntfs;
mod probe;
mod xfs;
