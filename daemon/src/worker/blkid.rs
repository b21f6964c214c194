//! The worker that runs libblkid: `idl/worker/blkid.idl`.

use std::os::fd::OwnedFd;

use protocol::Result;
use protocol::api::worker_blkid::{BlkidWorker, TableEntry};

use super::libblkid::Blkid;

impl BlkidWorker for Blkid {
    fn partitions(&mut self, disk: OwnedFd) -> Result<Vec<TableEntry>> {
        let probe = self.probe(disk)?;
        let Some(table) = probe.partitions()? else {
            return Ok(Vec::new());
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
        Ok(entries)
    }
}
