use std::fs;

use conformance::{Direct, DiskSpec, skipped};
use protocol::api::BtrfsScrubFullOptions;

/// A text that is on no disk by chance.
const MARK: &[u8] = b"mark-91c3d7e8b2f04a65";

/// Btrfs on `/`, unless this machine's kernel does not know it.
fn mounted() -> Option<Direct> {
    let mut direct = Direct::start(&[DiskSpec::Formatted("btrfs", 256 << 20)]);
    if !direct.filesystem_available("btrfs").expect("answer") {
        skipped("this kernel has no btrfs");
        return None;
    }
    direct.mount("/dev/sda", "/").expect("mount");
    Some(direct)
}

#[test]
fn a_full_scrub_finds_data_that_has_changed() {
    let Some(mut direct) = mounted() else { return };
    let look = BtrfsScrubFullOptions {
        readonly: Some(true),
    };
    // More than what is kept with the inode.
    direct
        .internal_write("/file", &MARK.repeat(5000))
        .expect("write");
    direct.sync().expect("sync");
    direct.btrfs_scrub_full("/", &look).expect("scrub");
    direct
        .btrfs_scrub_full("/", &BtrfsScrubFullOptions::default())
        .expect("scrub");
    direct.umount("/", &Default::default()).expect("umount");
    direct.sync().expect("sync");
    let image = fs::read(direct.disk(0)).expect("image");
    let at = image
        .windows(MARK.len())
        .position(|window| window == MARK)
        .expect("data on the disk");
    direct
        .pwrite_device("/dev/sda", b"damage", at as i64)
        .expect("damage");
    direct.mount("/dev/sda", "/").expect("mount");
    direct
        .btrfs_scrub_full("/", &look)
        .expect_err("data without its checksum");
    let status = direct.btrfs_scrub_status("/").expect("status");
    assert!(status.btrfsscrub_csum_errors > 0, "{status:?}");
}

#[test]
fn subvolumes_stay_inside_the_guest() {
    let Some(mut direct) = mounted() else { return };
    direct.ln_s("../../../tmp", "/out").expect("link");
    for path in ["/out/volume", "/../tmp/volume"] {
        direct
            .btrfs_subvolume_create(path, &Default::default())
            .expect_err(path);
    }
    direct.mkdir("/tmp").expect("mkdir");
    direct
        .btrfs_subvolume_create("/out/volume", &Default::default())
        .expect("in the guest's own directory");
    direct
        .btrfs_subvolume_snapshot("/out/volume", "/out", &Default::default())
        .expect_err("it is there");
    direct
        .btrfs_subvolume_snapshot("/out/volume", "/out/second", &Default::default())
        .expect("a snapshot beside it");
    let paths: Vec<Vec<u8>> = direct
        .btrfs_subvolume_list("/")
        .expect("list")
        .into_iter()
        .map(|volume| volume.btrfssubvolume_path)
        .collect();
    assert_eq!(paths, [b"tmp/volume".to_vec(), b"tmp/second".to_vec()]);
    let outside = fs::read_dir(direct.root().join("tmp")).expect("tmp");
    assert_eq!(outside.count(), 0);
}
