//! Handlers of `idl/block/`: disks, partitions and other block devices.

mod blockdev;
mod devices;
mod gpt;
pub(crate) mod ioctl;
mod ldm;
pub(crate) mod loopback;
mod luks;
pub(crate) mod lvm;
mod lvm_query;
mod md;
mod parted;
mod partition;
mod sfdisk;
pub(crate) mod swap;
pub(crate) mod table;
pub(crate) mod wipe;
