//! Calls that the installed library does not know, or never sends.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

use conformance::support::machine::{Hardware, Machine};
use conformance::{ClientError, DiskSpec};
use protocol::api::{
    BtrfsScrubFullOptions, BtrfsSubvolumeCreateOptions, MkfsOptions, Mount9pOptions,
    NtfsChmodOptions, SetfilesOptions, UmountOptions,
};

const MIB: u64 = 1 << 20;

/// The partitions of the disk: what for, and how large in MiB.
const PARTITIONS: [(&str, i64); 4] = [("ext4", 32), ("xfs", 400), ("ntfs", 64), ("btrfs", 300)];
const EXT4: &str = "/dev/sda1";
const XFS: &str = "/dev/sda2";
const NTFS: &str = "/dev/sda3";
const BTRFS: &str = "/dev/sda4";

#[test]
fn calls_that_the_library_does_not_send_work() {
    let share = tempfile::tempdir().expect("tempdir");
    fs::write(share.path().join("file"), "of the host").expect("shared file");
    symlink("/file", share.path().join("link")).expect("shared link");
    let empty = tempfile::tempdir().expect("tempdir");
    let mut machine = Machine::boot(&Hardware {
        disks: &[DiskSpec::Blank(1024 * MIB)],
        shares: &[("host-files", share.path()), ("empty", empty.path())],
        ..Hardware::default()
    });
    let devices = machine.list_devices().expect("list_devices");
    assert_eq!(devices, ["/dev/sda"]);
    partitions_are_found_by_what_their_table_says(&mut machine);
    mountables_are_taken_apart(&mut machine);
    the_geometry_of_xfs_is_a_map(&mut machine);
    modes_on_ntfs_are_changed_without_mounting(&mut machine);
    a_scrub_repairs_what_it_can_and_says_what_it_cannot(&mut machine);
    trees_are_labelled_but_what_is_excluded(&mut machine);
    shared_directories_are_mounted(&mut machine, share.path());
    a_disk_comes_and_goes(&mut machine);
}

fn partitions_are_found_by_what_their_table_says(machine: &mut Machine) {
    machine.part_init("/dev/sda", "gpt").expect("part_init");
    let mut start = 2048;
    for (number, (name, size)) in (1..).zip(PARTITIONS) {
        let end = start + size * 2048 - 1;
        machine
            .part_add("/dev/sda", "p", start, end)
            .expect("part_add");
        machine
            .part_set_name("/dev/sda", number, &format!("f\u{fc}r {name}"))
            .expect("part_set_name");
        start = end + 1;
    }
    for (number, (name, _)) in (1..).zip(PARTITIONS) {
        let device = format!("/dev/sda{number}");
        let uuid = machine
            .part_get_gpt_guid("/dev/sda", number)
            .expect("part_get_gpt_guid");
        for uuid in [uuid.to_lowercase(), uuid.to_uppercase()] {
            let found = machine.findfs_partuuid(&uuid).expect("findfs_partuuid");
            assert_eq!(found, device, "{uuid}");
        }
        let label = format!("f\u{fc}r {name}");
        let found = machine.findfs_partlabel(&label).expect("findfs_partlabel");
        assert_eq!(found, device, "{label}");
    }
    for (kind, device) in [("ext4", EXT4), ("xfs", XFS), ("ntfs", NTFS)] {
        machine
            .mkfs(kind, device, &MkfsOptions::default())
            .expect(kind);
    }
    // A filesystem's label and UUID are not the partition's.
    let uuid = machine.vfs_uuid(EXT4).expect("vfs_uuid");
    refused(machine.findfs_partuuid(&uuid), "ENOENT", &uuid);
    refused(machine.findfs_partlabel("ext4"), "ENOENT", "ext4");
}

fn mountables_are_taken_apart(machine: &mut Machine) {
    let mut parts = |mountable: &str| {
        let parts = machine
            .internal_parse_mountable(mountable)
            .expect("internal_parse_mountable");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (parts.im_type, text(parts.im_device), text(parts.im_volume))
    };
    let owned = |kind, device: &str, volume: &str| (kind, device.to_owned(), volume.to_owned());
    assert_eq!(parts(EXT4), owned(1, EXT4, ""));
    assert_eq!(parts("btrfsvol:/dev/sda4/a/b c"), owned(2, BTRFS, "a/b c"));
    let missing = machine.internal_parse_mountable("btrfsvol:/dev/sdz1/a");
    refused(missing, "EINVAL", "/dev/sdz1");
}

