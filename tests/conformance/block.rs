//! Disks and partition tables: what guestfish cannot say.

mod devices;
mod ldm;
mod luks;
mod lvm;
mod md;
mod partition;
mod settling;
mod wipe;
