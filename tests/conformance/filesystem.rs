//! Filesystems: what the scripts of the differential lane cannot reach.

mod mkfs;
mod mount;
mod probe;
