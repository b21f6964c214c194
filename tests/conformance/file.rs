//! Files of the guest.

mod access;
mod archives;
mod rsync;
mod trees;
