use std::fs;

use conformance::{Direct, DiskSpec};

const DISK: u64 = 64 << 20;

fn two_disks() -> Direct {
    Direct::start(&[
        DiskSpec::Formatted("ext4", DISK),
        DiskSpec::Formatted("ext2", 16 << 20),
    ])
}

/// Where the daemon sees filesystems, in the guest or outside of it.
fn mounted(direct: &Direct) -> Vec<String> {
    let process = direct.root();
    let list = process.parent().expect("process").join("mountinfo");
    fs::read_to_string(list)
        .expect("mounts")
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
        .collect()
}

#[test]
fn mountables_are_taken_apart() {
    let mut direct = two_disks();
    let whole = direct
        .internal_parse_mountable("/dev/sdb")
        .expect("a device");
    assert_eq!(whole.im_type, 1);
    assert_eq!(whole.im_device, b"/dev/sdb");
    assert_eq!(whole.im_volume, b"");
    let volume = direct
        .internal_parse_mountable("btrfsvol:/dev/sda/a/b c")
        .expect("a subvolume");
    assert_eq!(volume.im_type, 2);
    assert_eq!(volume.im_device, b"/dev/sda");
    assert_eq!(volume.im_volume, b"a/b c");
    for wrong in [
        "btrfsvol:/dev/sda",
        "btrfsvol:/dev/sdz/x",
        "btrfsvol:",
        "sda",
    ] {
        direct.internal_parse_mountable(wrong).expect_err(wrong);
    }
}

#[test]
fn a_link_in_the_guest_cannot_move_a_mount_outside() {
    let mut direct = two_disks();
    direct.mount("/dev/sda", "/").expect("mount");
    direct.ln_s("../../../../../../tmp", "/up").expect("link");
    direct.ln_s("/tmp", "/absolute").expect("link");
    let before = mounted(&direct);
    for link in ["/up", "/absolute"] {
        direct.mount("/dev/sdb", link).expect_err(link);
        assert_eq!(mounted(&direct), before, "{link}");
    }
    // With such a directory in the guest, that one is meant.
    direct.mkdir("/tmp").expect("mkdir");
    for link in ["/up", "/absolute"] {
        direct.mount("/dev/sdb", link).expect(link);
        let mounts = mounted(&direct);
        assert_eq!(mounts.last().map(String::as_str), Some("/sysroot/tmp"));
        direct.umount(link, &Default::default()).expect(link);
        assert_eq!(mounted(&direct), before, "{link}");
    }
}

#[test]
fn a_file_to_mount_is_a_regular_file_of_the_guest() {
    let mut direct = two_disks();
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir("/d").expect("mkdir");
    fs::copy(direct.disk(1), direct.root().join("tmp/image")).expect("an image outside");
    direct.ln_s("../../../tmp/image", "/link").expect("link");
    direct
        .mount_loop("/link", "/d")
        .expect_err("a link outside");
    // The second disk by its number, as a guest may have it.
    let disk = fs::metadata(direct.root().join("dev/sdb")).expect("disk");
    let number = std::os::unix::fs::MetadataExt::rdev(&disk);
    let (major, minor) = (
        nix::sys::stat::major(number) as i32,
        nix::sys::stat::minor(number) as i32,
    );
    direct
        .mknod_b(0o600, major, minor, "/node")
        .expect("a node");
    let error = direct.mount_loop("/node", "/d").expect_err("a node");
    assert_eq!(error.errno(), "EINVAL", "{error}");
    assert!(!mounted(&direct).contains(&"/sysroot/d".to_owned()));
}

#[test]
fn errors_have_their_numbers() {
    let mut direct = two_disks();
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir("/d").expect("mkdir");
    let errno = |result: Result<(), conformance::ClientError>| {
        result.expect_err("an error").errno().to_owned()
    };
    let options = Default::default();
    assert_eq!(errno(direct.umount("/d", &options)), "EINVAL");
    assert_eq!(errno(direct.umount("/nothing", &options)), "ENOENT");
    assert_eq!(errno(direct.umount("/dev/sdb", &options)), "EINVAL");
    direct.mount("/dev/sdb", "/d").expect("mount");
    assert_eq!(errno(direct.umount("/", &options)), "EBUSY");
    assert_eq!(errno(direct.mount("/dev/sdb", "/nothing")), "ENOENT");
    assert_eq!(
        errno(direct.mount("btrfsvol:/dev/sda/x,rw", "/d")),
        "EINVAL"
    );
    assert_eq!(errno(direct.mkmountpoint("/d")), "EEXIST");
    assert_eq!(errno(direct.rmmountpoint("/d")), "EBUSY");
}

#[test]
fn the_machine_itself_is_not_unmounted() {
    let mut direct = Direct::with_args(&[], &["-r"]);
    let before = mounted(&direct);
    let error = direct.umount_all().expect_err("refused");
    assert_eq!(error.errno(), "ENOTSUP", "{error}");
    assert_eq!(mounted(&direct), before);
}
