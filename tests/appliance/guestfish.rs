//! guestfish does real work on disks.

use std::fs;
use std::process::Command;

use conformance::support::boot;

/// A disk image of this size.
fn disk(directory: &std::path::Path, name: &str, size: u64) {
    let file = fs::File::create(directory.join(name)).expect("image");
    file.set_len(size).expect("image size");
}

#[test]
fn a_disk_is_partitioned_filled_and_read_back() {
    let directory = tempfile::tempdir().expect("tempdir");
    let here = directory.path();
    disk(here, "one.img", 640 << 20);
    disk(here, "two.img", 64 << 20);
    fs::create_dir_all(here.join("tree/inner")).expect("tree");
    fs::write(here.join("tree/inner/file"), "contents of a file\n").expect("file");
    std::os::unix::fs::symlink("inner/file", here.join("tree/link")).expect("link");
    let status = Command::new("tar")
        .args(["-cf", "tree.tar", "-C", "tree", "."])
        .current_dir(here)
        .status()
        .expect("tar");
    assert!(status.success());

    let steps: &[(&str, &str)] = &[
        ("list-devices", "/dev/sda\n/dev/sdb\n"),
        ("part-init /dev/sda gpt", ""),
        ("part-add /dev/sda p 2048 206847", ""),
        ("part-add /dev/sda p 206848 1026047", ""),
        // udev has made the nodes when the call returns.
        ("list-partitions", "/dev/sda1\n/dev/sda2\n"),
        ("mkfs ext4 /dev/sda1 label:first", ""),
        ("mkfs xfs /dev/sda2", ""),
        (
            "list-filesystems",
            "/dev/sdb: unknown\n/dev/sda1: ext4\n/dev/sda2: xfs\n",
        ),
        ("vfs-label /dev/sda1", "first\n"),
        ("mount /dev/sda1 /", ""),
        ("mkdir /data", ""),
        ("mount /dev/sda2 /data", ""),
        ("mountpoints", "/dev/sda1: /\n/dev/sda2: /data\n"),
        ("tar-in tree.tar /data", ""),
        ("cat /data/inner/file", "contents of a file\n\n"),
        ("readlink /data/link", "inner/file\n"),
        ("is-symlink /data/link", "true\n"),
        (
            "checksum md5 /data/link",
            "460a1fce1cb59aa56126096a3514eb62\n",
        ),
        ("ls /data", "inner\nlink\n"),
        ("tar-out /data back.tar", ""),
        ("download /data/inner/file back", ""),
        ("umount /data", ""),
        ("-cat /data/inner/file", "*No such file or directory*"),
        ("mount-ro /dev/sda2 /data", ""),
        ("-touch /data/no", "*Read-only file system*"),
        ("umount-all", ""),
        // What device mapper makes has its own names.
        (
            "debug sh \"pvcreate -q /dev/sdb && vgcreate -q VG /dev/sdb && lvcreate -q -n LV -L 32M VG\"",
            "*",
        ),
        ("mkfs ext2 /dev/VG/LV", ""),
        ("mount /dev/VG/LV /", ""),
        ("mounts", "/dev/VG/LV\n"),
        ("write /kept \"until the next mount\"", ""),
    ];
    let commands: Vec<&str> = steps.iter().map(|(command, _)| *command).collect();
    let args = ["--format=raw", "-a", "one.img", "-a", "two.img"];
    let outputs = boot::guestfish(here, &args, &commands);
    for ((command, expected), output) in steps.iter().zip(&outputs) {
        let same = match (expected.strip_prefix('*'), expected.strip_suffix('*')) {
            (Some(middle), Some(_)) => output.contains(middle.trim_end_matches('*')),
            _ => output == expected,
        };
        assert!(same, "{command}: printed {output:?}, not {expected:?}");
    }
    assert_eq!(
        fs::read_to_string(here.join("back")).expect("back"),
        "contents of a file\n"
    );
    let listing = Command::new("tar")
        .args(["-tf", "back.tar"])
        .current_dir(here)
        .output();
    let listing = String::from_utf8(listing.expect("tar").stdout).expect("names");
    assert!(
        listing.lines().any(|name| name == "./inner/file"),
        "{listing}"
    );
}

#[test]
fn what_was_written_is_in_the_image_when_the_library_shuts_down() {
    let directory = tempfile::tempdir().expect("tempdir");
    let here = directory.path();
    disk(here, "disk.img", 64 << 20);
    let outputs = boot::guestfish(
        here,
        &["--network", "--format=raw", "-a", "disk.img"],
        &[
            "mkfs ext4 /dev/sda",
            "mount /dev/sda /",
            // Neither unmounted nor synchronised: the shutdown does both.
            "write /file \"still in memory\"",
            "debug sh \"cat /proc/cmdline\"",
            "debug sh \"ip -4 -brief address\"",
            "available-all-groups",
        ],
    );
    assert!(outputs[3].contains("guestfs_network=1"), "{}", outputs[3]);
    let address = outputs[4]
        .lines()
        .any(|line| !line.starts_with("lo") && line.contains('/'));
    assert!(
        address,
        "no address for programs in the guest: {}",
        outputs[4]
    );
    assert!(outputs[5].lines().count() > 10, "{}", outputs[5]);
    let cat = Command::new("/usr/sbin/debugfs")
        .args(["-R", "cat /file", "disk.img"])
        .current_dir(here)
        .output()
        .expect("debugfs");
    assert_eq!(String::from_utf8_lossy(&cat.stdout), "still in memory");
    let check = Command::new("/usr/sbin/e2fsck")
        .args(["-fn", "disk.img"])
        .current_dir(here)
        .output()
        .expect("e2fsck");
    assert!(check.status.success(), "{check:?}");
}
