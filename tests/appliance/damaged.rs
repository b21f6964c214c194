//! Damaged disks in a real machine, where they can be mounted: a kernel that one of
//! them brings down is the machine's.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use conformance::support::boot;
use conformance::support::images::{self, Kind};
use serde_json::json;

/// An ext2 filesystem.
const EXT2: Kind = Kind {
    name: "ext2",
    size: images::EXT4.size,
    make: |path| {
        let made = Command::new("/usr/sbin/mke2fs")
            .args(["-q", "-F", "-t", "ext2", "-b", "1024"])
            .arg(path)
            .status();
        assert!(made.expect("mke2fs").success());
    },
    metadata: images::EXT4.metadata,
};

/// Prepares images for a script, tells it where damaging them matters, and runs it.
fn damage(kinds: &[(&str, Kind)], script: &str) {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut prepared = Vec::new();
    for (name, kind) in kinds {
        kind.write(&directory.path().join(name).with_extension("img"));
        let metadata: Vec<[u64; 2]> = kind.metadata.iter().map(|r| [r.start, r.end]).collect();
        prepared.push(json!({ "name": name, "metadata": metadata }));
    }
    let list = File::create(directory.path().join("images.json")).expect("images.json");
    serde_json::to_writer(list, &prepared).expect("images.json");
    boot::python(Path::new(directory.path()), script);
}

#[test]
fn damaged_filesystems_are_read_or_refused() {
    damage(
        &[
            ("ext2", EXT2),
            ("ext4", images::EXT4),
            ("xfs", images::XFS),
            ("btrfs", images::BTRFS),
            ("ntfs", images::NTFS),
            ("vfat", images::VFAT),
            ("exfat", images::EXFAT),
            ("f2fs", images::F2FS),
            ("swap", images::SWAP),
            ("iso9660", images::ISO),
            ("squashfs", images::SQUASHFS),
        ],
        "damaged_filesystems.py",
    );
}

#[test]
fn damaged_tables_and_volumes_are_read_or_refused() {
    damage(
        &[
            ("mbr", images::MBR),
            ("logical", images::LOGICAL),
            ("gpt", images::GPT),
            ("dynamic", images::LDM),
            ("lvm", images::LVM),
            ("luks1", images::LUKS1),
            ("luks2", images::LUKS2),
        ],
        "damaged_volumes.py",
    );
}
