//! Windows dynamic disks, as far as they can be read without device-mapper.

use std::path::{Path, PathBuf};

use conformance::support::ldm::{self, EXAMPLE_SECTORS, Group};
use conformance::{ClientError, Direct, DiskSpec};
use tempfile::TempDir;

const GROUP: &str = "03c0c4fc-8b6f-402a-8431-4be2e5823b1c";

/// The disks of a group, with a blank one before them.
fn start(group: &Group, disks: &[usize]) -> (TempDir, Direct) {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut specs = vec![DiskSpec::Blank(8 << 20)];
    for &index in disks {
        let path = image(directory.path(), index);
        group.write(index, EXAMPLE_SECTORS, &path);
        specs.push(DiskSpec::Image(path));
    }
    (directory, Direct::start(&specs))
}

fn image(directory: &Path, index: usize) -> PathBuf {
    directory.join(format!("ldm{index}"))
}

fn message<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    result.expect_err("should fail").to_string()
}

#[test]
fn the_database_is_read() {
    let (_directory, mut direct) = start(&ldm::example(), &[0, 1, 2]);
    assert_eq!(direct.ldmtool_scan().expect("scan"), [GROUP.as_bytes()]);
    let group = GROUP;
    let name = direct.ldmtool_diskgroup_name(group).expect("name");
    assert_eq!(name, b"Group1-Dg0");
    let volumes = direct.ldmtool_diskgroup_volumes(group).expect("volumes");
    let expected = ["Volume1", "Volume2", "Stripe1", "Mirror1", "Raid1"];
    assert_eq!(volumes, expected.map(str::as_bytes));
    let disks = direct.ldmtool_diskgroup_disks(group).expect("disks");
    assert_eq!(disks, ["Disk1", "Disk2", "Disk3"]);
    let facts = [
        ("Volume1", "simple", "E:", &["Disk1-Volume1-1"][..]),
        (
            "Volume2",
            "spanned",
            "",
            &["Disk1-Volume2-1", "Disk2-Volume2-2"],
        ),
        (
            "Stripe1",
            "striped",
            "F:",
            &["Disk1-Stripe1-1", "Disk2-Stripe1-2"],
        ),
        (
            "Mirror1",
            "mirrored",
            "G:",
            &["Disk1-Mirror1-1", "Disk2-Mirror1-2"],
        ),
        (
            "Raid1",
            "RAID5",
            "",
            &["Disk1-Raid1-1", "Disk2-Raid1-2", "Disk3-Raid1-3"],
        ),
    ];
    for (volume, kind, hint, partitions) in facts {
        let told = direct.ldmtool_volume_type(group, volume).expect("type");
        assert_eq!(told, kind.as_bytes(), "{volume}");
        let told = direct.ldmtool_volume_hint(group, volume).expect("hint");
        assert_eq!(told, hint.as_bytes(), "{volume}");
        let told = direct.ldmtool_volume_partitions(group, volume);
        assert_eq!(told.expect("partitions"), partitions, "{volume}");
    }
}

#[test]
fn only_the_named_devices_are_scanned() {
    let (_directory, mut direct) = start(&ldm::example(), &[0]);
    let scan = |direct: &mut Direct, devices: &[&str]| direct.ldmtool_scan_devices(devices);
    assert!(scan(&mut direct, &["/dev/sda"]).expect("blank").is_empty());
    let found = scan(&mut direct, &["/dev/sda", "/dev/sdb"]).expect("both");
    assert_eq!(found, [GROUP.as_bytes()]);
    assert_eq!(scan(&mut direct, &[]).expect("all"), [GROUP.as_bytes()]);
}

