//! Handlers of `idl/block/`: disks, partitions and other block devices.

mod blockdev;
mod devices;
mod gpt;
mod ioctl;
mod parted;
mod partition;
mod sfdisk;
mod swap;
mod table;
pub(crate) mod wipe;
