//! Windows dynamic disks, made from nothing.
//!
//! A dynamic disk has an MBR with one partition of type 0x42, a private header
//! (`PRIVHEAD`) in sector 6, and the group's database in the last MiB: tables of
//! contents (`TOCBLOCK`), the database's header (`VMDB`), then its records
//! (`VBLK`), and copies of the private header. Every disk of a group holds the
//! same database. Numbers are big-endian. The places are those of the Linux
//! kernel's reader, which is stricter than libldm.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

mod records;

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Where a disk's data begins, in sectors; partitions count from here.
pub const DATA_START: u64 = 63;
/// Sectors of the database, at the end of the disk.
pub const DATABASE: u64 = 2048;

/// The sector of the private header.
pub const PRIVATE_HEADER: u64 = 6;
/// The sectors of the tables of contents in the database.
pub const CONTENTS: [u64; 4] = [1, 2, 2045, 2046];
/// The sectors of the private header's copies in the database.
pub const PRIVATE_HEADER_COPIES: [u64; 2] = [1856, 2047];
/// The sector of the database's header in the database; its records follow.
pub const HEADER: u64 = 17;

const RECORD: usize = 128;
const RECORD_HEAD: usize = 16;
const LOG: u64 = 1498;

/// A disk group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Its GUID, as text in lower case.
    pub guid: &'static str,
    /// Its disks, in order: each one's GUID, as text. They are named `Disk1`,
    /// `Disk2`, ...
    pub disks: Vec<&'static str>,
    /// What is on them.
    pub volumes: Vec<Volume>,
}

/// A volume of a group.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name.
    pub name: &'static str,
    /// How its partitions make it up.
    pub layout: Layout,
    /// The drive letter that it would like.
    pub hint: Option<&'static str>,
    /// Its partitions, in order.
    pub partitions: Vec<Partition>,
}

/// How the partitions of a volume make it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One partition, or several one after the other.
    Concatenated,
    /// In turn, so many sectors of each.
    Striped(u64),
    /// Each holds all.
    Mirrored,
    /// RAID 5, so many sectors of each.
    Parity(u64),
}

/// A partition of a volume.
#[derive(Debug, Clone, Copy)]
pub struct Partition {
    /// The disk, counted from 0.
    pub disk: usize,
    /// Its first sector, counted from [`DATA_START`].
    pub start: u64,
    /// How many it has.
    pub sectors: u64,
}

impl Volume {
    /// Its size in sectors.
    pub fn sectors(&self) -> u64 {
        let each = || self.partitions.iter().map(|partition| partition.sectors);
        match self.layout {
            Layout::Concatenated | Layout::Striped(_) => each().sum(),
            Layout::Mirrored => each().min().unwrap_or_default(),
            Layout::Parity(_) => each().skip(1).sum(),
        }
    }
}

impl Group {
    /// Writes disk number `index` (from 0) of the group, of `sectors` sectors.
    ///
    /// # Panics
    ///
    /// When the file cannot be written, or the database does not fit.
    pub fn write(&self, index: usize, sectors: u64, path: &Path) {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .expect("image");
        file.set_len(sectors * SECTOR).expect("image size");
        let put = |sector: u64, bytes: &[u8]| {
            file.write_all_at(bytes, sector * SECTOR).expect("image");
        };
        let database = sectors - DATABASE;
        let header = self.private_header(index, sectors);
        put(0, &boot_sector(sectors));
        put(PRIVATE_HEADER, &header);
        for copy in PRIVATE_HEADER_COPIES {
            put(database + copy, &header);
        }
        for contents in CONTENTS {
            put(database + contents, &table_of_contents());
        }
        put(database + HEADER, &self.database());
    }

    fn private_header(&self, index: usize, sectors: u64) -> Vec<u8> {
        let mut block = Block::new(b"PRIVHEAD");
        block.put(0x08, &1_u32.to_be_bytes());
        block.put(0x0c, &2_u16.to_be_bytes());
        block.put(0x0e, &11_u16.to_be_bytes());
        block.put(0x30, self.disks[index].as_bytes());
        block.put(0x70, b"99999999-8888-4777-8666-555555555555");
        block.put(0xb0, self.guid.as_bytes());
        block.put(0xf0, self.name.as_bytes());
        let data = sectors - DATABASE - DATA_START;
        let numbers = [DATA_START, data, sectors - DATABASE, DATABASE, 1, 2045];
        for (at, number) in (0x11b..).step_by(8).zip(numbers) {
            block.put(at, &number.to_be_bytes());
        }
        block.bytes
    }

