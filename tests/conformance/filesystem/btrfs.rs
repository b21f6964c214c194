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
fn listing_filesystems_writes_nothing() {
    let Some(mut direct) = mounted() else { return };
    direct
        .btrfs_subvolume_create("/below", &Default::default())
        .expect("create");
    direct.umount("/", &Default::default()).expect("umount");
    direct.sync().expect("sync");
    let image = |direct: &Direct| fs::read(direct.disk(0)).expect("image");
    let before = image(&direct);
    let found = direct.list_filesystems().expect("list_filesystems");
    let (below, kind) = &found[1];
    assert_eq!(below.to_string(), "btrfsvol:/dev/sda/below");
    assert_eq!(kind, b"btrfs");
    direct.sync().expect("sync");
    assert!(image(&direct) == before, "the disk has changed");
}

/// What comes after the comma would be an option.
#[test]
fn a_subvolume_with_a_comma_is_not_mounted() {
    let Some(mut direct) = mounted() else { return };
    for name in ["/plain", "/a,ro"] {
        direct
            .btrfs_subvolume_create(name, &Default::default())
            .expect("create");
    }
    direct.umount("/", &Default::default()).expect("umount");
    let error = direct.mount("btrfsvol:/dev/sda/a,ro", "/");
    assert_eq!(error.expect_err("a comma").errno(), "EINVAL");
    assert!(direct.mounts().expect("mounts").is_empty());
    direct.mount("btrfsvol:/dev/sda/plain", "/").expect("mount");
}

