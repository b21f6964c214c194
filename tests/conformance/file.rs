//! Files of the guest.

mod access;
mod archives;
mod attributes;
mod bounds;
mod directories;
mod failures;
mod relabel;
mod rsync;
mod sizes;
mod sparse;
mod trees;
