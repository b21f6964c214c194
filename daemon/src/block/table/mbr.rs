//! The partition table of the PC's BIOS: four entries in the first sector, one
//! of which may be an extended partition, which holds a chain of tables with
//! one logical partition each.

use std::collections::HashSet;

use nix::errno::Errno;
use protocol::{Context, Device, Error, Result};

use super::{Disk, Extent, finish, not_found, u16_at, u32_at};

const SIGNATURE_AT: usize = 510;
const SIGNATURE: u16 = 0xaa55;
const DISK_ID_AT: usize = 440;
const ENTRIES_AT: usize = 446;
const ENTRY_LEN: usize = 16;
const KIND_IN_ENTRY: u64 = 4;

const ACTIVE: u8 = 0x80;
/// The type of the one partition that shields a GPT from old programs.
const PROTECTIVE: u8 = 0xee;
/// The type of a partition with more files for booting.
const EXTENDED_BOOT: u8 = 0xea;

/// More logical partitions than any kernel makes devices for.
const MAX_LOGICAL: usize = 256;

/// Number of the first logical partition.
const FIRST_LOGICAL: u32 = 5;

/// The table, with its chain of logical partitions.
#[derive(Debug)]
pub(crate) struct Mbr {
    disk_id: u32,
    entries: Vec<Entry>,
}

/// What a partition is for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// One of the first four.
    Primary,
    /// The one of them that holds the logical ones.
    Extended,
    /// One within the extended partition.
    Logical,
}

/// A partition.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    boot: u8,
    kind: u8,
    role: Role,
    extent: Extent,
    /// Where the entry is on the disk, in bytes.
    place: u64,
}

impl Entry {
    /// The type byte.
    pub(crate) fn kind(&self) -> u8 {
        self.kind
    }

    /// Whether it is primary, extended or logical.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn is_bootable(&self) -> bool {
        self.boot == ACTIVE || self.kind == EXTENDED_BOOT
    }
}

impl Mbr {
    /// Reads the table whose first sector is `boot`; `None` if that is none, or
    /// has no partitions (many other things end with the same two bytes).
    pub(super) fn read(disk: &Disk, boot: &[u8]) -> Result<Option<Self>> {
        if !is_signed(boot) {
            return Ok(None);
        }
        let mut entries = Vec::new();
        for (slot, number) in (1..=4).enumerate() {
            let Some(raw) = Raw::at(boot, slot) else {
                return Ok(None);
            };
            // Boot code of something that is no table.
            if raw.boot & !ACTIVE != 0 {
                return Ok(None);
            }
            if raw.sectors == 0 {
                continue;
            }
            if raw.start == 0 {
                return Ok(None);
            }
            let role = if is_extended(raw.kind) {
                Role::Extended
            } else {
                Role::Primary
            };
            entries.push(raw.entry(number, role, 0, 0, slot));
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let chain = entries.iter().find(|entry| entry.role == Role::Extended);
        if let Some(extended) = chain.map(|entry| entry.extent) {
            entries.extend(read_chain(disk, extended));
        }
        Ok(Some(Self {
            disk_id: u32_at(boot, DISK_ID_AT).unwrap_or_default(),
            entries,
        }))
    }

    /// The number that identifies the disk.
    pub(crate) fn disk_id(&self) -> u32 {
        self.disk_id
    }

    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        let used = self.entries.iter().filter(|entry| entry.kind != 0);
        used.map(|entry| entry.extent)
    }

    /// The partition with a number.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn entry(&self, number: u32) -> Result<&Entry> {
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.extent.number == number)
            .ok_or_else(|| not_found(number))
    }

    /// Changes the type byte of a partition, on the disk.
    ///
    /// # Errors
    ///
    /// If there is no such partition; the errno of writing.
    pub(crate) fn set_kind(
        &self,
        disk: &Disk,
        device: &Device,
        number: u32,
        kind: u8,
    ) -> Result<()> {
        use std::os::unix::fs::FileExt;

        let entry = self.entry(number)?;
        if entry.role == Role::Extended && !is_extended(kind) && self.has_logical() {
            return Err(Error::with_errno(
                Errno::EBUSY,
                format!("{device}: partition {number} holds logical partitions"),
            ));
        }
        let place = entry.place + KIND_IN_ENTRY;
        disk.file.write_all_at(&[kind], place).context(device)?;
        finish(disk, device)
    }

    fn has_logical(&self) -> bool {
        self.entries.iter().any(|entry| entry.role == Role::Logical)
    }
}

