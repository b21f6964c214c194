//! Files of the guest.

mod access;
mod trees;