fn the_geometry_of_xfs_is_a_map(machine: &mut Machine) {
    let mut geometry = |place: &str| -> HashMap<String, String> {
        let pairs = machine.xfs_info2(place).expect("xfs_info2");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        pairs
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    };
    let of_device = geometry(XFS);
    assert_eq!(of_device["meta-data"], XFS);
    assert_eq!(of_device["data.bsize"], "4096");
    assert_eq!(of_device["data.blocks"], (400 * MIB / 4096).to_string());
    machine.mount(XFS, "/").expect("mount");
    let mut geometry = |place: &str| machine.xfs_info2(place).expect("xfs_info2");
    let mounted: HashMap<_, _> = geometry("/").into_iter().collect();
    for (name, value) in &of_device {
        assert_eq!(mounted[name.as_bytes()], value.as_bytes(), "{name}");
    }
    unmount(machine);
    let error = machine.xfs_info2(EXT4).expect_err("no XFS");
    assert!(error.to_string().contains(EXT4), "{error}");
}

fn modes_on_ntfs_are_changed_without_mounting(machine: &mut Machine) {
    machine.mount(NTFS, "/").expect("mount");
    machine.mkdir("/directory").expect("mkdir");
    for file in ["/directory/a", "/directory/b c"] {
        machine.touch(file).expect("touch");
    }
    unmount(machine);
    let alone = NtfsChmodOptions::default();
    let recursive = NtfsChmodOptions {
        recursive: Some(true),
    };
    machine
        .ntfs_chmod(NTFS, 0o750, "/directory", &recursive)
        .expect("recursive");
    machine
        .ntfs_chmod(NTFS, 0o604, "/directory/b c", &alone)
        .expect("a file");
    let missing = machine.ntfs_chmod(NTFS, 0o600, "/missing", &alone);
    refused(missing, "", NTFS);
    refused(
        machine.ntfs_chmod(EXT4, 0o600, "/directory", &alone),
        "",
        EXT4,
    );
    machine
        .mount_options("permissions", NTFS, "/")
        .expect("mount");
    for (path, mode) in [
        ("/directory", 0o750),
        ("/directory/a", 0o750),
        ("/directory/b c", 0o604),
    ] {
        let found = machine.statns(path).expect("statns").st_mode & 0o7777;
        assert_eq!(found, mode, "{path}: {found:o}");
    }
    unmount(machine);
}

fn a_scrub_repairs_what_it_can_and_says_what_it_cannot(machine: &mut Machine) {
    // Two copies of data on one device are nothing that a call can ask for.
    let uuid = machine
        .part_get_gpt_guid("/dev/sda", 4)
        .expect("part_get_gpt_guid")
        .to_lowercase();
    machine.shell(&format!(
        "mkfs.btrfs -q -f -d dup -m dup /dev/disk/by-partuuid/{uuid}"
    ));
    machine.mount(BTRFS, "/").expect("mount");
    machine
        .btrfs_subvolume_create("/sub", &BtrfsSubvolumeCreateOptions::default())
        .expect("subvolume");
    let content: Vec<u8> = (0..64 << 10).map(|n: u32| (n * n / 257) as u8).collect();
    machine
        .internal_write("/sub/file", &content)
        .expect("internal_write");
    unmount(machine);

    let image = OpenOptions::new()
        .read(true)
        .write(true)
        .open(machine.disk(0))
        .expect("image");
    let copies = places(&image, &content[4096..8192]);
    assert_eq!(copies.len(), 2, "{copies:?}");
    let damage = |place: u64| image.write_all_at(&[0xa5; 64], place).expect("damage");
    let is_damaged = |place: u64| {
        let mut bytes = [0; 64];
        image.read_exact_at(&mut bytes, place).expect("image");
        bytes == [0xa5; 64]
    };
    let look = BtrfsScrubFullOptions {
        readonly: Some(true),
    };
    let repair = BtrfsScrubFullOptions::default();
    // Anywhere on the filesystem will do.
    machine.mount("btrfsvol:/dev/sda4/sub", "/").expect("mount");
    machine
        .btrfs_scrub_full("/", &look)
        .expect("nothing is wrong");
    damage(copies[0]);
    machine.btrfs_scrub_full("/", &look).expect("one is left");
    machine.sync().expect("sync");
    assert!(is_damaged(copies[0]), "it was to look only");
    machine.btrfs_scrub_full("/", &repair).expect("repaired");
    machine.sync().expect("sync");
    assert!(!is_damaged(copies[0]), "it was to be repaired");
    copies.iter().copied().for_each(damage);
    refused(machine.btrfs_scrub_full("/", &repair), "", "corrected");
    unmount(machine);
}

