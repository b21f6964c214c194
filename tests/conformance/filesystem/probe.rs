use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};

use conformance::{Direct, DiskSpec};

/// A disk with two GPT partitions, of which the first is called `first one`.
const TABLE: &str = "label: gpt
start=2048, size=20480, name=\"first one\", uuid=11111111-2222-4333-8444-555555555555
start=22528, size=20480, name=second, uuid=66666666-7777-4888-8999-AAAAAAAAAAAA
";

fn partitioned() -> Direct {
    let directory = tempfile::tempdir().expect("tempdir");
    let image = directory.path().join("image");
    File::create(&image)
        .and_then(|file| file.set_len(64 << 20))
        .expect("image");
    let mut sfdisk = Command::new("/usr/sbin/sfdisk")
        .arg("--quiet")
        .arg(&image)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sfdisk");
    sfdisk
        .stdin
        .take()
        .expect("stdin")
        .write_all(TABLE.as_bytes())
        .expect("table");
    assert!(sfdisk.wait().expect("sfdisk").success());
    // The daemon has it open: it may go.
    Direct::start(&[DiskSpec::Image(image), DiskSpec::Blank(8 << 20)])
}

#[test]
fn partitions_are_found_by_their_names_and_uuids() {
    let mut direct = partitioned();
    let found = direct.findfs_partlabel("first one").expect("name");
    assert_eq!(found, "/dev/sda1");
    let found = direct.findfs_partlabel("second").expect("name");
    assert_eq!(found, "/dev/sda2");
    let found = direct
        .findfs_partuuid("66666666-7777-4888-8999-aaaaaaaaaaaa")
        .expect("UUID");
    assert_eq!(found, "/dev/sda2");
    direct.findfs_partlabel("third").expect_err("no such name");
    direct
        .findfs_partuuid("66666666-7777-4888-8999-bbbbbbbbbbbb")
        .expect_err("no such UUID");
}

#[test]
fn one_damaged_filesystem_does_not_hide_the_others() {
    let mut direct = Direct::start(&[
        DiskSpec::Formatted("btrfs", 256 << 20),
        DiskSpec::Formatted("ext2", 8 << 20),
    ]);
    direct.set_label("/dev/sda", b" kept ").expect("set_label");
    // The superblock stays; the trees that it points to go.
    let image = File::options()
        .write(true)
        .open(direct.disk(0))
        .expect("image");
    for megabyte in 1..64 {
        std::os::unix::fs::FileExt::write_all_at(&image, &[0; 1 << 20], megabyte << 20)
            .expect("damage");
    }
    image.sync_all().expect("sync");
    let found: Vec<(String, String)> = direct
        .list_filesystems()
        .expect("list")
        .into_iter()
        .map(|(mountable, kind)| {
            (
                mountable.to_string(),
                String::from_utf8_lossy(&kind).into_owned(),
            )
        })
        .collect();
    let expected = [("/dev/sda", "btrfs"), ("/dev/sdb", "ext2")]
        .map(|(device, kind)| (device.to_owned(), kind.to_owned()));
    assert_eq!(found, expected);
    // So that it can be told which one it was.
    let label = direct.vfs_label("/dev/sda").expect("vfs_label");
    assert_eq!(label, b" kept ");
}

/// All that the daemon says of what is on the disks.
fn known(direct: &mut Direct, without_entries: bool) -> Vec<String> {
    let mut known = Vec::new();
    for device in ["/dev/sda", "/dev/sda1", "/dev/sda2", "/dev/sdb"] {
        known.push(format!("{device}: {:?}", direct.vfs_type(device)));
        known.push(format!("{device}: {:?}", direct.vfs_uuid(device)));
        known.push(format!("{device}: {:?}", direct.vfs_label(device)));
        let tags = direct.blkid(device).map_or_else(
            |error| vec![(b"error".to_vec(), error.errno().into())],
            |mut tags| {
                // The program looks for the disk under names that this sandbox has not.
                if without_entries {
                    tags.retain(|(name, _)| !name.starts_with(b"PART_ENTRY_"));
                }
                tags
            },
        );
        known.extend(tags.into_iter().map(|(name, value)| {
            let (name, value) = (
                String::from_utf8_lossy(&name),
                String::from_utf8_lossy(&value),
            );
            format!("{device}: {name}={value}")
        }));
    }
    let found = direct.list_filesystems().expect("list");
    known.extend(
        found
            .into_iter()
            .map(|(device, kind)| format!("{device} {kind:?}")),
    );
    known
}

