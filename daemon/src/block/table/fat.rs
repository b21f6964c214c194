//! The table that mkfs.fat writes around its filesystem, for the sake of other systems.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where what is looked at stands in the boot sector, and what it is if mkfs.fat wrote it: its
/// name, then one active partition that begins with the disk, and the signature.
const NAME: (usize, &[u8]) = (3, b"mkfs.fat");
const ACTIVE_FROM_THE_START: (usize, &[u8]) = (446, &[0x80, 0, 1, 0]);
const KIND_AT: usize = 450;
const KINDS: [u8; 5] = [0x01, 0x04, 0x06, 0x0c, 0x0e];
const FIRST_SECTOR: (usize, &[u8]) = (454, &[0, 0, 0, 0]);
const SIGNATURE: (usize, &[u8]) = (510, &[0x55, 0xaa]);

/// Whether the first sector of a disk has that table. Neither libblkid nor parted call it one.
///
/// # Errors
///
/// The errno of reading.
pub(crate) fn has_table(disk: &File) -> io::Result<bool> {
    let mut boot = [0; 512];
    disk.read_exact_at(&mut boot, 0)?;
    let is = |(at, mark): (usize, &[u8])| boot.get(at..).is_some_and(|rest| rest.starts_with(mark));
    Ok([NAME, ACTIVE_FROM_THE_START, FIRST_SECTOR, SIGNATURE]
        .into_iter()
        .all(is)
        && boot.get(KIND_AT).is_some_and(|kind| KINDS.contains(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_mkfs_fat_writes() {
        let file = tempfile::tempfile().expect("file");
        file.set_len(1 << 20).expect("size");
        assert!(!has_table(&file).expect("zeroes"));
        for (at, mark) in [NAME, ACTIVE_FROM_THE_START, (KIND_AT, &[0x0c]), SIGNATURE] {
            assert!(!has_table(&file).expect("half of it"));
            file.write_all_at(mark, at as u64).expect("write");
        }
        assert!(has_table(&file).expect("all of it"));
        file.write_all_at(&[1], 454).expect("write");
        assert!(!has_table(&file).expect("a partition elsewhere"));
        assert!(has_table(&tempfile::tempfile().expect("file")).is_err());
    }
}
