//! What zeroing does to the image behind a disk, and what scrubbing leaves if it is ended.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread;
use std::time::{Duration, Instant};

use conformance::support::direct::kill_children;
use conformance::{Direct, DiskSpec};

/// Sixteen bytes that are on no disk by chance.
const MARK: &[u8] = b"91c3d7e8b2f04a65";

#[test]
fn zeroing_a_device_allocates_nothing() {
    const SIZE: u64 = 32 << 20;
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .open(direct.disk(0));
    let image = image.expect("the image");
    // So long that the device makes the zeroes, a single block, and the end.
    for (at, len) in [(5 << 20, 3 << 20), (20 << 20, 4096), (SIZE - 512, 512)] {
        image.write_all_at(&vec![7; len], at).expect("write");
    }
    image.sync_all().expect("sync");
    let allocated = || image.metadata().expect("the image").blocks() * 512;
    let before = allocated();
    assert!((3 << 20..6 << 20).contains(&before), "{before} bytes");
    assert!(!direct.is_zero_device("/dev/sda").expect("is_zero_device"));
    direct.zero_device("/dev/sda").expect("zero_device");
    direct.blockdev_flushbufs("/dev/sda").expect("flush");
    assert!(direct.is_zero_device("/dev/sda").expect("is_zero_device"));
    let mut content = vec![1; 1 << 20];
    for at in (0..SIZE).step_by(content.len()) {
        image.read_exact_at(&mut content, at).expect("read");
        assert!(content.iter().all(|&byte| byte == 0), "at {at}");
    }
    image.sync_all().expect("sync");
    // The filesystem of the image may need a few blocks for its own account of that.
    let after = allocated();
    assert!(
        after <= before + (64 << 10),
        "{before} became {after} bytes"
    );
}

#[test]
fn a_small_device_is_zeroed_to_its_end() {
    let mut direct = Direct::start(&[DiskSpec::Blank(64 << 10)]);
    direct
        .pwrite_device("/dev/sda", &[7; 512], (64 << 10) - 512)
        .expect("write");
    direct.zero("/dev/sda").expect("zero");
    assert!(direct.is_zero_device("/dev/sda").expect("is_zero_device"));
}

/// As on FAT, where no file is longer than 4 GiB.
#[test]
fn free_space_beyond_the_longest_file_is_zeroed_too() {
    const LONGEST: &str = "env --ignore-signal=XFSZ prlimit --fsize=4000000";
    let disks = [DiskSpec::Formatted("ext2", 16 << 20)];
    let mut direct = Direct::with_environment(&disks, &[], &[("STANDIN_WRAP", LONGEST)]);
    let image = direct.disk(0).to_path_buf();
    let left = || {
        let image = fs::read(&image).expect("the image");
        image
            .chunks(MARK.len())
            .filter(|part| *part == MARK)
            .count()
    };
    direct.mount("/dev/sda", "/").expect("mount");
    for name in ["/1", "/2", "/3"] {
        direct.touch(name).expect("touch");
        let long = direct.fill_pattern(std::str::from_utf8(MARK).expect("text"), 4_000_000, name);
        long.expect("fill_pattern");
    }
    assert_eq!(
        direct
            .truncate_size("/1", 4_000_001)
            .expect_err("too long")
            .errno(),
        "EFBIG"
    );
    direct.sync().expect("sync");
    assert!(left() > 700_000);
    for name in ["/1", "/2", "/3"] {
        direct.rm(name).expect("rm");
    }
    direct.sync().expect("sync");
    assert!(left() > 700_000, "removing leaves the data");
    direct.zero_free_space("/").expect("zero_free_space");
    assert!(direct.readdir("/").expect("readdir").len() == 3);
    direct.umount("/", &Default::default()).expect("umount");
    direct.sync().expect("sync");
    assert_eq!(left(), 0);
}

#[test]
fn a_scrub_that_dies_leaves_its_room_free() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 512 << 20)]);
    direct.mount("/dev/sda", "/").expect("mount");
    let (daemon, root) = (direct.id(), direct.root());
    let killer = thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(60);
        let filling = || {
            let mut files = fs::read_dir(root.join("sysroot/free")).ok()?;
            files.next()
        };
        while filling().is_none() {
            assert!(Instant::now() < deadline, "nothing is filled");
            thread::sleep(Duration::from_millis(1));
        }
        // A worker may be among them.
        kill_children(daemon);
    });
    let error = direct.scrub_freespace("/free").expect_err("killed");
    assert!(error.to_string().contains("SIGKILL"), "{error}");
    killer.join().expect("thread");
    assert!(!direct.exists("/free").expect("exists"));
}