#[test]
fn the_library_and_the_program_give_the_same_answers() {
    let mut with = partitioned();
    with.mkfs("ext4", "/dev/sda1", &Default::default())
        .expect("mkfs");
    with.mkfs("vfat", "/dev/sda2", &Default::default())
        .expect("mkfs");
    with.set_label("/dev/sda1", "with space").expect("label");
    with.sync().expect("sync");
    let found = known(&mut with, false);
    for part in [
        "/dev/sda1: Ok(\"ext4\")",
        "/dev/sda1: LABEL=with\\ space",
        "/dev/sda1: PART_ENTRY_SCHEME=gpt",
        "/dev/sda1: PART_ENTRY_NAME=first\\ one",
        "/dev/sda1: PART_ENTRY_OFFSET=2048",
        "/dev/sda: PTTYPE=gpt",
        "/dev/sdb: Ok(\"\")",
    ] {
        assert!(
            found.iter().any(|line| line == part),
            "{part} in {found:#?}"
        );
    }
    let image = with.directory().join("copy");
    let mut disk = File::open(with.root().join("dev/sda")).expect("a disk");
    let mut copy = File::create(&image).expect("an image");
    std::io::copy(&mut disk, &mut copy).expect("a copy");

    let mut without = Direct::start(&[DiskSpec::Image(image), DiskSpec::Blank(8 << 20)]);
    let elsewhere = crate::worker::hide_library(&without, "libblkid.so.1");
    without
        .debug("setenv", &["LD_LIBRARY_PATH", &elsewhere])
        .expect("setenv");
    assert_eq!(known(&mut without, true), known(&mut with, true));
    assert_eq!(without.children(), Vec::<u32>::new());
}

#[test]
fn the_signatures_of_two_filesystems_are_nothing_or_an_error() {
    // A superblock of btrfs in the middle of an ext2 filesystem.
    let mut direct = Direct::start(&[
        DiskSpec::Formatted("ext2", 8 << 20),
        DiskSpec::Formatted("btrfs", 256 << 20),
    ]);
    let superblock = direct
        .pread_device("/dev/sdb", 4096, 64 << 10)
        .expect("a superblock");
    direct
        .pwrite_device("/dev/sda", &superblock, 64 << 10)
        .expect("another superblock");
    assert_eq!(direct.vfs_type("/dev/sda").expect("type"), "");
    let error = direct.blkid("/dev/sda").expect_err("two");
    assert!(error.to_string().starts_with("/dev/sda: "), "{error}");
    assert!(error.to_string().contains("several things"), "{error}");
}

#[test]
fn sizes_of_what_cannot_shrink_are_not_supported() {
    let mut direct = Direct::start(&[DiskSpec::Blank(8 << 20)]);
    let error = direct.vfs_minimum_size("/dev/sda").expect_err("nothing");
    assert_eq!(error.errno(), "ENOTSUP", "{error}");
}

#[test]
fn an_image_that_is_a_node_is_not_read() {
    let mut direct = Direct::mounted();
    direct.mkfifo(0o600, "/pipe").expect("mkfifo");
    // A pipe without a writer would wait for ever.
    let error = direct.isoinfo("/pipe").expect_err("a pipe");
    assert_eq!(error.errno(), "EINVAL", "{error}");
}

#[test]
fn the_label_of_btrfs_is_in_its_superblock() {
    const SUPERBLOCK: u64 = 64 << 10;
    const SIZE: u64 = 128 << 20;
    let mut direct = Direct::start(&[DiskSpec::Formatted("btrfs", SIZE)]);
    direct.set_label("/dev/sda", "a label").expect("set_label");
    let superblock = direct
        .pread_device("/dev/sda", 4096, SUPERBLOCK as i64)
        .expect("superblock");
    direct.zero_device("/dev/sda").expect("zero_device");
    direct
        .pwrite_device("/dev/sda", &superblock, SUPERBLOCK as i64)
        .expect("superblock");
    let label = direct.vfs_label("/dev/sda").expect("vfs_label");
    assert_eq!(label, b"a label");
}
