//! Large directories whose index is damaged: two readers must find at least what one does.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use conformance::{Direct, DiskSpec};

const NAMES: usize = 4000;

/// Where a superblock of ext has the seed of its hashes.
const SEED: i64 = 1024 + 236;

/// Where a block of the index, in the lower of two levels, has the number of entries that fit.
const LIMIT: u64 = 8;

/// A guest that is not mounted, with a directory `/many`. Its blocks have no checksums.
fn many() -> Direct {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext3", 64 << 20)]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir("/many").expect("mkdir");
    let directory = direct.root().join("sysroot/many");
    let first = directory.join("first");
    fs::File::create(&first).expect("create");
    for number in 1..NAMES {
        let name = format!("{number:06}{}", "-long".repeat(35));
        fs::hard_link(&first, directory.join(name)).expect("link");
    }
    direct.umount_all().expect("umount_all");
    direct
}

/// What one reader finds.
fn by_one(direct: &Direct) -> Vec<String> {
    let directory = direct.root().join("sysroot/many");
    let entries = fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.into_string().expect("a name"))
        .collect()
}

/// What the daemon finds, unless it says that it is not all.
fn by_daemon(direct: &mut Direct) -> Option<Vec<String>> {
    let mut list = Vec::new();
    direct.ls0("/many", &mut list).ok()?;
    let list = String::from_utf8(list).expect("names");
    Some(list.split_terminator('\0').map(str::to_owned).collect())
}

#[test]
fn names_that_are_not_where_the_index_has_them_are_listed() {
    let mut direct = many();
    // Every name has another hash than the one by which it was put in.
    direct
        .pwrite_device("/dev/sda", &[7; 16], SEED)
        .expect("a seed");
    direct.mount("/dev/sda", "/").expect("mount");
    let found = by_one(&direct);
    assert!((NAMES / 8..NAMES).contains(&found.len()), "{}", found.len());
    assert_eq!(by_daemon(&mut direct), Some(found));
}

/// What debugfs says of the filesystem.
fn debugfs(disk: &Path, command: &str) -> String {
    let output = Command::new("/usr/sbin/debugfs")
        .args(["-R", command])
        .arg(disk)
        .output()
        .expect("debugfs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The blocks of the lower level of the index of `/many`, as offsets on the disk.
fn index(disk: &Path) -> Vec<u64> {
    let tree = debugfs(disk, "htree /many");
    let root = tree.lines().skip_while(|line| !line.starts_with("Entry"));
    let blocks = root.take_while(|line| line.starts_with("Entry"));
    blocks
        .map(|line| {
            let (_, block) = line.rsplit_once(' ').expect("a block");
            let place = debugfs(disk, &format!("bmap /many {block}"));
            place.trim().parse::<u64>().expect("a block") * 1024
        })
        .collect()
}

#[test]
fn names_behind_damage_in_the_index_are_not_left_out_in_silence() {
    let mut direct = many();
    let index = index(direct.disk(0));
    assert!(index.len() > 2, "{index:?}");
    for damaged in index {
        let place = (damaged + LIMIT) as i64;
        let good = direct.pread_device("/dev/sda", 2, place).expect("a limit");
        direct
            .pwrite_device("/dev/sda", &[1, 0], place)
            .expect("damage");
        direct.mount_ro("/dev/sda", "/").expect("mount");
        let least = by_one(&direct);
        direct.umount_all().expect("umount_all");
        direct.mount_ro("/dev/sda", "/").expect("mount");
        if let Some(found) = by_daemon(&mut direct) {
            let found: HashSet<String> = found.into_iter().collect();
            assert!(least.iter().all(|name| found.contains(name)));
        }
        // The kernel has given up the index.
        assert_eq!(by_daemon(&mut direct).expect("all").len(), NAMES);
        direct.umount_all().expect("umount_all");
        direct
            .pwrite_device("/dev/sda", &good, place)
            .expect("repair");
    }
}
