//! How often calls wait for udev.

use conformance::{ClientError, Direct, DiskSpec};
use protocol::api;

const SIZE: u64 = 16 << 20;

/// What one call is, for people, with how often it waits.
type Waits = (&'static str, usize);

/// How often udev was waited for so far.
fn waits(direct: &Direct) -> usize {
    let log = direct.stderr();
    log.lines()
        .filter(|line| *line == "command: udevadm settle")
        .count()
}

/// Makes a call that must succeed, and tells how often it waited.
fn counted<T>(
    direct: &mut Direct,
    name: &'static str,
    call: impl FnOnce(&mut Direct) -> Result<T, ClientError>,
) -> Waits {
    let before = waits(direct);
    call(direct).unwrap_or_else(|error| panic!("{name}: {error}"));
    (name, waits(direct) - before)
}

macro_rules! count {
    ($direct:ident, $($call:ident($($argument:expr),*)),* $(,)?) => {
        [$(counted(&mut $direct, stringify!($call), |direct| direct.$call($($argument),*))),*]
    };
}

/// A disk with a partition, and a mounted filesystem, with all that is found out at first known.
fn start() -> Direct {
    let disks = [DiskSpec::Blank(SIZE), DiskSpec::Formatted("ext4", SIZE)];
    let mut direct = Direct::with_args(&disks, &["-v"]);
    direct.part_disk("/dev/sda", "mbr").expect("part_disk");
    direct.mount("/dev/sdb", "/").expect("mount");
    direct.internal_write("/file", b"content").expect("write");
    direct
}

#[test]
fn reading_waits_for_nothing() {
    let mut direct = start();
    let counts = count!(
        direct,
        list_devices(),
        list_partitions(),
        list_filesystems(),
        part_list("/dev/sda"),
        part_get_parttype("/dev/sda"),
        part_get_bootable("/dev/sda", 1),
        blockdev_getsize64("/dev/sda"),
        blockdev_getro("/dev/sda1"),
        blkid("/dev/sdb"),
        vfs_type("/dev/sdb"),
        vfs_label("/dev/sdb"),
        is_zero_device("/dev/sda"),
        pread_device("/dev/sda", 512, 0),
        checksum_device("md5", "/dev/sda"),
        tune2fs_l("/dev/sdb"),
        mountpoints(),
        pread("/file", 7, 0),
        internal_write("/file", b"changed"),
        umount("/", &api::UmountOptions::default()),
        mount("/dev/sdb", "/"),
    );
    for (call, waited) in counts {
        assert_eq!(waited, 0, "{call}");
    }
}

/// Before a change for what has happened until then, if another's look at the device would be in
/// its way, and after it for the change itself.
#[test]
fn a_change_is_waited_for_once() {
    let mut direct = start();
    let counts = count!(
        direct,
        pwrite_device("/dev/sda", b"x", SIZE as i64 - 512),
        zero("/dev/sda"),
        zero_device("/dev/sda"),
        mkswap("/dev/sda", &api::MkswapOptions::default()),
        wipefs("/dev/sda"),
        part_init("/dev/sda", "gpt"),
        part_add("/dev/sda", "p", 2048, 4095),
        part_set_name("/dev/sda", 1, "name"),
        part_set_gpt_type("/dev/sda", 1, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
        part_del("/dev/sda", 1),
        blockdev_rereadpt("/dev/sda"),
    );
    let expected = [
        ("pwrite_device", 1),
        ("zero", 1),
        ("zero_device", 1),
        ("mkswap", 1),
        ("wipefs", 2),
        ("part_init", 2),
        ("part_add", 2),
        ("part_set_name", 2),
        ("part_set_gpt_type", 2),
        ("part_del", 2),
        ("blockdev_rereadpt", 2),
    ];
    assert_eq!(counts, expected);
}
