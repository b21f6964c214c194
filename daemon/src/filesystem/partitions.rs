//! What partition tables say of the partitions that the kernel has.

use nix::fcntl::OFlag;
use protocol::{Device, Result};

use crate::block::table::{Role, Table};
use crate::devices::Devices;
use crate::logging;
use crate::worker::Workers;

/// What Windows keeps for itself: metadata and data of dynamic disks, reserved space, snapshots.
const CONTAINERS: [&str; 4] = [
    "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3",
    "AF9B60A0-1431-4F62-BC68-3311714A69AD",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
    "CADDEBF1-4400-4DE8-B103-12117DCF3CCF",
];

/// The type in an MBR of what a dynamic disk holds.
const DYNAMIC: u8 = 0x42;

/// A partition, and its entry in the table.
#[derive(Debug)]
pub(super) struct Partition {
    /// The partition.
    pub(super) device: Device,
    entry: Option<Entry>,
    /// Whether it is on a dynamic disk with an MBR. The kernel shows the partitions of the disk's
    /// database, which are not those of the table.
    dynamic: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Mbr {
        extended: bool,
        uuid: String,
    },
    Gpt {
        kind: String,
        uuid: String,
        name: Vec<u8>,
    },
}

impl Partition {
    /// Whether it holds other things than a filesystem. What is not known might hold one.
    pub(super) fn is_container(&self) -> bool {
        match &self.entry {
            _ if self.dynamic => true,
            Some(Entry::Mbr { extended, .. }) => *extended,
            Some(Entry::Gpt { kind, .. }) => CONTAINERS.contains(&kind.as_str()),
            None => false,
        }
    }

    /// Whether the table has this UUID for it; for an MBR, the disk's id and the number.
    pub(super) fn has_uuid(&self, wanted: &str) -> bool {
        match &self.entry {
            Some(Entry::Mbr { uuid, .. } | Entry::Gpt { uuid, .. }) => {
                uuid.eq_ignore_ascii_case(wanted)
            }
            None => false,
        }
    }

    /// Whether the table has this name for it.
    pub(super) fn has_name(&self, wanted: &[u8]) -> bool {
        matches!(&self.entry, Some(Entry::Gpt { name, .. }) if name == wanted)
    }
}

/// The partitions of a disk, whose table is read once.
///
/// # Errors
///
/// When the kernel's list of partitions cannot be read.
pub(super) fn of(devices: &Devices, workers: &Workers, disk: &Device) -> Result<Vec<Partition>> {
    let partitions = devices.partitions_of(disk)?;
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let table = devices
        .open(disk, OFlag::O_RDONLY)
        .and_then(|file| Table::read(workers, disk, &file))
        .unwrap_or_else(|error| {
            logging::warning(format_args!("{disk}: {error}"));
            None
        });
    let dynamic = table.as_ref().is_some_and(|table| is_dynamic(table, disk));
    Ok(partitions
        .into_iter()
        .map(|device| {
            let number = devices.split(&device).1;
            let entry = table
                .as_ref()
                .and_then(|table| entry(table, disk, number.unwrap_or_default()));
            Partition {
                device,
                entry,
                dynamic,
            }
        })
        .collect())
}

fn is_dynamic(table: &Table, disk: &Device) -> bool {
    (1..=4).any(|number| {
        let entry = table.mbr_entry(disk, number);
        entry.is_ok_and(|entry| entry.kind == DYNAMIC)
    })
}

fn entry(table: &Table, disk: &Device, number: u32) -> Option<Entry> {
    match table {
        Table::Mbr { id, .. } => Some(Entry::Mbr {
            extended: table.mbr_entry(disk, number).ok()?.role == Role::Extended,
            uuid: format!("{id}-{number:02x}"),
        }),
        Table::Gpt { .. } => {
            let entry = table.gpt_entry(disk, number).ok()?;
            Some(Entry::Gpt {
                kind: entry.kind.clone(),
                uuid: entry.guid.clone(),
                name: entry.name.clone(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_says() {
        let partition = |entry| Partition {
            device: Device::new("/dev/sda1"),
            entry,
            dynamic: false,
        };
        let gpt = partition(Some(Entry::Gpt {
            kind: CONTAINERS[2].to_owned(),
            uuid: "66666666-7777-4888-8999-AAAAAAAAAAAA".to_owned(),
            name: b"a name".to_vec(),
        }));
        assert!(gpt.is_container());
        assert!(gpt.has_uuid("66666666-7777-4888-8999-aaaaaaaaaaaa"));
        assert!(gpt.has_name(b"a name") && !gpt.has_name(b"a"));
        let mbr = partition(Some(Entry::Mbr {
            extended: false,
            uuid: "1234abcd-05".to_owned(),
        }));
        assert!(!mbr.is_container() && mbr.has_uuid("1234ABCD-05") && !mbr.has_name(b""));
        let unknown = partition(None);
        assert!(!unknown.is_container() && !unknown.has_uuid("") && !unknown.has_name(b""));
        let dynamic = Partition {
            dynamic: true,
            ..unknown
        };
        assert!(dynamic.is_container());
    }
}