    /// The database's header and its records.
    fn database(&self) -> Vec<u8> {
        let records = records::of(self);
        let count = |kind: u8| {
            let of = records.iter().filter(|record| record.kind & 15 == kind);
            u32::try_from(of.count()).expect("few").to_be_bytes()
        };
        let number = |n: usize| u32::try_from(n).expect("small").to_be_bytes();
        let mut block = Block::new(b"VMDB");
        // The first four numbers are the header's own; the kernel reads whole sectors.
        block.put(0x04, &number((4 + records.len()).next_multiple_of(4)));
        block.put(0x08, &number(RECORD));
        block.put(0x0c, &number(512));
        block.put(0x10, &1_u16.to_be_bytes());
        block.put(0x12, &4_u16.to_be_bytes());
        block.put(0x14, &10_u16.to_be_bytes());
        block.put(0x16, self.name.as_bytes());
        block.put(0x35, self.guid.as_bytes());
        block.put(0x75, &7_u64.to_be_bytes());
        block.put(0x7d, &7_u64.to_be_bytes());
        for (at, kind) in [(0x85, 1), (0x89, 2), (0x8d, 3), (0x91, 4)] {
            block.put(at, &count(kind));
            block.put(at + 0x1c, &count(kind));
        }
        let mut bytes = block.bytes;
        for (index, record) in records.iter().enumerate() {
            let mut entry = b"VBLK".to_vec();
            entry.extend(number(4 + index));
            entry.extend(number(1 + index));
            entry.extend([0, 0, 0, 1]);
            entry.extend([0, 0, record.flags, record.kind]);
            entry.extend(number(record.body.len()));
            entry.extend(&record.body);
            assert!(entry.len() <= RECORD && entry.len() > RECORD_HEAD);
            entry.resize(RECORD, 0);
            bytes.extend(entry);
        }
        let room = usize::try_from((LOG - HEADER) * SECTOR).expect("small");
        assert!(bytes.len() <= room);
        bytes
    }
}

/// An MBR with one partition that holds all but the first track.
fn boot_sector(sectors: u64) -> Vec<u8> {
    let mut block = Block::new(b"");
    let size = u32::try_from(sectors - DATA_START).unwrap_or(u32::MAX);
    block.put(0x1b8, &0x1234_abcd_u32.to_le_bytes());
    block.put(0x1be, &[0, 1, 1, 0, 0x42, 0xfe, 0xff, 0xff]);
    block.put(0x1c6, &63_u32.to_le_bytes());
    block.put(0x1ca, &size.to_le_bytes());
    block.put(0x1fe, &[0x55, 0xaa]);
    block.bytes
}

fn table_of_contents() -> Vec<u8> {
    let mut block = Block::new(b"TOCBLOCK");
    block.put(0x08, &1_u32.to_be_bytes());
    block.put(0x10, &1_u32.to_be_bytes());
    block.put(0x24, b"config");
    block.put(0x2e, &HEADER.to_be_bytes());
    block.put(0x36, &(LOG - HEADER).to_be_bytes());
    block.put(0x46, b"log");
    block.put(0x50, &LOG.to_be_bytes());
    block.put(0x58, &224_u64.to_be_bytes());
    block.bytes
}

/// A sector.
struct Block {
    bytes: Vec<u8>,
}

impl Block {
    fn new(magic: &[u8]) -> Self {
        let mut block = Self {
            bytes: vec![0; usize::try_from(SECTOR).expect("small")],
        };
        block.put(0, magic);
        block
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// The sectors of each disk of [`example`].
pub const EXAMPLE_SECTORS: u64 = 96 << 11;

/// A group of three disks with a volume of each kind; `Volume2` and `Stripe1`
/// need the second disk, the others can do without it.
pub fn example() -> Group {
    let partition = |disk, place: u64| Partition {
        disk,
        start: place * (8 << 11) + 2048 - DATA_START,
        sectors: 8 << 11,
    };
    let volume = |name, layout, hint, partitions| Volume {
        name,
        layout,
        hint,
        partitions,
    };
    Group {
        name: "Group1-Dg0",
        guid: "03c0c4fc-8b6f-402a-8431-4be2e5823b1c",
        disks: vec![
            "d1000000-1111-4111-8111-111111111111",
            "d2000000-2222-4222-8222-222222222222",
            "d3000000-3333-4333-8333-333333333333",
        ],
        volumes: vec![
            volume(
                "Volume1",
                Layout::Concatenated,
                Some("E:"),
                vec![partition(0, 0)],
            ),
            volume(
                "Volume2",
                Layout::Concatenated,
                None,
                vec![partition(0, 1), partition(1, 0)],
            ),
            volume(
                "Stripe1",
                Layout::Striped(128),
                Some("F:"),
                vec![partition(0, 2), partition(1, 1)],
            ),
            volume(
                "Mirror1",
                Layout::Mirrored,
                Some("G:"),
                vec![partition(0, 3), partition(1, 2)],
            ),
            volume(
                "Raid1",
                Layout::Parity(128),
                None,
                vec![partition(0, 4), partition(1, 3), partition(2, 0)],
            ),
        ],
    }
}