/// Follows the chain of tables in an extended partition. What is damaged ends
/// it, as it does for the kernel: the partitions before it can be used.
fn read_chain(disk: &Disk, extended: Extent) -> Vec<Entry> {
    let mut logical = Vec::new();
    let mut seen = HashSet::new();
    let mut number = FIRST_LOGICAL;
    let mut next = Some(0);
    while let Some(relative) = next.take()
        && logical.len() < MAX_LOGICAL
        && relative < extended.sectors
        && seen.insert(relative)
        && seen.len() <= MAX_LOGICAL
        && let lba = extended.start + relative
        && let Ok(table) = disk.read(lba, 512)
        && is_signed(&table)
    {
        for slot in 0..4 {
            let Some(raw) = Raw::at(&table, slot).filter(|raw| raw.sectors != 0) else {
                continue;
            };
            if is_extended(raw.kind) {
                next = next.or(Some(u64::from(raw.start)));
            } else {
                let base = lba * disk.sector;
                logical.push(raw.entry(number, Role::Logical, lba, base, slot));
                number += 1;
            }
        }
    }
    logical
}

struct Raw {
    boot: u8,
    kind: u8,
    start: u32,
    sectors: u32,
}

impl Raw {
    fn at(sector: &[u8], slot: usize) -> Option<Self> {
        let entry = sector.get(ENTRIES_AT + slot * ENTRY_LEN..)?;
        Some(Self {
            boot: *entry.first()?,
            kind: *entry.get(4)?,
            start: u32_at(entry, 8)?,
            sectors: u32_at(entry, 12)?,
        })
    }

    fn entry(&self, number: u32, role: Role, first: u64, base: u64, slot: usize) -> Entry {
        let slot = u64::try_from(ENTRIES_AT + slot * ENTRY_LEN).unwrap_or_default();
        Entry {
            boot: self.boot,
            kind: self.kind,
            role,
            extent: Extent {
                number,
                start: first + u64::from(self.start),
                sectors: u64::from(self.sectors),
            },
            place: base + slot,
        }
    }
}

fn is_signed(sector: &[u8]) -> bool {
    u16_at(sector, SIGNATURE_AT) == Some(SIGNATURE)
}

fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0f | 0x85)
}

/// Whether the sector announces a GPT.
pub(super) fn is_protective(boot: &[u8]) -> bool {
    is_signed(boot)
        && (0..4).any(|slot| Raw::at(boot, slot).is_some_and(|raw| raw.kind == PROTECTIVE))
}

/// Whether the start of the disk has marks of something besides an MBR, so that
/// what looks like one may be boot code, or not be what counts.
pub(super) fn is_foreign(head: &[u8], sector: u64) -> bool {
    let at = |offset: usize, mark: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(mark))
    };
    let second = usize::try_from(sector).unwrap_or(512);
    // Boot sectors of filesystems.
    at(3, b"NTFS    ") || at(3, b"EXFAT   ") || at(3, b"-FVE-FS-") || at(3, b"MSWIN")
        || at(3, b"mkfs.fat") || at(0x36, b"FAT") || at(0x52, b"FAT32")
        // Apple, Sun, SGI, AIX, NEC, BSD.
        || at(0, b"ER") || at(508, &[0xda, 0xbe]) || at(0, &[0x0b, 0xe5, 0xa9, 0x41])
        || at(0, &[0xc9, 0xc2, 0xd4, 0xc1]) || at(4, b"IPL1") || at(64, &[0x57, 0x45, 0x56, 0x82])
        // The Amiga's may be in any of the first sixteen sectors.
        || (0..16).any(|n| at(n * second, b"RDSK"))
        || at(second, b"EFI PART")
}

