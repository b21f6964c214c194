//! Tables made here, damaged and repaired.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::Table;
use super::*;

const SECTORS: u64 = 4096;
/// The two sizes of sectors that disks have.
const SIZES: [u64; 2] = [512, 4096];
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/// A disk with partitions 1 and 3, and both copies of its table.
fn disk() -> File {
    disk_of(512)
}

fn disk_of(sector: u64) -> File {
    let file = tempfile::tempfile().expect("file");
    file.set_len(SECTORS * sector).expect("size");
    file.write_all_at(
        &[0, 0, 0, 0, 0xee, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xf, 0, 0],
        446,
    )
    .expect("entry");
    file.write_all_at(&[0x55, 0xaa], 510).expect("signature");
    let mut header = vec![0; usize::try_from(sector).expect("small")];
    header[..8].copy_from_slice(SIGNATURE);
    put(&mut header, 8, &0x0001_0000u32.to_le_bytes());
    put(&mut header, HEADER_LEN_AT, &92u32.to_le_bytes());
    put(&mut header, MY_LBA_AT, &1u64.to_le_bytes());
    put(&mut header, OTHER_LBA_AT, &(SECTORS - 1).to_le_bytes());
    put(&mut header, FIRST_USABLE_AT, &34u64.to_le_bytes());
    put(&mut header, LAST_USABLE_AT, &(SECTORS - 34).to_le_bytes());
    put(&mut header, ENTRIES_LBA_AT, &2u64.to_le_bytes());
    put(&mut header, ENTRY_COUNT_AT, &128u32.to_le_bytes());
    put(&mut header, ENTRY_LEN_AT, &128u32.to_le_bytes());
    let mut table = Gpt {
        header,
        entries: vec![0; 128 * 128],
        entry_len: 128,
    };
    let linux: Guid = LINUX.parse().expect("GUID");
    for (index, start, end) in [(0, 2048u64, 3000u64), (2, 40, 100)] {
        let at = index * 128;
        put(&mut table.entries, at, &linux.0);
        put(&mut table.entries, at + START_AT, &start.to_le_bytes());
        put(&mut table.entries, at + END_AT, &end.to_le_bytes());
    }
    let device = Device::new("/dev/sda");
    table.write(&as_disk(&file), &device).expect("write");
    file
}

fn as_disk(file: &File) -> Disk {
    let sector = file.metadata().expect("size").len() / SECTORS;
    Disk::of_file(file.try_clone().expect("clone"), sector)
}

fn read(file: &File) -> Option<Gpt> {
    match Table::read(&as_disk(file)).expect("read") {
        Some(Table::Gpt(gpt)) => Some(gpt),
        Some(Table::Mbr(_)) => panic!("not a GPT"),
        None => None,
    }
}

fn lay_waste(file: &File, lba: u64) {
    as_disk(file).write(lba, &[0; 512]).expect("write");
}

#[test]
fn changes_reach_both_copies() {
    SIZES.into_iter().for_each(change_both_copies);
}

fn change_both_copies(sector: u64) {
    let file = disk_of(sector);
    let mut gpt = read(&file).expect("a GPT");
    gpt.set_name(1, "Größe 日本 🦀").expect("name");
    gpt.set_guid(1, Guid([7; 16])).expect("GUID");
    gpt.set_attributes(3, 1 << 63 | 0b100).expect("attributes");
    gpt.set_disk_guid(Guid([9; 16]));
    assert!(gpt.set_name(2, "x").is_err());
    assert!(gpt.set_kind(1, Guid::NONE).is_err());
    gpt.write(&as_disk(&file), &Device::new("/dev/sda"))
        .expect("write");
    for damaged in [None, Some(1)] {
        if let Some(lba) = damaged {
            lay_waste(&file, lba);
        }
        let gpt = read(&file).expect("a GPT");
        let first = gpt.entry(1).expect("1");
        assert_eq!(first.name(), "Größe 日本 🦀");
        assert_eq!(first.kind().to_string(), LINUX);
        assert_eq!(first.guid(), Guid([7; 16]));
        assert_eq!(gpt.entry(3).expect("3").attributes(), 1 << 63 | 0b100);
        assert_eq!(gpt.disk_guid(), Guid([9; 16]));
        assert!(gpt.is_bootable(3).expect("3") && !gpt.is_bootable(1).expect("1"));
    }
    lay_waste(&file, SECTORS - 1);
    assert!(read(&file).is_none(), "both copies damaged");
}

