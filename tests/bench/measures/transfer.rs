//! Much data, or many files, in one call.

use std::time::Instant;

use anyhow::{Result, ensure};
use protocol::api::{Dirent, TarInOptions, TarOutOptions};
use protocol::client::ClientError;
use protocol::xdr::Decoder;

use super::inputs::{ENTRIES, ENTRIES_ON, FILES, zeroes};
use super::{Counter, Measure, milliseconds, rate, settle};

const AREA: &str = "transfer";
/// All that coreutils has; the stock daemon's others are seldom installed.
const CHECKSUMS: [&str; 7] = ["crc", "md5", "sha1", "sha224", "sha256", "sha384", "sha512"];

pub(super) fn measures() -> Vec<Measure> {
    let mut measures = vec![download(), upload(), tar_in(), tar_out()];
    for (filesystem, directory) in ENTRIES_ON {
        measures.extend([
            ls(filesystem, directory),
            readdir(filesystem, directory),
            listing(filesystem, directory),
        ]);
    }
    measures.extend(CHECKSUMS.map(checksum));
    measures
}

fn download() -> Measure {
    Measure::new(AREA, "download", "MB/s", |instance, inputs| {
        let start = Instant::now();
        let mut sink = Counter::default();
        instance.client.download("/large", &mut sink)?;
        ensure!(sink.0 == inputs.size, "{} bytes came", sink.0);
        Ok(rate(inputs.size, start))
    })
    .target(1.5)
}

fn upload() -> Measure {
    Measure::new(AREA, "upload", "MB/s", |instance, inputs| {
        let start = Instant::now();
        let mut source = zeroes(inputs.size);
        instance.client.upload(&mut source, "/uploaded")?;
        let rate = rate(inputs.size, start);
        // Giving up the old file's blocks would be part of the next sample.
        instance.client.rm_rf("/uploaded")?;
        settle(instance)?;
        Ok(rate)
    })
    .target(1.5)
}

fn tar_in() -> Measure {
    Measure::new(AREA, "tar_in of 5,000 files", "ms", |instance, inputs| {
        instance.client.mkdir("/new")?;
        let mut archive = inputs.archive.as_slice();
        let start = Instant::now();
        instance
            .client
            .tar_in(&mut archive, "/new", &TarInOptions::default())?;
        let time = milliseconds(start);
        instance.client.rm_rf("/new")?;
        settle(instance)?;
        Ok(time)
    })
    .target(0.8)
}

fn tar_out() -> Measure {
    Measure::new(AREA, "tar_out of 5,000 files", "ms", |instance, _| {
        let start = Instant::now();
        let mut sink = Counter::default();
        instance
            .client
            .tar_out("/tree", &mut sink, &TarOutOptions::default())?;
        ensure!(sink.0 >= FILES * 1536, "{} bytes came", sink.0);
        Ok(milliseconds(start))
    })
    .target(0.8)
}

fn ls(filesystem: &str, directory: &'static str) -> Measure {
    let name = format!("ls of 10,000 entries on {filesystem}");
    Measure::new(AREA, name, "ms", move |instance, _| {
        let start = Instant::now();
        let mut names = Vec::new();
        instance.client.ls0(directory, &mut names)?;
        let count = names.iter().filter(|byte| **byte == 0).count();
        ensure!(count == ENTRIES, "{count} names came");
        Ok(milliseconds(start))
    })
    .target(0.7)
}

fn readdir(filesystem: &str, directory: &'static str) -> Measure {
    let name = format!("readdir of 10,000 entries on {filesystem}");
    Measure::new(AREA, name, "ms", move |instance, _| {
        let start = Instant::now();
        let entries = instance.client.readdir(directory)?;
        // Two more than were put there: the directory itself and its parent.
        ensure!(entries.len() == ENTRIES + 2, "{} came", entries.len());
        Ok(milliseconds(start))
    })
    .target(0.7)
}

/// The same as a library of the daemon's own time asks for it: since 1.49.1 that is
/// `internal_readdir`, which sends the entries while it reads them, and which older
/// daemons do not have.
fn listing(filesystem: &str, directory: &'static str) -> Measure {
    let name = format!("readdir of 10,000 entries on {filesystem}, as its library asks");
    Measure::new(AREA, name, "ms", move |instance, _| {
        let client = &mut instance.client;
        let in_parts = client.internal_readdir("/work", &mut Vec::new()).is_ok();
        let start = Instant::now();
        let entries = if in_parts {
            let mut listing = Vec::new();
            client.internal_readdir(directory, &mut listing)?;
            dirents(&listing)?
        } else {
            client.readdir(directory)?
        };
        ensure!(entries.len() == ENTRIES + 2, "{} came", entries.len());
        Ok(milliseconds(start))
    })
    .target(0.7)
}

fn dirents(listing: &[u8]) -> Result<Vec<Dirent>> {
    let mut input = Decoder::new(listing);
    let mut entries = Vec::new();
    while !input.is_empty() {
        let entry = Dirent::decode(&mut input).map_err(ClientError::from)?;
        entries.push(entry);
    }
    Ok(entries)
}

fn checksum(kind: &'static str) -> Measure {
    let name = format!("checksum {kind}");
    Measure::new(AREA, name, "MB/s", move |instance, inputs| {
        let start = Instant::now();
        instance.client.checksum(kind, "/large")?;
        Ok(rate(inputs.size, start))
    })
    .target(1.0)
    .rounds(7)
}
