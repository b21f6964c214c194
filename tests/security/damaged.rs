//! Damaged tables, headers and superblocks: whatever is asked about them has an
//! answer, or an error that names the device; and other disks are as they were.
//!
//! The damage is the same in each run.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use conformance::support::images::{self, Kind};
use conformance::{ClientError, Direct, DiskSpec};
use testkit::Numbers;

/// Disks that are damaged at the same time.
const DISKS: usize = 16;
/// How often each of them is.
const ROUNDS: u64 = 13;
/// A disk on which all is well.
const SOUND: &str = "/dev/sda";

/// A question about a device.
type Question = (&'static str, fn(&mut Direct, &str) -> Answer);
/// Only what went wrong is of interest.
type Answer = Result<(), ClientError>;

/// For every kind of image.
const COMMON: &[Question] = &[
    ("vfs_type", |d, x| said(d.vfs_type(x))),
    ("part_list", |d, x| said(d.part_list(x))),
];

/// For those with partitions.
const TABLES: &[Question] = &[
    ("part_get_parttype", |d, x| said(d.part_get_parttype(x))),
    ("part_get_bootable", |d, x| said(d.part_get_bootable(x, 1))),
    ("part_get_mbr_id", |d, x| said(d.part_get_mbr_id(x, 1))),
    ("part_get_mbr_part_type", |d, x| {
        said(d.part_get_mbr_part_type(x, 1))
    }),
    ("part_get_gpt_type", |d, x| said(d.part_get_gpt_type(x, 1))),
    ("part_get_gpt_guid", |d, x| said(d.part_get_gpt_guid(x, 2))),
    ("part_get_gpt_attributes", |d, x| {
        said(d.part_get_gpt_attributes(x, 2))
    }),
    ("part_get_disk_guid", |d, x| said(d.part_get_disk_guid(x))),
    ("part_get_name", |d, x| said(d.part_get_name(x, 1))),
];

/// For those with a filesystem.
const FILESYSTEMS: &[Question] = &[
    ("vfs_label", |d, x| said(d.vfs_label(x))),
    ("vfs_uuid", |d, x| said(d.vfs_uuid(x))),
];

fn said<T: Debug>(result: Result<T, ClientError>) -> Answer {
    match result {
        Err(ClientError::Io(error)) => panic!("the daemon hangs, or has ended: {error}"),
        Err(ClientError::Protocol(problem)) => panic!("the daemon lost step: {problem}"),
        result => result.map(drop),
    }
}

/// Damages images of a kind, and asks these questions about them besides the
/// common ones; `all` are about no single device, and asked once in a while.
fn damage(kind: &Kind, questions: &[Question], all: fn(&mut Direct)) {
    let directory = tempfile::tempdir().expect("tempdir");
    let image = directory.path().join("image");
    kind.write(&image);
    let mut unnamed = Unnamed::default();
    let questions = &[COMMON, questions].concat();
    truncated(kind, &image, questions, &mut unnamed);

    let mut specs = vec![DiskSpec::Formatted("ext4", 8 << 20)];
    for index in 0..DISKS {
        let copy = directory.path().join(format!("copy{index}"));
        std::fs::copy(&image, &copy).expect("copy");
        specs.push(DiskSpec::Image(copy));
    }
    let mut direct = Direct::start(&specs);
    let traces = Traces::of(&direct);
    let sound = File::open(&image).expect("image");
    let mut numbers = Numbers::new(0x9e37_79b9_7f4a_7c15);
    for round in 0..ROUNDS {
        let mut places = Vec::new();
        for index in 0..DISKS {
            let (place, bytes) = mutation(kind, &mut numbers);
            put(&mut direct, index + 1, place, &bytes);
            places.push((index + 1, place, bytes));
        }
        // One question about each, since most of them run a program; each gets its turn.
        for (index, _, _) in &places {
            let turn = (index + usize::try_from(round).expect("few") * 5) % questions.len();
            unnamed.ask(&mut direct, &device(*index), &questions[turn]);
        }
        everything(&mut direct);
        all(&mut direct);
        for (index, place, bytes) in places {
            let mut before = vec![0; bytes.len()];
            sound.read_exact_at(&mut before, place).expect("image");
            put(&mut direct, index, place, &before);
        }
    }
    assert_eq!(traces, Traces::of(&direct), "{}", kind.name);
    // What was put back is read again.
    for (name, question) in questions {
        let fresh = question(&mut direct, "/dev/sdb").map_err(|error| error.to_string());
        let other = question(&mut direct, "/dev/sdq").map_err(|error| error.to_string());
        let other = other.map_err(|error| error.replace("/dev/sdq", "/dev/sdb"));
        assert_eq!(fresh, other, "{}: {name}", kind.name);
    }
    let Unnamed(unnamed) = unnamed;
    assert!(unnamed.is_empty(), "{}: {unnamed:#?}", kind.name);
}

/// Errors that do not say which device they are about.
#[derive(Debug, Default)]
struct Unnamed(BTreeSet<String>);

impl Unnamed {
    fn ask(&mut self, direct: &mut Direct, device: &str, (name, question): &Question) {
        if let Err(error) = question(direct, device) {
            let error = error.to_string();
            if !error.contains(device) {
                self.0.insert(format!("{name}: {error}"));
            }
        }
    }
}

/// Images that end too early.
fn truncated(kind: &Kind, image: &Path, questions: &[Question], unnamed: &mut Unnamed) {
    let directory = tempfile::tempdir().expect("tempdir");
    let mut specs = vec![DiskSpec::Formatted("ext4", 8 << 20)];
    let mut lengths = vec![512, 1024, 2048, 4096, 16384];
    for part in kind.metadata {
        lengths.extend([
            part.start.next_multiple_of(512),
            part.end.div_ceil(1024) * 512,
        ]);
    }
    lengths.extend([kind.size / 2, kind.size - (1 << 20), kind.size - 512]);
    lengths.retain(|&length| 0 < length && length < kind.size);
    lengths.sort_unstable();
    lengths.dedup();
    for &length in &lengths {
        let copy = directory.path().join(format!("{length}"));
        std::fs::copy(image, &copy).expect("copy");
        let file = File::options().write(true).open(&copy);
        file.and_then(|file| file.set_len(length)).expect("length");
        specs.push(DiskSpec::Image(copy));
    }
    let mut direct = Direct::start(&specs);
    for index in 0..lengths.len() {
        let device = device(index + 1);
        // Which question matters less than that there are all lengths.
        for turn in [index, index + questions.len() / 2] {
            unnamed.ask(&mut direct, &device, &questions[turn % questions.len()]);
        }
    }
    everything(&mut direct);
}

/// What is asked about all devices at once, and about the sound disk.
fn everything(direct: &mut Direct) {
    let _ = said(direct.list_partitions());
    let found = direct.list_filesystems().expect("list_filesystems");
    let sound = found.iter().find(|(device, _)| device == SOUND);
    assert!(sound.is_some_and(|(_, kind)| kind == b"ext4"), "{found:?}");
    assert_eq!(direct.vfs_type(SOUND).expect("the sound disk"), "ext4");
}

fn device(index: usize) -> String {
    let letter = u8::try_from(index).expect("few") + b'a';
    format!("/dev/sd{}", char::from(letter))
}

/// Writes to the image behind a disk, which is quicker than through the daemon.
fn put(direct: &mut Direct, index: usize, place: u64, bytes: &[u8]) {
    let image = File::options().write(true).open(direct.disk(index));
    image
        .and_then(|image| image.write_all_at(bytes, place))
        .expect("image");
    // What is cached of the disk goes.
    direct.blockdev_flushbufs(&device(index)).expect("flush");
}

/// Some bytes within the metadata, and where.
fn mutation(kind: &Kind, numbers: &mut Numbers) -> (u64, Vec<u8>) {
    let part = &kind.metadata[numbers.index(kind.metadata.len())];
    let place = part.start + numbers.below(part.end - part.start);
    let room = usize::try_from(part.end - place).expect("small");
    let mut bytes = match numbers.below(5) {
        0 => vec![0; 1 + numbers.index(64)],
        1 => vec![0xff; 1 + numbers.index(8)],
        2 => vec![0xff, 0xff, 0xff, 0x7f],
        3 => vec![0, 0, 0, 0x80],
        _ => (0..=numbers.below(4))
            .map(|_| numbers.below(256).to_le_bytes()[0])
            .collect(),
    };
    bytes.truncate(room);
    (place, bytes)
}

/// What a failed call must not leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    programs: Vec<PathBuf>,
    mounts: String,
    temporary: Vec<String>,
    loops: usize,
}

