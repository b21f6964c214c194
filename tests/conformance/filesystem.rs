//! Filesystems: what the scripts of the differential lane cannot reach.

mod btrfs;
mod ext;
mod mkfs;
mod mount;
mod probe;
mod xfs;