/// Where in a file some bytes are.
fn places(image: &File, wanted: &[u8]) -> Vec<u64> {
    let size = image.metadata().expect("image").len();
    let mut block = vec![0; wanted.len()];
    let mut found = Vec::new();
    for place in (0..size).step_by(wanted.len()) {
        image.read_exact_at(&mut block, place).expect("image");
        if block == wanted {
            found.push(place);
        }
    }
    found
}

fn trees_are_labelled_but_what_is_excluded(machine: &mut Machine) {
    machine.mount(EXT4, "/").expect("mount");
    for directory in ["/etc/keep", "/home/user"] {
        machine.mkdir_p(directory).expect("mkdir_p");
    }
    for file in ["/etc/file", "/etc/keep/file", "/home/user/file"] {
        machine.touch(file).expect("touch");
    }
    let contexts = "/.* system_u:object_r:default_t:s0\n\
                    /etc(/.*)? system_u:object_r:etc_t:s0\n";
    machine
        .internal_write("/contexts", contexts)
        .expect("internal_write");
    let options = SetfilesOptions {
        excludes: Some(vec![b"/etc/keep"]),
        force: Some(true),
    };
    machine
        .setfiles("/contexts", &["/etc", "/home/user"], &options)
        .expect("setfiles");
    for (path, expected) in [
        ("/etc/file", Some("etc_t")),
        ("/home/user/file", Some("default_t")),
        ("/etc/keep/file", None),
        ("/home", None),
    ] {
        let label = machine.lgetxattr(path, "security.selinux");
        let label = label.map(|label| String::from_utf8_lossy(&label).into_owned());
        match expected {
            Some(kind) => {
                let label = label.expect(path);
                assert_eq!(label.split(':').nth(2), Some(kind), "{path}: {label}");
            }
            None => refused(label, "ENODATA", ""),
        }
    }
    unmount(machine);
}

fn shared_directories_are_mounted(machine: &mut Machine, shared: &Path) {
    let none = Mount9pOptions::default();
    machine.mount(EXT4, "/").expect("mount");
    machine.mkdir("/share").expect("mkdir");
    machine
        .internal_write("/file", "of the guest")
        .expect("write");
    let tags = machine.list_9p().expect("list_9p");
    assert_eq!(tags, [&b"empty"[..], b"host-files"]);
    for (tag, mountpoint) in [("nothing", "/share"), ("host-files", "share")] {
        let mounted = machine.mount_9p(tag, mountpoint, &none);
        assert!(mounted.is_err(), "{tag} on {mountpoint}");
    }
    let mounted = machine.mount_9p("host-files", "/missing", &none);
    refused(mounted, "ENOENT", "/missing");
    let mounted = machine.mount_9p("host-files", "/file", &none);
    refused(mounted, "ENOTDIR", "/file");
    let on_ext4 = (EXT4.to_owned(), b"/".to_vec());
    let mounts = machine.mountpoints().expect("mountpoints");
    assert_eq!(mounts, std::slice::from_ref(&on_ext4));

    machine
        .mount_9p("host-files", "/share", &none)
        .expect("mount_9p");
    let mounts = machine.mountpoints().expect("mountpoints");
    let share = ("host-files".to_owned(), b"/share".to_vec());
    assert_eq!(mounts, [on_ext4, share]);
    let content = |machine: &mut Machine, path| machine.pread(path, 64, 0).expect("pread");
    assert_eq!(content(machine, "/share/file"), b"of the host");
    assert_eq!(content(machine, "/share/link"), b"of the guest");
    machine
        .internal_write("/share/new", "written")
        .expect("write");
    assert_eq!(fs::read(shared.join("new")).expect("new"), b"written");
    machine
        .umount("/share", &UmountOptions::default())
        .expect("umount");

    let read_only = Mount9pOptions {
        options: Some(b"ro,version=9p2000.L"),
    };
    machine
        .mount_9p("host-files", "/share", &read_only)
        .expect("mount_9p");
    assert_eq!(content(machine, "/share/new"), b"written");
    refused(machine.touch("/share/more"), "EROFS", "/share/more");
    machine.umount_all().expect("umount_all");
    // Also as the root.
    machine.mount_9p("empty", "/", &none).expect("mount_9p");
    let mounts = machine.mountpoints().expect("mountpoints");
    assert_eq!(mounts, [("empty".to_owned(), b"/".to_vec())]);
    unmount(machine);
}