#[test]
fn what_is_not_there_is_named() {
    let (_directory, mut direct) = start(&ldm::example(), &[0]);
    let none = "99999999-8b6f-402a-8431-4be2e5823b1c";
    let told = message(direct.ldmtool_diskgroup_name(none));
    assert!(told.contains(none), "{told}");
    let told = message(direct.ldmtool_volume_type(GROUP, "Volume9"));
    assert!(
        told.contains("Volume9") && told.contains("no such"),
        "{told}"
    );
    // Nothing that looks like an option is one.
    for name in ["--help", "-d", "--", ""] {
        let told = message(direct.ldmtool_diskgroup_name(name));
        assert!(told.contains(&format!("ldmtool: {name}")), "{told}");
        let told = message(direct.ldmtool_volume_hint(GROUP, name));
        assert!(told.contains(GROUP), "{told}");
    }
    assert_eq!(direct.ldmtool_scan().expect("scan"), [GROUP.as_bytes()]);
}

#[test]
fn a_missing_disk_leaves_the_rest_to_be_read() {
    let (_directory, mut direct) = start(&ldm::example(), &[0]);
    let disks = direct.ldmtool_diskgroup_disks(GROUP).expect("disks");
    assert_eq!(disks, ["Disk1", "Disk2", "Disk3"]);
    let kind = direct.ldmtool_volume_type(GROUP, "Volume2").expect("type");
    assert_eq!(kind, b"spanned");
}

#[test]
fn a_corrupt_database_is_an_error_or_an_answer() {
    let (_directory, mut direct) = start(&ldm::example(), &[0]);
    let database = EXAMPLE_SECTORS - ldm::DATABASE;
    let damage: [(u64, &[u8]); 7] = [
        (ldm::PRIVATE_HEADER * 512, b"XXXX"),
        // A configuration outside of the disk, and one of a size that none has.
        (ldm::PRIVATE_HEADER * 512 + 0x12b, &[0x7f; 8]),
        (ldm::PRIVATE_HEADER * 512 + 0x133, &[0xff; 8]),
        ((database + ldm::CONTENTS[1]) * 512 + 0x2e, &[0x00, 0xff]),
        ((database + ldm::HEADER) * 512 + 0x85, &[0xff; 4]),
        ((database + ldm::HEADER + 1) * 512 + 24, &[0xff; 64]),
        ((database + ldm::HEADER) * 512 + 0x0c, &[0xff; 4]),
    ];
    for (at, bytes) in damage {
        let place = i64::try_from(at).expect("small");
        let length = i32::try_from(bytes.len()).expect("short");
        let before = direct.pread_device("/dev/sdb", length, place);
        let before = before.expect("what was there");
        let put = |direct: &mut Direct, bytes: &[u8]| {
            let written = direct.pwrite_device("/dev/sdb", bytes, place);
            assert_eq!(written.expect("written"), length);
        };
        put(&mut direct, bytes);
        if let Ok(found) = direct.ldmtool_scan() {
            assert!(found.is_empty(), "{at:#x}: {found:?}");
        }
        let told = message(direct.ldmtool_diskgroup_volumes(GROUP));
        assert!(told.contains(GROUP), "{at:#x}: {told}");
        put(&mut direct, &before);
        assert_eq!(direct.ldmtool_scan().expect("scan"), [GROUP.as_bytes()]);
    }
}

/// The scripts put these pieces of two disks of the example onto disks of their
/// own: what a reader of the database needs, without the copies.
#[test]
fn the_fixtures_are_of_the_example() {
    let directory = tempfile::tempdir().expect("tempdir");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ldm");
    let database = (EXAMPLE_SECTORS - ldm::DATABASE) * ldm::SECTOR;
    let header = (ldm::PRIVATE_HEADER + 1) * ldm::SECTOR;
    for (index, name) in [(0, "first"), (1, "second")] {
        let path = image(directory.path(), index);
        ldm::example().write(index, EXAMPLE_SECTORS, &path);
        let bytes = std::fs::read(&path).expect("image");
        let at = |place: u64| usize::try_from(place).expect("small");
        let pieces = [
            (name, &bytes[..at(header)]),
            ("database", &bytes[at(database)..at(database + (16 << 10))]),
        ];
        for (name, piece) in pieces {
            let path = fixtures.join(name);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::create_dir_all(&fixtures).expect("directory");
                std::fs::write(&path, piece).expect("fixture");
            }
            let fixture = std::fs::read(&path).expect("fixture");
            assert!(fixture == piece, "{name}: run with UPDATE=1");
        }
    }
}
