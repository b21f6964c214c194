//! Handlers of `idl/filesystem/`: filesystems: mounting, making, checking, describing.

mod btrfs;
mod btrfs_balance;
mod btrfs_subvolume;
mod ext;
mod ioctl;
mod iso9660;
mod labels;
mod listing;
pub(crate) mod mapper;
mod minimum_size;
mod mke2fs;
mod mkfs;
mod mount;
mod ntfs;
mod partitions;
mod probe;
mod remounting;
mod shares;
pub(crate) mod superblock;
mod upkeep;
mod volumes;
mod xfs;

use protocol::{Error, Result};

/// A number for the option of a program that is never below zero.
fn not_negative(name: &str, value: i64) -> Result<String> {
    if value < 0 {
        return Err(Error::invalid(format!("{name} must be >= 0")));
    }
    Ok(value.to_string())
}
