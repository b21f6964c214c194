//! Archives: unpacking them into the guest, and packing its files.

mod attributes;
pub(crate) mod cpio;
mod exclude;
mod extract;
mod filter;
pub(crate) mod initrd;
pub(crate) mod input;
mod member;
mod pack;
mod reader;

use std::fs::File;

use protocol::{FileSender, Result};

pub(crate) use attributes::Wanted;
pub(crate) use exclude::{Excludes, check_patterns};
pub(crate) use extract::{ExtractOptions, extract};
pub(crate) use filter::{Compressed, Decompressed, program, require, unknown_type};
pub(crate) use pack::{PackOptions, pack};
pub(crate) use reader::Reader;

/// Where an archive goes.
pub(crate) trait Sink {
    /// Sends the next part of it.
    fn send(&mut self, bytes: &[u8]) -> Result<()>;

    /// Sends at most `limit` bytes of a file from its current position, and
    /// gives back how many that was.
    fn copy_from(&mut self, file: &File, limit: u64) -> Result<u64>;
}

impl Sink for FileSender<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        FileSender::send(self, bytes)
    }

    fn copy_from(&mut self, file: &File, limit: u64) -> Result<u64> {
        FileSender::copy_from(self, file, Some(limit))
    }
}