/// mount(8) would take what comes after them for a part of the name, or leave the name out: the
/// whole filesystem would be mounted, for writing.
#[test]
fn a_subvolume_with_a_quotation_mark_is_not_mounted() {
    let Some(mut direct) = mounted() else { return };
    let names = ["a\"b", "\"", "a\"b,ro", "c\\", "d\\e"];
    for name in names {
        direct
            .btrfs_subvolume_create(&format!("/{name}"), &Default::default())
            .expect("create");
    }
    direct.umount("/", &Default::default()).expect("umount");
    let listed = direct.list_filesystems().expect("list_filesystems");
    assert_eq!(listed.len(), 1 + names.len());
    for name in &names[..4] {
        let mountable = format!("btrfsvol:/dev/sda/{name}");
        for result in [
            direct.mount(&mountable, "/"),
            direct.mount_ro(&mountable, "/"),
            direct.mount_options("noatime", &mountable, "/"),
        ] {
            assert_eq!(result.expect_err(name).errno(), "EINVAL", "{name}");
            assert!(direct.mounts().expect("mounts").is_empty(), "{name}");
        }
        // What needs no program takes them as they are.
        if !name.contains(',') {
            direct.btrfs_subvolume_list(&mountable).expect(name);
        }
    }
    direct
        .mount_ro("btrfsvol:/dev/sda/d\\e", "/")
        .expect("mount_ro");
    let error = direct.touch("/file").expect_err("it is read-only");
    assert_eq!(error.errno(), "EROFS", "{error}");
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

/// The number of the subvolume that each is in, and its path, as the call tells of a place.
fn listed(direct: &mut Direct, fs: &str) -> Vec<(u64, String)> {
    let volumes = direct.btrfs_subvolume_list(fs).expect(fs).into_iter();
    let text = |path| String::from_utf8(path).expect("UTF-8");
    volumes
        .map(|volume| {
            let path = text(volume.btrfssubvolume_path);
            (volume.btrfssubvolume_top_level_id, path)
        })
        .collect()
}

#[test]
fn a_name_that_looks_like_another_subvolume_is_a_name() {
    let Some(mut direct) = mounted() else { return };
    let forged = "n\nID 9 gen 9 top level 5 path forged";
    direct.mkdir("/dir").expect("mkdir");
    for path in [
        "/one".to_owned(),
        format!("/dir/{forged}"),
        "/one/inner".to_owned(),
        "/gone".to_owned(),
    ] {
        direct
            .btrfs_subvolume_create(&path, &Default::default())
            .expect(&path);
    }
    direct.btrfs_subvolume_delete("/gone").expect("delete");
    let all = [
        (5, "one".to_owned()),
        (5, format!("dir/{forged}")),
        (256, "one/inner".to_owned()),
    ];
    assert_eq!(listed(&mut direct, "/"), all);
    assert_eq!(listed(&mut direct, "/dir"), all);
    let from_one = [all[0].clone(), all[1].clone(), (256, "inner".to_owned())];
    assert_eq!(listed(&mut direct, "/one"), from_one);
    let filesystems = direct.list_filesystems().expect("list_filesystems");
    let names: Vec<String> = filesystems.into_iter().map(|(name, _)| name).collect();
    let volumes = all.map(|(_, path)| format!("btrfsvol:/dev/sda/{path}"));
    assert_eq!(names[0], "/dev/sda");
    assert_eq!(names[1..], volumes);
    direct.umount("/", &Default::default()).expect("umount");
    // More than one answer of the kernel holds.
    direct.mount("/dev/sda", "/").expect("mount");
    let many: Vec<String> = (0..100).map(|number| format!("{number:0200}")).collect();
    for name in &many {
        direct
            .btrfs_subvolume_create(&format!("/{name}"), &Default::default())
            .expect(name);
    }
    let found: Vec<String> = listed(&mut direct, "/dev/sda")
        .into_iter()
        .skip(3)
        .map(|(_, path)| path)
        .collect();
    assert_eq!(found, many);
    let error = direct.btrfs_subvolume_list("/none").expect_err("no path");
    assert_eq!(error.errno(), "ENOENT");
}

#[test]
fn a_name_that_looks_like_a_field_is_a_name() {
    let Some(mut direct) = mounted() else { return };
    let forged = " n\n\tUUID: \t\t\tforged\n\tSnapshot(s):\n\t\t\t\tforged";
    let own = format!("/dir\n\tName: \t\t\tdir/{forged}");
    direct.mkdir("/dir\n\tName: \t\t\tdir").expect("mkdir");
    direct
        .btrfs_subvolume_create(&own, &Default::default())
        .expect("create");
    direct
        .btrfs_subvolume_create("/last", &Default::default())
        .expect("create");
    // In the order of their numbers; but what is in one comes right after it.
    for snapshot in [
        "/one",
        "/two\n\tQuota group:\t\tforged",
        "/three",
        "/one/in",
    ] {
        direct
            .btrfs_subvolume_snapshot(&own, snapshot, &Default::default())
            .expect(snapshot);
    }
    let snapshots = "one,one/in,two\n\tQuota group:\t\tforged,three";
    for quota in [false, true] {
        if quota {
            direct.btrfs_quota_enable("/", true).expect("quota");
        }
        let fields = direct.btrfs_subvolume_show(&own).expect("show");
        let of = |title: &str| {
            let mut values = fields.iter().filter(|(each, _)| each == title.as_bytes());
            let value = values.next().map(|(_, value)| value.as_slice());
            assert!(values.next().is_none(), "two of {title}");
            value
        };
        assert_eq!(of("path"), Some(&own.as_bytes()[1..]));
        assert_eq!(of("Name"), Some(forged.as_bytes()));
        assert_eq!(of("UUID").map(<[u8]>::len), Some(36));
        assert_eq!(of("Snapshot(s)"), Some(snapshots.as_bytes()));
        if quota {
            assert_eq!(of("Quota group"), Some(&b"0/256"[..]));
        } else {
            assert_ne!(of("Quota group"), Some(&b"forged"[..]));
        }
    }
    direct.btrfs_subvolume_show("/").expect("the top");
    direct
        .btrfs_subvolume_show("/dir\n\tName: \t\t\tdir")
        .expect_err("no subvolume");
}