fn a_disk_comes_and_goes(machine: &mut Machine) {
    let directory = tempfile::tempdir().expect("tempdir");
    let image = directory.path().join("image");
    let file = File::create(&image).expect("image");
    file.set_len(64 * MIB).expect("size");
    let missing = machine.internal_hot_remove_drive_precheck("extra");
    refused(missing, "ENOENT", "extra");
    // Twice, as the second takes the place of the first.
    for round in ["first", "second"] {
        machine.plug(&image, "extra");
        machine.internal_hot_add_drive("extra").expect("added");
        let labels: HashMap<Vec<u8>, String> = machine
            .list_disk_labels()
            .expect("list_disk_labels")
            .into_iter()
            .collect();
        let device = &labels[&b"extra"[..]];
        // The partition is still there from the first time.
        let partition = labels.get(&b"extra1"[..]);
        let expected = (round == "second").then(|| format!("{device}1"));
        assert_eq!(partition, expected.as_ref());
        let devices = machine.list_devices().expect("list_devices");
        assert!(
            devices.len() == 2 && devices.contains(device),
            "{devices:?}"
        );
        assert_eq!(machine.nr_devices().expect("nr_devices"), 2);
        let size = machine.blockdev_getsize64(device).expect("size");
        assert_eq!(size, 64 << 20);

        machine.part_disk(device, "gpt").expect("part_disk");
        let partition = format!("{device}1");
        machine
            .mkfs("ext4", &partition, &MkfsOptions::default())
            .expect("mkfs");
        machine.mount(&partition, "/").expect("mount");
        machine.internal_write("/file", round).expect("write");
        let busy = machine.internal_hot_remove_drive_precheck("extra");
        refused(busy, "EBUSY", device);
        let content = machine.pread("/file", 64, 0).expect("pread");
        assert_eq!(content, round.as_bytes());
        unmount(machine);
        machine
            .internal_hot_remove_drive_precheck("extra")
            .expect("it may go");
        machine.unplug("extra");
        machine.internal_hot_remove_drive("extra").expect("gone");
        assert_eq!(machine.list_devices().expect("devices"), ["/dev/sda"]);
        assert_eq!(machine.list_disk_labels().expect("labels"), []);
        assert_eq!(machine.nr_devices().expect("nr_devices"), 1);
        assert_eq!(
            machine.list_partitions().expect("partitions").len(),
            PARTITIONS.len()
        );
        refused(machine.vfs_type(&partition), "ENOENT", &partition);
        // All that was written has come to the file.
        let written = fs::read(&image).expect("image");
        assert_eq!(&written[512..520], b"EFI PART");
    }
}

fn unmount(machine: &mut Machine) {
    machine
        .umount("/", &UmountOptions::default())
        .expect("umount");
}

/// The call must fail with this errno, and a message that has this word.
fn refused<T: std::fmt::Debug>(result: Result<T, ClientError>, errno: &str, word: &str) {
    let error = result.expect_err(word);
    assert_eq!(error.errno(), errno, "{error}");
    assert!(error.to_string().contains(word), "{error}");
}
