//! Archives: unpacking them into the guest, and packing its files.

mod attributes;
mod extract;
mod member;
mod reader;

pub(crate) use attributes::Wanted;
pub(crate) use extract::{Options, extract};
pub(crate) use reader::Reader;
