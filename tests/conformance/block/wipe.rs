//! What zeroing does to the image behind a disk.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, MetadataExt};

use conformance::{Direct, DiskSpec};

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
