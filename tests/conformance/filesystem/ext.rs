use conformance::{Direct, DiskSpec};
use protocol::api::{E2fsckOptions, SetE2attrsOptions};

const DISK: u64 = 16 << 20;

/// Where the first group's free inodes are counted: in the block after the superblock's.
const FREE_INODES: i64 = 2048 + 14;

#[test]
fn a_check_that_changes_nothing_finds_what_is_wrong() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext2", DISK)]);
    let look = E2fsckOptions {
        forceno: Some(true),
        ..E2fsckOptions::default()
    };
    direct.e2fsck("/dev/sda", &look).expect("a good filesystem");
    direct
        .pwrite_device("/dev/sda", &[0x77; 2], FREE_INODES)
        .expect("damage");
    direct.e2fsck("/dev/sda", &look).expect_err("a wrong count");
    let repair = E2fsckOptions {
        correct: Some(true),
        ..E2fsckOptions::default()
    };
    direct.e2fsck("/dev/sda", &repair).expect("repair");
    direct
        .e2fsck("/dev/sda", &look)
        .expect("a repaired filesystem");
    let both = E2fsckOptions {
        forceno: Some(true),
        ..repair
    };
    let error = direct.e2fsck("/dev/sda", &both).expect_err("two answers");
    assert_eq!(error.errno(), "EINVAL", "{error}");
}

#[test]
fn attributes_stay_inside_the_guest() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext2", DISK)]);
    direct.mount("/dev/sda", "/").expect("mount");
    let outside = direct.root().join("tmp/outside");
    std::fs::write(&outside, "outside").expect("a file outside");
    direct.ln_s("../../tmp/outside", "/link").expect("link");
    let error = direct.get_e2attrs("/link").expect_err("a link outside");
    assert_eq!(error.errno(), "ENOENT", "{error}");
    direct
        .set_e2attrs("/link", "i", &SetE2attrsOptions::default())
        .expect_err("a link outside");
    std::fs::write(&outside, "not immutable").expect("a file outside");
    direct.mkfifo(0o600, "/pipe").expect("mkfifo");
    direct.get_e2attrs("/pipe").expect_err("a pipe");
    direct.get_e2generation("/pipe").expect_err("a pipe");
}
