use std::collections::BTreeMap;
use std::fs::{self, File};

use conformance::{ClientError, Direct, DiskSpec, skipped};
use protocol::api::XfsRepairOptions;

const DISK: u64 = 320 << 20;

/// One inside it, with next to nothing in it.
const IMAGE: i64 = 305 << 20;

/// XFS on `/dev/sda`, unless this machine's kernel does not know it.
fn with_xfs() -> Option<Direct> {
    let mut direct = Direct::start(&[DiskSpec::Formatted("xfs", DISK)]);
    if !direct.filesystem_available("xfs").expect("answer") {
        skipped("this kernel has no xfs");
        return None;
    }
    Some(direct)
}

/// Makes a filesystem in a file of the guest, by the program itself.
fn make(direct: &mut Direct, image: &str, options: &[&str]) {
    let inside = direct.root().join("sysroot").join(&image[1..]);
    let made = std::process::Command::new("/usr/sbin/mkfs.xfs")
        .args(["-q", "-f"])
        .args(options)
        .arg(&inside)
        .output()
        .expect("mkfs.xfs");
    assert!(made.status.success(), "{made:?}");
}

fn geometry(direct: &mut Direct, place: &str) -> BTreeMap<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    direct
        .xfs_info2(place)
        .expect("geometry")
        .into_iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

#[test]
fn geometry_is_a_map_of_everything() {
    let Some(mut direct) = with_xfs() else { return };
    let of_device = geometry(&mut direct, "/dev/sda");
    assert_eq!(of_device["meta-data"], "/dev/sda");
    assert_eq!(of_device["meta-data.crc"], "1");
    assert_eq!(of_device["data.bsize"], "4096");
    assert_eq!(of_device["data.blocks"], (DISK / 4096).to_string());
    assert_eq!(of_device["log"], "internal log");
    direct.mount("/dev/sda", "/").expect("mount");
    assert_eq!(geometry(&mut direct, "/"), of_device);
    direct.xfs_info2("/nothing").expect_err("no such place");
}

#[test]
fn an_image_in_the_guest_is_repaired_where_it_is() {
    let Some(mut direct) = with_xfs() else { return };
    direct.mount("/dev/sda", "/").expect("mount");
    direct.touch("/image").expect("touch");
    direct
        .truncate_size("/image", IMAGE)
        .expect("truncate_size");
    let look = XfsRepairOptions {
        nomodify: Some(true),
        ..XfsRepairOptions::default()
    };
    let status = direct.xfs_repair("/image", &look).expect("no filesystem");
    assert_ne!(status, 0);
    make(&mut direct, "/image", &[]);
    assert_eq!(direct.xfs_repair("/image", &look).expect("repair"), 0);
    let refused =
        |result: Result<i32, ClientError>| result.expect_err("an error").errno().to_owned();
    direct.mkdir("/d").expect("mkdir");
    assert_eq!(refused(direct.xfs_repair("/d", &look)), "EISDIR");
    assert_eq!(refused(direct.xfs_repair("/nothing", &look)), "ENOENT");
}

#[test]
fn a_directory_that_is_read_from_two_places_is_whole() {
    let Some(mut direct) = with_xfs() else { return };
    direct.mount("/dev/sda", "/").expect("mount");
    read_from_two_places(&mut direct, "/many");
    // The second place is then in the middle of a block, and of its entries.
    direct.touch("/image").expect("touch");
    direct
        .truncate_size("/image", IMAGE)
        .expect("truncate_size");
    make(&mut direct, "/image", &["-n", "size=65536"]);
    direct.mkdir("/inner").expect("mkdir");
    direct.mount_loop("/image", "/inner").expect("mount_loop");
    read_from_two_places(&mut direct, "/inner/many");
}

fn read_from_two_places(direct: &mut Direct, directory: &str) {
    direct.mkdir(directory).expect("mkdir");
    let many = direct.root().join("sysroot").join(&directory[1..]);
    let stem = "n".repeat(200);
    let name = |number: usize| format!("{stem}{number:04}");
    let create = |number: usize| drop(File::create(many.join(name(number))).expect("a file"));
    let listed = |direct: &mut Direct| -> Vec<String> {
        let entries = direct.readdir(directory).expect("readdir");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        entries.into_iter().map(|entry| text(entry.name)).collect()
    };
    // On XFS entries come in the order in which they were made.
    let expected = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<String> {
        let dots = [".", ".."].map(str::to_owned);
        dots.into_iter().chain(numbers.map(name)).collect()
    };
    for number in 0..4000 {
        create(number);
        // The second place moves on by half a block with each block that comes.
        if number > 3000 && number % 50 == 0 {
            assert!(listed(direct) == expected(&mut (0..=number)), "{number}");
        }
    }
    // Where it is, nothing is left, first here and there, then anywhere near it: the directory
    // keeps its size.
    let remove = |numbers: &mut dyn Iterator<Item = usize>| {
        numbers.for_each(|number| fs::remove_file(many.join(name(number))).expect("removed"));
    };
    remove(&mut (1000..3000).step_by(2));
    let mut left = (0..1000).chain((1001..3000).step_by(2)).chain(3000..4000);
    assert!(listed(direct) == expected(&mut left));
    remove(&mut (1001..3000).step_by(2));
    let mut left = (0..1000).chain(3000..4000);
    assert!(listed(direct) == expected(&mut left));
    let mut names = Vec::new();
    direct.ls0(directory, &mut names).expect("ls0");
    assert_eq!(names.split(|&byte| byte == 0).count(), 2001);
}

/// The kernel does so by itself where it meets damage.
#[test]
fn a_filesystem_that_was_shut_down_can_be_left() {
    let Some(mut direct) = with_xfs() else { return };
    let options = Default::default();
    for place in ["/", "/below"] {
        direct.mount("/dev/sda", "/").expect("mount");
        direct.mkdir_p("/below").expect("mkdir");
        if place != "/" {
            direct.umount("/", &options).expect("umount");
            direct.mkmountpoint(place).expect("mkmountpoint");
            direct.mount("/dev/sda", place).expect("mount");
        }
        let top = direct.root().join("sysroot").join(&place[1..]);
        let shut_down = std::process::Command::new("/usr/sbin/xfs_io")
            .args(["-x", "-c", "shutdown"])
            .arg(&top)
            .output()
            .expect("xfs_io");
        assert!(shut_down.status.success(), "{shut_down:?}");
        let error = direct.lstatns(place).expect_err("it is shut down");
        assert_eq!(error.errno(), "EIO", "{error}");
        assert!(error.to_string().contains(place), "{error}");
        direct
            .ls0(place, &mut Vec::new())
            .expect_err("it is shut down");
        assert_eq!(direct.mounts().expect("mounts"), ["/dev/sda"]);
        direct.umount(place, &options).expect("umount");
        assert!(direct.mounts().expect("mounts").is_empty());
        if place != "/" {
            direct.rmmountpoint(place).expect("rmmountpoint");
        }
    }
    direct.mount("/dev/sda", "/").expect("mount it again");
    assert!(
        direct
            .is_dir("/below", &Default::default())
            .expect("is_dir")
    );
}