/// Whether the first sector is that of a FAT filesystem on the whole disk with
/// the table that mkfs.fat writes for the sake of other systems: one partition
/// that begins with the disk.
///
/// # Errors
///
/// The errno of reading.
pub(crate) fn is_around_fat(disk: &Disk) -> std::io::Result<bool> {
    const FAT_KINDS: [u8; 5] = [0x01, 0x04, 0x06, 0x0c, 0x0e];
    let boot = disk.read(0, 512)?;
    let first = Raw::at(&boot, 0);
    let chs = boot.get(ENTRIES_AT + 1..ENTRIES_AT + 4);
    Ok(is_signed(&boot)
        && boot
            .get(3..)
            .is_some_and(|rest| rest.starts_with(b"mkfs.fat"))
        && chs == Some(&[0, 1, 0])
        && first.is_some_and(|raw| {
            raw.boot == ACTIVE && raw.start == 0 && FAT_KINDS.contains(&raw.kind)
        }))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::super::Table;
    use super::*;

    fn put_entry(file: &std::fs::File, lba: u64, slot: u64, raw: (u8, u8, u32, u32)) {
        let (boot, kind, start, sectors) = raw;
        let mut entry = vec![boot, 0, 0, 0, kind, 0, 0, 0];
        entry.extend(start.to_le_bytes());
        entry.extend(sectors.to_le_bytes());
        file.write_all_at(&entry, lba * 512 + 446 + slot * 16)
            .expect("entry");
        file.write_all_at(&[0x55, 0xaa], lba * 512 + 510)
            .expect("signature");
    }

    fn disk() -> std::fs::File {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(&[0]).expect("write");
        file.set_len(4 << 20).expect("size");
        file
    }

    fn read(file: &std::fs::File) -> Option<Table> {
        Table::read(&Disk::of_file(file.try_clone().expect("clone"), 512)).expect("read")
    }

    fn numbers(table: &Table) -> Vec<(u32, u64, u64)> {
        let extents = table.extents();
        extents
            .iter()
            .map(|extent| (extent.number, extent.start, extent.sectors))
            .collect()
    }

    #[test]
    fn primary_extended_and_logical() {
        let file = disk();
        put_entry(&file, 0, 0, (0x80, 0x83, 2048, 100));
        put_entry(&file, 0, 2, (0, 0x0f, 3000, 1000));
        put_entry(&file, 3000, 0, (0, 0x83, 10, 20));
        put_entry(&file, 3000, 1, (0, 5, 100, 200));
        put_entry(&file, 3100, 0, (0x80, 0x82, 1, 30));
        let table = read(&file).expect("a table");
        assert_eq!(table.kind(), "msdos");
        assert_eq!(
            numbers(&table),
            [
                (1, 2048, 100),
                (3, 3000, 1000),
                (5, 3010, 20),
                (6, 3101, 30)
            ]
        );
        assert!(table.is_bootable(1).expect("1"));
        assert!(!table.is_bootable(5).expect("5"));
        assert!(table.is_bootable(6).expect("6"));
        assert!(table.is_bootable(2).is_err());
        let Table::Mbr(mbr) = table else {
            panic!("not an MBR")
        };
        assert_eq!(mbr.entry(3).expect("3").role(), Role::Extended);
        assert_eq!(mbr.entry(6).expect("6").role(), Role::Logical);
        assert_eq!(mbr.entry(6).expect("6").kind(), 0x82);
        let device = Device::new("/dev/sda");
        let disk = Disk::of_file(file.try_clone().expect("clone"), 512);
        mbr.set_kind(&disk, &device, 6, 0x8e).expect("set");
        assert!(mbr.set_kind(&disk, &device, 3, 0x83).is_err());
        let Some(Table::Mbr(mbr)) = read(&file) else {
            panic!("no MBR")
        };
        assert_eq!(mbr.entry(6).expect("6").kind(), 0x8e);
        assert_eq!(mbr.entry(5).expect("5").kind(), 0x83);
    }

    #[test]
    fn chains_that_do_not_end() {
        let file = disk();
        put_entry(&file, 0, 0, (0, 5, 100, 5000));
        put_entry(&file, 100, 0, (0, 0x83, 1, 1));
        put_entry(&file, 100, 1, (0, 5, 0, 5000));
        assert_eq!(numbers(&read(&file).expect("table")).len(), 2);
        // Out of the extended partition, and out of the disk.
        put_entry(&file, 100, 1, (0, 5, 6000, 10));
        assert_eq!(numbers(&read(&file).expect("table")).len(), 2);
        put_entry(&file, 0, 0, (0, 5, u32::MAX, u32::MAX));
        assert_eq!(numbers(&read(&file).expect("table")).len(), 1);
        // Without end, but within bounds.
        put_entry(&file, 0, 0, (0, 5, 100, 7000));
        for lba in 0..1000 {
            let next = u32::try_from(lba).expect("small") + 1;
            put_entry(&file, 100 + lba, 0, (0, 0x83, 1, 1));
            put_entry(&file, 100 + lba, 1, (0, 5, next, 1));
        }
        assert_eq!(numbers(&read(&file).expect("table")).len(), 1 + MAX_LOGICAL);
    }

    #[test]
    fn what_is_no_table() {
        let file = disk();
        assert!(read(&file).is_none());
        put_entry(&file, 0, 0, (0, 0, 0, 0));
        assert!(read(&file).is_none(), "nothing but a signature");
        put_entry(&file, 0, 0, (0x41, 0x83, 10, 10));
        assert!(read(&file).is_none(), "boot code");
        put_entry(&file, 0, 0, (0, 0x83, 10, 10));
        assert!(read(&file).is_some());
        file.write_all_at(b"FAT16   ", 0x36).expect("write");
        assert!(read(&file).is_none(), "a FAT filesystem");
        let small = tempfile::tempfile().expect("file");
        assert!(read(&small).is_none(), "an empty disk");
    }
}
