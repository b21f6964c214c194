//! Names of disks, and calls that only older libraries send.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use conformance::{Direct, DiskSpec};

const SIZE: u64 = 8 << 20;

/// The directory of udev's links for labelled disks, as the daemon sees it.
fn labels(direct: &Direct) -> PathBuf {
    let dir = direct.root().join("dev/disk/guestfs");
    fs::create_dir_all(&dir).expect("directory");
    dir
}

#[test]
fn device_index_counts_whole_disks_from_zero() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE), DiskSpec::Blank(SIZE)]);
    direct.part_disk("/dev/sda", "mbr").expect("part_disk");
    assert_eq!(direct.device_index("/dev/sda").expect("sda"), 0);
    assert_eq!(direct.device_index("/dev/sdb").expect("sdb"), 1);
    assert_eq!(direct.device_index("/dev/vdb").expect("vdb"), 1);
    assert!(direct.device_index("/dev/sda1").is_err());
    let error = direct.device_index("/dev/sdc").expect_err("no such disk");
    assert_eq!(error.errno(), "ENOENT");
}

#[test]
fn hot_plugged_drives_are_waited_for() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    let link = labels(&direct).join("later");
    let start = Instant::now();
    let udev = {
        let link = link.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(400));
            symlink("../../sda", link).expect("link");
        })
    };
    direct.internal_hot_add_drive("later").expect("add");
    assert!(start.elapsed() >= Duration::from_millis(400));
    udev.join().expect("thread");
    let listed = direct.list_disk_labels().expect("labels");
    assert_eq!(listed, [(b"later".to_vec(), "/dev/sda".to_owned())]);

    direct
        .internal_hot_remove_drive_precheck("later")
        .expect("precheck");
    let start = Instant::now();
    let udev = thread::spawn(move || {
        thread::sleep(Duration::from_millis(400));
        fs::remove_file(link).expect("unlink");
    });
    direct.internal_hot_remove_drive("later").expect("remove");
    assert!(start.elapsed() >= Duration::from_millis(400));
    udev.join().expect("thread");
    assert!(direct.list_disk_labels().expect("labels").is_empty());
}

#[test]
fn a_drive_in_use_is_not_to_be_removed() {
    let mut direct = Direct::mounted();
    symlink("../../sda", labels(&direct).join("root")).expect("link");
    let error = direct.internal_hot_remove_drive_precheck("root");
    assert_eq!(error.expect_err("mounted").errno(), "EBUSY");
    direct.umount("/", &Default::default()).expect("umount");
    direct
        .internal_hot_remove_drive_precheck("root")
        .expect("precheck");
    let error = direct.internal_hot_remove_drive_precheck("none");
    assert_eq!(error.expect_err("no such label").errno(), "ENOENT");
}

#[test]
fn labels_are_names_not_paths() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    for label in ["", ".", "..", "../by-path", "a/b"] {
        for result in [
            direct.internal_hot_add_drive(label),
            direct.internal_hot_remove_drive_precheck(label),
            direct.internal_hot_remove_drive(label),
        ] {
            assert_eq!(result.expect_err(label).errno(), "EINVAL", "{label}");
        }
    }
}

/// Whatever the kernel calls a disk, in errors and in what is passed on it has the caller's name.
#[test]
fn what_programs_say_has_the_names_of_callers() {
    let disks = [DiskSpec::Blank(64 << 10), DiskSpec::Blank(SIZE)];
    let mut direct = Direct::start(&disks);
    // Nothing has been asked for yet, so the daemon does not know the order.
    let by_path = direct.root().join("dev/disk/by-path");
    for (index, kernel) in ["sdb", "sda"].into_iter().enumerate() {
        let link = by_path.join(format!("pci-0000:00:02.0-scsi-0:0:{index}:0"));
        fs::remove_file(&link).expect("unlink");
        symlink(format!("../../{kernel}"), link).expect("link");
    }
    let (large, small) = ("/dev/sda", "/dev/sdb");
    assert_eq!(direct.blockdev_getsize64(large).expect("size"), SIZE as i64);
    for (name, device, result) in [
        (
            "md_create",
            small,
            direct.md_create("x", &[small, small], &Default::default()),
        ),
        ("md_stop", large, direct.md_stop(large)),
        ("part_list", large, direct.part_list(large).map(drop)),
        ("sfdisk", large, direct.sfdisk_n(large, 9, 0, 0, 0, b",1")),
        (
            "luks_kill_slot",
            large,
            direct.luks_kill_slot(large, "key", 0),
        ),
        ("e2fsck_f", large, direct.e2fsck_f(large)),
        ("set_e2uuid", large, direct.set_e2uuid(large, "random")),
    ] {
        let message = result.expect_err(name).to_string();
        let other = if device == large { small } else { large };
        assert!(message.matches(device).count() > 1, "{name}: {message}");
        assert!(!message.contains(other), "{name}: {message}");
    }
    let message = direct.mount(large, "/").expect_err("blank").to_string();
    assert!(message.contains("superblock on /dev/sda"), "{message}");
    let listing = direct.sfdisk_l(large).expect("sfdisk_l").to_string();
    assert!(listing.starts_with("Disk /dev/sda: 8 MiB"), "{listing}");
}

/// Also where a name is not checked before the call is made.
#[test]
fn names_of_devices_do_not_lead_out_of_their_directory() {
    let mut direct = Direct::start(&[DiskSpec::Blank(SIZE)]);
    for name in [
        "/dev/../etc/passwd",
        "/dev/disk/../../etc",
        "/etc/passwd",
        "",
    ] {
        let error = direct.lvm_canonical_lv_name(name).expect_err(name);
        assert_eq!(error.errno(), "EINVAL", "{error}");
        assert!(error.to_string().contains("device name"), "{error}");
    }
}
