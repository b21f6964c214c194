//! Files of the guest.

mod access;
mod archives;
mod attributes;
mod bounds;
mod relabel;
mod rsync;
mod sizes;
mod streams;
mod traces;
mod trees;
