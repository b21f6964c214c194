//! The two kinds of partition tables that nearly every disk has, as libblkid reads them.
//!
//! Whatever else a disk holds (another kind of table, a filesystem) is left to `parted`, and so is
//! everything that changes a table.

pub(crate) mod fat;
mod sfdisk;

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use protocol::api::worker_blkid::{BlkidClient, TableEntry};
use protocol::{Context, Device, Error, Result};

use crate::worker::Workers;

/// libblkid counts in these, in bytes, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// In an MBR: the partition to boot from.
const ACTIVE: u64 = 0x80;
/// The type of a partition that stands for the whole of a GPT.
const PROTECTIVE: u8 = 0xee;
/// The type of a partition with more files for booting.
const EXTENDED_BOOT: u8 = 0xea;

/// In a GPT: an old BIOS may boot it.
const LEGACY_BOOTABLE: u64 = 1 << 2;
/// Types of partitions to boot from: the EFI system partition, and the one that extends it.
const BOOT_TYPES: [&str; 2] = [
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "BC13C2FF-59E6-4262-A352-B275FD6F7172",
];

/// A partition as a place on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its number.
    pub(crate) number: u32,
    /// Where it begins.
    pub(crate) start: u64,
    /// How long it is; not 0.
    pub(crate) size: u64,
}

/// What a partition is for an MBR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// One of the first four.
    Primary,
    /// The one of them that holds the logical ones.
    Extended,
    /// One within the extended partition.
    Logical,
}

/// A partition of an MBR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MbrEntry {
    extent: Extent,
    /// The type byte.
    pub(crate) kind: u8,
    /// Whether it is primary, extended or logical.
    pub(crate) role: Role,
    active: bool,
}

/// A partition of a GPT; GUIDs are in upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GptEntry {
    extent: Extent,
    /// Its type.
    pub(crate) kind: String,
    /// Its own GUID.
    pub(crate) guid: String,
    /// Its attribute bits.
    pub(crate) attributes: u64,
    /// Its name, in UTF-8.
    pub(crate) name: Vec<u8>,
}

/// A partition table of a known kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// A table of the PC's BIOS, with at least one partition.
    Mbr {
        /// The number that identifies the disk, in hexadecimal.
        id: String,
        /// Its partitions, among them those of the type 0, which do not count.
        entries: Vec<MbrEntry>,
    },
    /// A GUID partition table.
    Gpt {
        /// The disk's GUID, in upper case.
        id: String,
        /// Its partitions.
        entries: Vec<GptEntry>,
    },
}

impl Table {
    /// Reads the table of a disk, which is open as `file`; `None` if what the disk holds is not
    /// clearly one of the two kinds.
    ///
    /// # Errors
    ///
    /// What libblkid or its worker fail with.
    pub(crate) fn read(workers: &Workers, device: &Device, file: &File) -> Result<Option<Self>> {
        match workers.blkid()? {
            Some(mut worker) => {
                let found = BlkidClient(&mut *worker).partitions(file.as_fd())?;
                Ok(Self::of_entries(&found))
            }
            None => sfdisk::read(device),
        }
    }

    /// An MBR that has a partition for a GPT, but no GPT; `None` if the disk holds anything else.
    /// To libblkid and parted these are the remains of a GPT.
    ///
    /// # Errors
    ///
    /// When sfdisk cannot be run, or prints something else.
    pub(crate) fn without_its_gpt(device: &Device) -> Result<Option<Self>> {
        Ok(sfdisk::read_as_told(device)?.filter(|table| match table {
            Self::Mbr { entries, .. } => entries.iter().any(|entry| entry.kind == PROTECTIVE),
            Self::Gpt { .. } => false,
        }))
    }

    fn of_entries(found: &[TableEntry]) -> Option<Self> {
        let table = found.first()?;
        let id = String::from_utf8_lossy(&table.table_id).into_owned();
        // The entry with the number 0 only tells of the table.
        let found = found.iter().filter(|entry| entry.number != 0);
        match table.table_kind.as_slice() {
            b"dos" => Self::mbr(id, found.map(mbr_entry).collect::<Option<_>>()?),
            b"gpt" => Some(Self::Gpt {
                id: id.to_uppercase(),
                entries: found.map(gpt_entry).collect::<Option<_>>()?,
            }),
            _ => None,
        }
    }

    /// Much else ends with the two bytes that an MBR ends with, so one without partitions is not
    /// taken for a table here.
    fn mbr(id: String, entries: Vec<MbrEntry>) -> Option<Self> {
        (!entries.is_empty()).then_some(Self::Mbr { id, entries })
    }

