//! Partition tables that nobody would write, and errnos.

use std::fs::File;
use std::os::unix::fs::FileExt;

use conformance::{Direct, DiskSpec};
use testkit::Numbers;

const SIZE: u64 = 8 << 20;

#[test]
fn the_errno_of_a_disk_without_a_table_is_einval() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    for errno in [
        direct.part_list("/dev/sda").expect_err("part_list").errno(),
        direct
            .part_get_parttype("/dev/sda")
            .expect_err("part_get_parttype")
            .errno(),
        direct
            .part_get_gpt_type("/dev/sda", 1)
            .expect_err("part_get_gpt_type")
            .errno(),
    ] {
        assert_eq!(errno, "EINVAL");
    }
}

#[test]
fn names_are_utf8() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    direct.part_disk("/dev/sda", "gpt").expect("part_disk");
    let error = direct.part_set_name("/dev/sda", 1, b"\xff\xfe");
    assert_eq!(error.expect_err("not UTF-8").errno(), "EINVAL");
    direct
        .part_set_name("/dev/sda", 1, "\u{1f980}".as_bytes())
        .expect("part_set_name");
    let name = direct.part_get_name("/dev/sda", 1).expect("part_get_name");
    assert_eq!(name, "\u{1f980}".as_bytes());
}

/// A table that parted reads and writes has only primary partitions, and short names.
#[test]
fn partitions_of_other_tables_are_primary() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    direct.part_init("/dev/sda", "mac").expect("part_init");
    direct
        .part_add("/dev/sda", "p", 64, 1000)
        .expect("part_add");
    let kind = direct.part_get_mbr_part_type("/dev/sda", 2);
    assert_eq!(kind.expect("a partition"), "primary");
    direct
        .part_get_mbr_part_type("/dev/sda", 9)
        .expect_err("there is none");
    let before = direct.part_list("/dev/sda").expect("part_list");
    let error = direct.part_set_name("/dev/sda", 2, "n".repeat(256).as_bytes());
    assert_eq!(error.expect_err("too long").errno(), "EINVAL");
    // To parted, these words would be a command.
    direct
        .part_set_name("/dev/sda", 2, b"a rm 2")
        .expect("part_set_name");
    assert_eq!(direct.part_list("/dev/sda").expect("part_list"), before);
}

/// Whatever is changed in a table, each question has an answer or an error.
#[test]
fn damaged_tables_are_answered() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    let image = File::options()
        .read(true)
        .write(true)
        .open(direct.disk(0))
        .expect("image");
    let mut numbers = Numbers::new(0x9e37_79b9_7f4a_7c15);
    let mut listed = 0;
    for kind in ["mbr", "gpt"] {
        direct.part_disk("/dev/sda", kind).expect("part_disk");
        if kind == "mbr" {
            direct.part_init("/dev/sda", kind).expect("part_init");
            direct.part_add("/dev/sda", "e", 1, 4).expect("extended");
            direct.part_add("/dev/sda", "p", 8, 10).expect("primary");
        }
        direct.blockdev_flushbufs("/dev/sda").expect("flush");
        let mut sound = vec![0; 4096];
        image.read_exact_at(&mut sound, 0).expect("read");
        for _ in 0..60 {
            let mut damaged = sound.clone();
            for _ in 0..=numbers.below(4) {
                // The table's own bytes more often than the rest.
                let at = match numbers.below(2) {
                    0 => 440 + numbers.below(200),
                    _ => numbers.below(1536),
                };
                damaged[at as usize] = numbers.below(256) as u8;
            }
            image.write_all_at(&damaged, 0).expect("write");
            direct.blockdev_flushbufs("/dev/sda").expect("flush");
            listed += usize::from(direct.part_list("/dev/sda").is_ok());
            for number in [1, 2, 5] {
                let _ = direct.part_get_bootable("/dev/sda", number);
                let _ = direct.part_get_mbr_id("/dev/sda", number);
                let _ = direct.part_get_gpt_attributes("/dev/sda", number);
            }
        }
    }
    assert!(listed > 0, "no table was read at all");
    direct.ping_daemon().expect("the daemon goes on");
}
