//! The worker that runs libblkid: `idl/worker/blkid.idl`.

use std::os::fd::OwnedFd;

use nix::sys::stat::{fstat, major, minor};
use protocol::api::worker_blkid::{BlkidWorker, TableEntry};
use protocol::{Context, Error, List, Result};

use super::libblkid::{ALL_TAGS, Blkid, Chains, Outcome, Partition, TAGS};

/// Devices that are not larger are floppy disks, on which a partition table can look like the
/// beginning of a filesystem.
const FLOPPY: i64 = 1440 * 1024;

/// The kernel shows an extended partition as no larger than this, in sectors.
const EXTENDED: u64 = 1024;

type Tags = Vec<(Vec<u8>, Vec<u8>)>;

impl BlkidWorker for Blkid {
    fn partitions(&mut self, disk: OwnedFd) -> Result<List<TableEntry>> {
        let probe = self.probe(disk)?;
        let Some(table) = probe.partitions()? else {
            return Ok(Vec::new().into());
        };
        let of_table = TableEntry {
            table_kind: table.kind(),
            table_id: table.id(),
            number: 0,
            start: 0,
            size: 0,
            role: Vec::new(),
            kind: 0,
            kind_text: Vec::new(),
            guid: Vec::new(),
            name: Vec::new(),
            flags: 0,
        };
        let mut entries: Vec<TableEntry> = table
            .partitions()
            .map(|partition| TableEntry {
                number: partition.number(),
                start: partition.start(),
                size: partition.size(),
                role: partition.role().as_bytes().to_vec(),
                kind: partition.kind(),
                kind_text: partition.kind_text(),
                guid: partition.guid(),
                name: partition.name(),
                flags: partition.flags(),
                ..of_table.clone()
            })
            .collect();
        if entries.is_empty() {
            entries.push(of_table);
        }
        Ok(entries.into())
    }

    fn find(&mut self, device: OwnedFd) -> Result<Tags> {
        let probe = self.probe(device)?;
        let chains = Chains {
            superblocks: Some(TAGS),
            partitions: true,
            topology: false,
        };
        match probe.safeprobe(chains)? {
            Outcome::Found => Ok(probe.values()),
            Outcome::Nothing | Outcome::Ambivalent => Ok(Vec::new()),
        }
    }

    fn find_all(&mut self, device: OwnedFd, whole: bool) -> Result<Tags> {
        let probe = self.probe(device)?;
        let mut chains = Chains {
            topology: true,
            ..Chains::default()
        };
        probe.fullprobe(chains)?;
        chains.partitions = true;
        if whole && probe.size() <= FLOPPY {
            probe.fullprobe(chains)?;
            let values = probe.values();
            if values.iter().any(|(name, _)| name == b"PTTYPE") {
                return Ok(values);
            }
        }
        chains.superblocks = Some(ALL_TAGS);
        match probe.safeprobe(chains)? {
            Outcome::Ambivalent => Err(Error::new(
                "there are signatures of several things on it (wipefs shows and removes them)",
            )),
            Outcome::Found | Outcome::Nothing => Ok(probe.values()),
        }
    }

    fn find_entry(&mut self, disk: OwnedFd, start: i64, size: i64) -> Result<Tags> {
        let number = fstat(&disk).context("fstat")?.st_rdev;
        let (Ok(start), Ok(size)) = (u64::try_from(start), u64::try_from(size)) else {
            return Err(Error::invalid("a partition begins and ends on its disk"));
        };
        let probe = self.probe(disk)?;
        let Some(table) = probe.partitions()? else {
            return Ok(Vec::new());
        };
        let entry = table.all_partitions().find(|entry| {
            let extended = entry.role() == "extended" && size <= EXTENDED;
            entry.start() == start && (entry.size() == size || extended)
        });
        let mut tags = entry.map_or(Vec::new(), |entry| describe(&entry));
        if !tags.is_empty() {
            let disk = format!("{}:{}", major(number), minor(number));
            tags.push((b"PART_ENTRY_DISK".to_vec(), disk.into_bytes()));
        }
        Ok(tags)
    }
}

/// The tags of a partition, but for its disk.
fn describe(entry: &Partition<'_>) -> Tags {
    let some = |text: Vec<u8>| (!text.is_empty()).then_some(text);
    let number = |number: u64| Some(number.to_string().into_bytes());
    let flags = entry.flags();
    let kind = some(entry.kind_text());
    [
        ("SCHEME", some(entry.scheme())),
        ("NAME", some(entry.name())),
        ("UUID", some(entry.guid())),
        (
            "TYPE",
            kind.or_else(|| Some(format!("{:#x}", entry.kind()).into_bytes())),
        ),
        (
            "FLAGS",
            (flags != 0).then(|| format!("{flags:#x}").into_bytes()),
        ),
        ("NUMBER", Some(entry.number().to_string().into_bytes())),
        ("OFFSET", number(entry.start())),
        ("SIZE", number(entry.size())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((format!("PART_ENTRY_{name}").into_bytes(), value?)))
    .collect()
}

#[cfg(test)]
mod tests;