    /// Its name among those that `part_init` takes.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Mbr { .. } => "msdos",
            Self::Gpt { .. } => "gpt",
        }
    }

    /// The partitions, in their order on the disk.
    pub(crate) fn extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = match self {
            Self::Mbr { entries, .. } => entries
                .iter()
                .filter(|entry| entry.kind != 0)
                .map(|entry| entry.extent)
                .collect(),
            Self::Gpt { entries, .. } => entries.iter().map(|entry| entry.extent).collect(),
        };
        // An extended partition comes before one that begins where it does.
        extents.sort_by_key(|extent| (extent.start, extent.number));
        extents
    }

    /// Whether a partition is one to boot from.
    ///
    /// # Errors
    ///
    /// If there is no such partition.
    pub(crate) fn is_bootable(&self, number: u32) -> Result<bool> {
        match self {
            Self::Mbr { entries, .. } => {
                find_mbr(entries, number).map(|entry| entry.active || entry.kind == EXTENDED_BOOT)
            }
            Self::Gpt { entries, .. } => find_gpt(entries, number).map(|entry| {
                BOOT_TYPES.contains(&entry.kind.as_str()) || entry.attributes & LEGACY_BOOTABLE != 0
            }),
        }
    }

    /// Whether there are logical partitions.
    pub(crate) fn has_logical(&self) -> bool {
        match self {
            Self::Mbr { entries, .. } => entries.iter().any(|entry| entry.role == Role::Logical),
            Self::Gpt { .. } => false,
        }
    }

    /// A partition of an MBR.
    ///
    /// # Errors
    ///
    /// EINVAL if it is no MBR; if there is no such partition.
    pub(crate) fn mbr_entry(&self, device: &Device, number: u32) -> Result<&MbrEntry> {
        match self {
            Self::Mbr { entries, .. } => find_mbr(entries, number).context(device),
            Self::Gpt { .. } => Err(no_mbr(device)),
        }
    }

    /// A partition of a GPT.
    ///
    /// # Errors
    ///
    /// EINVAL if it is no GPT; if there is no such partition.
    pub(crate) fn gpt_entry(&self, device: &Device, number: u32) -> Result<&GptEntry> {
        match self {
            Self::Gpt { entries, .. } => find_gpt(entries, number).context(device),
            Self::Mbr { .. } => Err(no_gpt(device)),
        }
    }
}

fn extent(entry: &TableEntry) -> Option<Extent> {
    Some(Extent {
        number: u32::try_from(entry.number).ok()?,
        start: entry.start.checked_mul(SECTOR)?,
        size: entry.size.checked_mul(SECTOR).filter(|&size| size > 0)?,
    })
}

fn mbr_entry(entry: &TableEntry) -> Option<MbrEntry> {
    Some(MbrEntry {
        extent: extent(entry)?,
        kind: u8::try_from(entry.kind).ok()?,
        role: match entry.role.as_slice() {
            b"extended" => Role::Extended,
            b"logical" => Role::Logical,
            _ => Role::Primary,
        },
        active: entry.flags == ACTIVE,
    })
}

fn gpt_entry(entry: &TableEntry) -> Option<GptEntry> {
    let upper = |text: &[u8]| String::from_utf8_lossy(text).to_uppercase();
    Some(GptEntry {
        extent: extent(entry)?,
        kind: upper(&entry.kind_text),
        guid: upper(&entry.guid),
        attributes: entry.flags,
        name: entry.name.clone(),
    })
}

fn find_mbr(entries: &[MbrEntry], number: u32) -> Result<&MbrEntry> {
    let found = entries.iter().find(|entry| entry.extent.number == number);
    found.ok_or_else(|| not_found(number))
}

fn find_gpt(entries: &[GptEntry], number: u32) -> Result<&GptEntry> {
    let found = entries.iter().find(|entry| entry.extent.number == number);
    found.ok_or_else(|| not_found(number))
}

/// The error of asking for what only a GPT has.
pub(crate) fn no_gpt(device: &Device) -> Error {
    Error::with_errno(
        Errno::EINVAL,
        format!("{device}: the disk has no GUID partition table"),
    )
}

/// The error of asking for what only an MBR has.
pub(crate) fn no_mbr(device: &Device) -> Error {
    Error::with_errno(
        Errno::EINVAL,
        format!("{device}: the disk has no MBR partition table"),
    )
}

/// The error of asking for a partition that a table does not have.
pub(crate) fn not_found(number: u32) -> Error {
    Error::new(format!("partition number {number} not found"))
}