#[test]
fn writing_repairs_the_other_copy() {
    for lba in [1, 2, SECTORS - 1, SECTORS - 33] {
        let file = disk();
        lay_waste(&file, lba);
        let gpt = read(&file).expect("a GPT");
        gpt.write(&as_disk(&file), &Device::new("/dev/sda"))
            .expect("write");
        assert!(
            Gpt::read_copy(&as_disk(&file), 1).expect("read").is_some()
                && Gpt::read_copy(&as_disk(&file), SECTORS - 1)
                    .expect("read")
                    .is_some(),
            "{lba}"
        );
    }
}

#[test]
fn places_and_order() {
    let file = disk();
    let table = Table::read(&as_disk(&file))
        .expect("read")
        .expect("a table");
    assert_eq!(table.kind(), "gpt");
    let extents = table.extents();
    let places: Vec<_> = extents
        .iter()
        .map(|extent| (extent.number, extent.start, extent.sectors))
        .collect();
    assert_eq!(places, [(3, 40, 61), (1, 2048, 953)]);
}

#[test]
fn names_are_cut_between_characters() {
    let file = disk();
    let mut gpt = read(&file).expect("a GPT");
    gpt.set_name(1, &"x".repeat(40)).expect("name");
    assert_eq!(gpt.entry(1).expect("1").name(), "x".repeat(36));
    gpt.set_name(1, &format!("{}🦀", "x".repeat(35)))
        .expect("name");
    assert_eq!(gpt.entry(1).expect("1").name(), "x".repeat(35));
    gpt.set_name(1, "").expect("name");
    assert_eq!(gpt.entry(1).expect("1").name(), "");
}

#[test]
fn hostile_headers() {
    let sound = disk();
    let header = as_disk(&sound).read(1, 512).expect("header");
    let cases: [(usize, &[u8]); 7] = [
        (HEADER_LEN_AT, &u32::MAX.to_le_bytes()),
        (HEADER_LEN_AT, &0u32.to_le_bytes()),
        (ENTRY_COUNT_AT, &u32::MAX.to_le_bytes()),
        (ENTRY_LEN_AT, &0u32.to_le_bytes()),
        (ENTRY_LEN_AT, &u32::MAX.to_le_bytes()),
        (ENTRIES_LBA_AT, &u64::MAX.to_le_bytes()),
        (MY_LBA_AT, &2u64.to_le_bytes()),
    ];
    for (at, value) in cases {
        let mut header = header.clone();
        put(&mut header, at, value);
        let crc = header_crc(&header).unwrap_or_default();
        put(&mut header, HEADER_CRC_AT, &crc.to_le_bytes());
        let file = disk();
        lay_waste(&file, SECTORS - 1);
        file.write_all_at(&header, 512).expect("write");
        assert!(read(&file).is_none(), "{at}: {value:?}");
    }
}

#[test]
fn tables_that_would_overwrite_partitions_are_not_written() {
    for (at, value) in [(FIRST_USABLE_AT, 10u64), (LAST_USABLE_AT, SECTORS - 10)] {
        let file = disk();
        let mut gpt = read(&file).expect("a GPT");
        put(&mut gpt.header, at, &value.to_le_bytes());
        assert!(
            gpt.write(&as_disk(&file), &Device::new("/dev/sda"))
                .is_err()
        );
    }
}
