//! The sandbox of these tests leaves nothing behind, and shows no other disks.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::support::images;
use conformance::{Direct, DiskSpec};
use protocol::api::MkfsOptions;

/// The loop devices of this machine with an image below the directory.
fn attached(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").expect("/sys/block").flatten() {
        let file = entry.path().join("loop/backing_file");
        let image = fs::read_to_string(file).unwrap_or_default();
        if Path::new(image.trim_end()).starts_with(directory) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

fn wait_detached(directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !attached(directory).is_empty() {
        assert!(
            Instant::now() < deadline,
            "{:?} stay attached",
            attached(directory)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_killed_daemon_leaves_no_loop_device() {
    let mut direct = Direct::mounted();
    direct.touch("/file").expect("touch");
    let directory = direct.directory().to_owned();
    assert_eq!(attached(&directory).len(), 1);
    // With a filesystem mounted.
    direct.kill();
    wait_detached(&directory);
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains("/sysroot"), "{mounts}");
}

#[test]
fn a_program_that_serves_a_filesystem_ends_with_the_sandbox() {
    let mut direct = Direct::start(&[DiskSpec::Blank(32 << 20)]);
    let options = MkfsOptions::default();
    direct.mkfs("ntfs", "/dev/sda", &options).expect("mkfs");
    direct.mount("/dev/sda", "/").expect("mount");
    direct.touch("/file").expect("touch");
    let directory = direct.directory().to_owned();
    drop(direct);
    wait_detached(&directory);
}

#[test]
fn only_the_tests_own_disks_are_to_be_seen() {
    let disks = [DiskSpec::Blank(1 << 20), DiskSpec::Blank(2 << 20)];
    let mut direct = Direct::start(&disks);
    let mut sh = |line: &str| {
        let output = direct.debug("sh", &[line.as_bytes()]).expect("sh");
        String::from_utf8(output).expect("text")
    };
    assert_eq!(sh("ls /sys/block"), "sda\nsdb");
    assert_eq!(
        sh("tail -n +3 /proc/partitions | sed 's/.* //'"),
        "sda\nsdb"
    );
    assert_eq!(sh("tail -n +2 /proc/swaps"), "");
    let nodes = sh("find /dev -type b -not -name 'loop*'");
    let mut nodes: Vec<_> = nodes.lines().collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["/dev/sda", "/dev/sdb"]);
    assert_eq!(
        direct.list_devices().expect("list_devices"),
        ["/dev/sda", "/dev/sdb"]
    );
}

#[test]
fn volumes_on_the_disks_of_another_test_are_not_to_be_seen() {
    let image = tempfile::NamedTempFile::new().expect("image");
    images::LVM.write(image.path());
    let mut another = Direct::start(&[DiskSpec::Image(image.path().to_owned())]);
    assert_eq!(another.pvs().expect("pvs"), ["/dev/sda"]);
    let mut direct = Direct::start(&[DiskSpec::Blank(8 << 20)]);
    assert_eq!(direct.pvs().expect("pvs"), Vec::<String>::new());
    assert_eq!(direct.vgs().expect("vgs"), Vec::<Vec<u8>>::new());
    assert_eq!(another.pvs().expect("pvs"), ["/dev/sda"]);
}

#[test]
fn a_disk_that_another_test_made_read_only_is_writable_for_the_next() {
    for _ in 0..3 {
        let mut direct = Direct::start(&[DiskSpec::Blank(1 << 20)]);
        assert!(!direct.blockdev_getro("/dev/sda").expect("getro"));
        direct.blockdev_setro("/dev/sda").expect("setro");
        assert!(direct.blockdev_getro("/dev/sda").expect("getro"));
    }
}

#[test]
fn partitions_come_and_go_with_their_table() {
    let image = tempfile::NamedTempFile::new().expect("image");
    image.as_file().set_len(32 << 20).expect("size");
    let disks = [DiskSpec::Image(image.path().to_owned())];
    let mut direct = Direct::start(&disks);
    direct.part_disk("/dev/sda", "gpt").expect("part_disk");
    assert_eq!(direct.list_partitions().expect("list"), ["/dev/sda1"]);
    assert_eq!(direct.hang_up().code, 0);
    let mut direct = Direct::start(&disks);
    assert_eq!(direct.list_partitions().expect("list"), ["/dev/sda1"]);
    direct.part_init("/dev/sda", "gpt").expect("part_init");
    assert_eq!(
        direct.list_partitions().expect("list"),
        Vec::<String>::new()
    );
}
