//! What device names say: disks, partitions, and how they are ordered.

use std::cmp::Ordering;

/// A device's name below `/dev`.
pub(super) fn base(path: &str) -> &str {
    path.strip_prefix("/dev/").unwrap_or(path)
}

/// The letters of the disk with a given index: a, b, ..., z, aa, ab, ...
pub(super) fn drive_name(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index;
    loop {
        // A digit below 26 fits.
        letters.push(char::from(b'a' + (rest % 26) as u8));
        match (rest / 26).checked_sub(1) {
            Some(next) => rest = next,
            None => break,
        }
    }
    letters.iter().rev().collect()
}

/// The index of the disk with the given letters; `None` if they are no letters
/// or too many.
fn drive_index(letters: &str) -> Option<usize> {
    if letters.is_empty() {
        return None;
    }
    let mut index: usize = 0;
    for letter in letters.bytes() {
        if !letter.is_ascii_lowercase() {
            return None;
        }
        index = index
            .checked_mul(26)?
            .checked_add(usize::from(letter - b'a') + 1)?;
    }
    index.checked_sub(1)
}

/// A name that callers number disks by (`/dev/sdb3`, `/dev/vdb3`, `/dev/hdb3`,
/// `/dev/ubdb3`): the disk's index and the partition's digits. MD devices are
/// not among them.
pub(super) fn alias(name: &str) -> Option<(usize, &str)> {
    let name = name.strip_prefix("/dev/")?;
    let d = name.find('d').filter(|at| matches!(at, 1 | 2))?;
    let (kind, rest) = name.split_at_checked(d)?;
    if kind.starts_with('m') || kind.contains('/') {
        return None;
    }
    let rest = rest.get(1..)?;
    let letters = rest
        .find(|c: char| !c.is_ascii_lowercase())
        .unwrap_or(rest.len());
    let (letters, number) = rest.split_at_checked(letters)?;
    if number.bytes().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    Some((drive_index(letters)?, number))
}

/// `md0`, but not `mdp0` or `md0p1`.
pub(super) fn is_md(name: &str) -> bool {
    name.strip_prefix("md")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The number of the partition `entry` of `disk`; `None` if it is none.
pub(super) fn partition_number(disk: &str, entry: &str) -> Option<u32> {
    let rest = entry.strip_prefix(disk)?;
    let digits = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        rest.strip_prefix('p')?
    } else {
        rest
    };
    number(digits)
}

/// A partition's name as its disk's and its number, by the name alone.
pub(super) fn split(name: &str) -> Option<(&str, u32)> {
    let end = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (disk, digits) = name.split_at_checked(end)?;
    let number = number(digits)?;
    match disk.strip_suffix('p') {
        Some(disk) if disk.ends_with(|c: char| c.is_ascii_digit()) => Some((disk, number)),
        _ if disk.is_empty() => None,
        _ => Some((disk, number)),
    }
}

/// Orders device names as people do: sda2, sda10, sdb, sdaa.
pub(super) fn compare_devices(a: &str, b: &str) -> Ordering {
    let key = |name| split(name).unwrap_or((name, 0));
    let ((disk_a, part_a), (disk_b, part_b)) = (key(a), key(b));
    disk_a
        .len()
        .cmp(&disk_b.len())
        .then_with(|| disk_a.cmp(disk_b))
        .then(part_a.cmp(&part_b))
}