impl Traces {
    fn of(direct: &Direct) -> Self {
        let root = direct.root();
        let process = root.parent().expect("below /proc");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let names = |path: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        };
        let loops = names(Path::new("/sys/block")).into_iter().filter(|name| {
            let backing = text(&Path::new("/sys/block").join(name).join("loop/backing_file"));
            backing.starts_with(&*direct.directory().to_string_lossy())
        });
        let program = |process: &Path| std::fs::read_link(process.join("exe")).ok();
        let daemon = program(process);
        let programs = direct.children().into_iter().filter_map(|id| {
            // Workers last from call to call; they are the daemon's own program.
            let program = program(&Path::new("/proc").join(id.to_string()))?;
            (Some(&program) != daemon.as_ref()).then_some(program)
        });
        let programs = programs.collect();
        Self {
            programs,
            mounts: text(&process.join("mounts")),
            temporary: names(&root.join("tmp")),
            loops: loops.count(),
        }
    }
}

/// A test for each kind.
macro_rules! kinds {
    ($($name:ident: $kind:ident, $questions:expr, $all:expr;)*) => {
        $(#[test]
        fn $name() {
            let questions: &[&[Question]] = &$questions;
            damage(&images::$kind, &questions.concat(), $all);
        })*
    };
}

kinds! {
    mbr: MBR, [TABLES], |_| ();
    logical_partitions: LOGICAL, [TABLES], |_| ();
    gpt: GPT, [TABLES], |_| ();
    lvm: LVM, [&[]], |d| {
        let _ = said(d.pvs());
        let _ = said(d.vgs());
        let _ = said(d.lvs_full());
    };
    md: MD, [&[]], |d| drop(said(d.list_md_devices()));
    luks1: LUKS1, [FILESYSTEMS], |_| ();
    luks2: LUKS2, [FILESYSTEMS], |_| ();
    dynamic: LDM, [TABLES], |d| {
        let _ = said(d.ldmtool_diskgroup_volumes("03c0c4fc-8b6f-402a-8431-4be2e5823b1c"));
    };
    ext4: EXT4, [FILESYSTEMS, &[
        ("tune2fs_l", |d, x| said(d.tune2fs_l(x))),
        ("vfs_minimum_size", |d, x| said(d.vfs_minimum_size(x))),
    ]], |_| ();
    xfs: XFS, [FILESYSTEMS, &[("xfs_info", |d, x| said(d.xfs_info(x)))]], |_| ();
    btrfs: BTRFS, [FILESYSTEMS, &[
        ("btrfs_filesystem_show", |d, x| said(d.btrfs_filesystem_show(x))),
    ]], |_| ();
    ntfs: NTFS, [FILESYSTEMS, &[
        ("vfs_minimum_size", |d, x| said(d.vfs_minimum_size(x))),
    ]], |_| ();
    vfat: VFAT, [FILESYSTEMS], |_| ();
    exfat: EXFAT, [FILESYSTEMS], |_| ();
    f2fs: F2FS, [FILESYSTEMS], |_| ();
    swap: SWAP, [FILESYSTEMS], |d| {
        let _ = said(d.findfs_label("label"));
        let _ = said(d.findfs_uuid("11111111-2222-4333-8444-555555555555"));
    };
    iso9660: ISO, [FILESYSTEMS, &[
        ("isoinfo_device", |d, x| said(d.isoinfo_device(x))),
    ]], |_| ();
    squashfs: SQUASHFS, [FILESYSTEMS], |_| ();
}
