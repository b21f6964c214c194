use std::fs::File;
use std::os::unix::fs::FileExt;

use conformance::{Direct, DiskSpec};
use protocol::api::{Mke2fsOptions, MkfsOptions};

/// Bytes of the image behind the first disk.
fn bytes<const N: usize>(direct: &Direct, at: u64) -> [u8; N] {
    let mut bytes = [0; N];
    File::open(direct.disk(0))
        .and_then(|image| image.read_exact_at(&mut bytes, at))
        .expect("image");
    bytes
}

#[test]
fn a_filesystem_reaches_the_disk_and_the_one_before_is_wiped() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("btrfs", 128 << 20)]);
    const BTRFS_MAGIC: u64 = 65_536 + 64;
    assert_eq!(&bytes(&direct, BTRFS_MAGIC), b"_BHRfS_M");
    direct
        .mkfs("ext4", "/dev/sda", &MkfsOptions::default())
        .expect("mkfs");
    direct.sync().expect("sync");
    assert_eq!(bytes(&direct, 1024 + 56), [0x53, 0xef]);
    assert_ne!(&bytes(&direct, BTRFS_MAGIC), b"_BHRfS_M");
}

#[test]
fn a_refused_call_leaves_the_disk_alone() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 64 << 20)]);
    let before: [u8; 4096] = bytes(&direct, 0);
    let options = MkfsOptions {
        blocksize: Some(1000),
        ..MkfsOptions::default()
    };
    let error = direct
        .mkfs("ext4", "/dev/sda", &options)
        .expect_err("block size");
    assert_eq!(error.errno(), "EINVAL", "{error}");
    let options = Mke2fsOptions {
        journaldevice: Some(b"LABEL=a,size=1"),
        ..Mke2fsOptions::default()
    };
    let error = direct
        .mke2fs("/dev/sda", &options)
        .expect_err("journal options by a label");
    assert_eq!(error.errno(), "EINVAL", "{error}");
    direct.sync().expect("sync");
    assert_eq!(bytes::<4096>(&direct, 0), before);
}
