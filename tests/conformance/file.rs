//! Files of the guest.

mod access;
mod archives;
mod relabel;
mod rsync;
mod trees;