/// Orders names with numbers in them by the numbers' values, as `ls -v` does.
pub(super) fn compare_versions(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, rest_a) = cut(a, |byte| !byte.is_ascii_digit());
        let (text_b, rest_b) = cut(b, |byte| !byte.is_ascii_digit());
        let (digits_a, rest_a) = cut(rest_a, |byte| byte.is_ascii_digit());
        let (digits_b, rest_b) = cut(rest_b, |byte| byte.is_ascii_digit());
        let order = compare_text(text_a, text_b).then_with(|| compare_digits(digits_a, digits_b));
        if order.is_ne() || (rest_a.is_empty() && rest_b.is_empty()) {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// Letters sort before everything else, and the end of a text before all.
fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |byte: &u8| match byte {
        b'~' => -1,
        byte if byte.is_ascii_alphabetic() => i32::from(*byte),
        byte => i32::from(*byte) + 256,
    };
    let len = a.len().max(b.len());
    (0..len)
        .map(|at| {
            let a = a.get(at).map_or(0, weight);
            a.cmp(&b.get(at).map_or(0, weight))
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let (_, a) = cut(a, |byte| byte == b'0');
    let (_, b) = cut(b, |byte| byte == b'0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn cut(bytes: &[u8], front: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes
        .iter()
        .position(|&byte| !front(byte))
        .unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// Digits as a number; `None` for none, for a sign, and for too many.
fn number(digits: &str) -> Option<u32> {
    if digits.starts_with('+') {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drive_letters_count_like_spreadsheet_columns() {
        for (index, letters) in [
            (0, "a"),
            (25, "z"),
            (26, "aa"),
            (51, "az"),
            (52, "ba"),
            (701, "zz"),
            (702, "aaa"),
        ] {
            assert_eq!(drive_name(index), letters);
            assert_eq!(drive_index(letters), Some(index));
        }
        for bad in [
            "",
            "A",
            "a1",
            "é",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert_eq!(drive_index(bad), None, "{bad}");
        }
    }

    #[test]
    fn aliases_are_disks_and_partitions_by_letter() {
        assert_eq!(alias("/dev/sda"), Some((0, "")));
        assert_eq!(alias("/dev/vdb12"), Some((1, "12")));
        assert_eq!(alias("/dev/hdaa1"), Some((26, "1")));
        assert_eq!(alias("/dev/ubda"), Some((0, "")));
        for other in [
            "/dev/md0",
            "/dev/mda",
            "/dev/dm-0",
            "/dev/fd0",
            "/dev/vg/lvd1",
            "/dev/v/da",
            "/dev/sd",
            "/dev/sd1",
            "/dev/sda1x",
            "/dev/nvme0n1",
            "sda",
            "/dev/",
            "/dev/é",
        ] {
            assert_eq!(alias(other), None, "{other}");
        }
    }

    #[test]
    fn partitions_of_names_that_end_in_digits_have_a_p() {
        assert_eq!(split("sda1"), Some(("sda", 1)));
        assert_eq!(split("nvme0n1p3"), Some(("nvme0n1", 3)));
        assert_eq!(split("md127p2"), Some(("md127", 2)));
        assert_eq!(split("mmcblk0p1"), Some(("mmcblk0", 1)));
        assert_eq!(split("loop0p1"), Some(("loop0", 1)));
        assert_eq!(split("sda"), None);
        assert_eq!(split("123"), None);
        assert_eq!(split("sda99999999999"), None);
        assert_eq!(partition_number("sda", "sda10"), Some(10));
        assert_eq!(partition_number("sda", "sdaa"), None);
        assert_eq!(partition_number("md1", "md12"), None);
        assert_eq!(partition_number("md1", "md1p2"), Some(2));
    }

    #[test]
    fn devices_sort_as_people_count() {
        let mut names = ["sdaa", "sdb", "sda10", "sda2", "sdz", "sda"];
        names.sort_by(|a, b| compare_devices(a, b));
        assert_eq!(names, ["sda", "sda2", "sda10", "sdb", "sdz", "sdaa"]);
    }

    #[test]
    fn bus_positions_sort_by_number() {
        let mut names = [
            "pci-0000:00:02.0-scsi-0:0:10:0",
            "pci-0000:00:02.0-scsi-0:0:2:0",
            "pci-0000:00:02.0-scsi-0:0:2:1",
            "pci-0000:00:10.0-scsi-0:0:0:0",
            "pci-0000:00:02.0-ata-1",
        ];
        names.sort_by(|a, b| compare_versions(a.as_bytes(), b.as_bytes()));
        assert_eq!(
            names,
            [
                "pci-0000:00:02.0-ata-1",
                "pci-0000:00:02.0-scsi-0:0:2:0",
                "pci-0000:00:02.0-scsi-0:0:2:1",
                "pci-0000:00:02.0-scsi-0:0:10:0",
                "pci-0000:00:10.0-scsi-0:0:0:0",
            ]
        );
        assert_eq!(compare_versions(b"a01", b"a1"), Ordering::Equal);
        assert_eq!(compare_versions(b"", b"a"), Ordering::Less);
    }
}
