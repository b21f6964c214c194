//! Guests with more to send than fits into a socket, and one that is damaged where
//! that is found out late.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use conformance::{Direct, DiskSpec};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use protocol::api::{MkfsOptions, TarOutOptions};
use testkit::Numbers;

/// Names of a directory.
const NAMES: usize = 4000;

/// The size of an extent of data: a block, or some.
const BLOCK: usize = 4096;

/// Bytes that no program makes shorter.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    Numbers::new(88_172_645_463_325_252).noise(len)
}

/// A guest with a tree of many names, and data; as many names in `/names`; a small filesystem in
/// `/small`; NTFS on `/dev/sdb`, as much room on `/dev/sdc`, and nearly none on `/dev/sdd`.
pub(super) fn large() -> Direct {
    let disks = [
        DiskSpec::Formatted("ext4", 128 << 20),
        DiskSpec::Blank(256 << 20),
        DiskSpec::Blank(256 << 20),
        DiskSpec::Blank(1 << 20),
        DiskSpec::Formatted("ext4", 4 << 20),
    ];
    let mut direct = Direct::start(&disks);
    direct.mount("/dev/sda", "/").expect("mount");
    direct
        .mkfs("ntfs", "/dev/sdb", &MkfsOptions::default())
        .expect("mkfs");
    for directory in ["/tree", "/names", "/in", "/small"] {
        direct.mkdir(directory).expect("mkdir");
    }
    direct.mount("/dev/sde", "/small").expect("mount");
    direct.mkdir("/small/in").expect("mkdir");
    names(&direct.root().join("sysroot/names"), "-name");
    let tree = direct.root().join("sysroot/tree");
    names(&tree, "-long");
    data(&tree);
    direct.sync().expect("sync");
    direct
}

/// Makes a file with data.
fn data(directory: &Path) {
    let data = fs::File::create(directory.join("data")).expect("create");
    // Each block is an extent of its own, so that the extents fill blocks.
    for (number, block) in noise(8 << 20).chunks(BLOCK).enumerate() {
        let at = (2 * number * BLOCK) as u64;
        data.write_all_at(block, at).expect("write");
    }
}

/// Makes files whose names have the word in them, many times.
fn names(directory: &Path, word: &str) {
    let first = directory.join("first");
    fs::File::create(&first).expect("create");
    for number in 0..NAMES {
        let name = format!("{number:06}{}", word.repeat(40));
        fs::hard_link(&first, directory.join(name)).expect("link");
    }
}

/// Removes what a call has left in the small filesystem.
pub(super) fn empty_small(direct: &mut Direct) {
    direct.rm_rf("/small/new").expect("rm_rf");
    direct.rm_rf("/small/in").expect("rm_rf");
    direct.mkdir("/small/in").expect("mkdir");
}

/// What is sent to the actions that receive a file.
pub(super) struct Files {
    noise: Vec<u8>,
    base64: Vec<u8>,
    tar: Vec<u8>,
    gzip: Vec<u8>,
    xz: Vec<u8>,
    ntfs: Vec<u8>,
}

impl Files {
    pub(super) fn of(direct: &mut Direct) -> Self {
        let noise = noise(6 << 20);
        direct.mkdir("/packed").expect("mkdir");
        direct
            .upload(&mut noise.as_slice(), "/packed/noise")
            .expect("upload");
        let mut base64 = Vec::new();
        direct
            .base64_out("/packed/noise", &mut base64)
            .expect("base64_out");
        let mut packed = |compress| {
            let mut archive = Vec::new();
            let options = TarOutOptions {
                compress,
                ..TarOutOptions::default()
            };
            direct
                .tar_out("/packed", &mut archive, &options)
                .expect("tar_out");
            archive
        };
        let (tar, gzip, xz) = (packed(None), packed(Some("gzip")), packed(Some("xz")));
        let mut ntfs = Vec::new();
        direct
            .ntfsclone_out("/dev/sdb", &mut ntfs, &Default::default())
            .expect("ntfsclone_out");
        direct.rm_rf("/packed").expect("rm_rf");
        Self {
            noise,
            base64,
            tar,
            gzip,
            xz,
            ntfs,
        }
    }

    pub(super) fn for_action(&self, action: &str) -> &[u8] {
        match action {
            "base64_in" => &self.base64,
            "tar_in" => &self.tar,
            "tgz_in" => &self.gzip,
            "txz_in" => &self.xz,
            "ntfsclone_in" => &self.ntfs,
            _ => &self.noise,
        }
    }
}

/// The large guest, damaged in places that are not the first that are read: a block of the list of
/// where the data is, and one of the directory `/names`.
pub(super) fn damaged() -> Direct {
    let mut direct = large();
    direct
        .umount("/small", &Default::default())
        .expect("umount");
    let last_name = fs::read_dir(direct.root().join("sysroot/names"))
        .expect("names")
        .map(|entry| entry.expect("name").file_name().into_encoded_bytes())
        .last()
        .expect("a name");
    let tree = fs::read_dir(direct.root().join("sysroot/tree")).expect("tree");
    let before_data = tree
        .map(|entry| entry.expect("name").file_name())
        .take_while(|name| name != "data")
        .count();
    assert!(
        before_data > NAMES / 2,
        "the data comes after {before_data} names: another seed, or another name, is needed"
    );
    direct.umount("/", &Default::default()).expect("umount");
    direct.blockdev_flushbufs("/dev/sda").expect("flush");
    let image = fs::read(direct.disk(0)).expect("the image");
    // As the superblock says.
    let size = 1024 << word(&image, 1024 + 24);
    let blocks = || image.chunks(size).enumerate();
    // A leaf of extents begins with its magic, and has no level below.
    let is_leaf = |block: &[u8]| block.starts_with(&[0x0a, 0xf3]) && word(block, 6) & 0xffff == 0;
    let first_block = |block: &[u8]| word(block, 12);
    let last = blocks()
        .filter(|(_, block)| is_leaf(block))
        .map(|(_, block)| first_block(block))
        .max()
        .expect("a block of extents");
    let is_last_leaf = |block: &[u8]| is_leaf(block) && first_block(block) == last;
    let has_last_name = |block: &[u8]| entries(block).any(|name| name == last_name);
    assert!(blocks().any(|(_, block)| has_last_name(block)));
    // The kernel may still have some of the old daemon's disks in memory.
    let kept = tempfile::tempdir().expect("a directory");
    let images = [0, 1, 2].map(|index| {
        let copy = kept.path().join(index.to_string());
        fs::copy(direct.disk(index), &copy).expect("copy");
        copy
    });
    let file = OpenOptions::new().write(true).open(&images[0]);
    let file = file.expect("the image");
    // The journal has copies, also of what they were before.
    for (number, _) in blocks().filter(|(_, block)| is_last_leaf(block) || has_last_name(block)) {
        let at = (number * size + 100) as u64;
        file.write_all_at(&[0xa5; 64], at).expect("write");
    }
    drop((file, direct));
    let mut direct = Direct::start(&images.map(DiskSpec::Image));
    direct.mount("/dev/sda", "/").expect("mount");
    // The daemon's disks are open: their names are not needed.
    drop(kept);
    direct
}

/// Four bytes of a block; 0 beyond its end.
fn word(block: &[u8], at: usize) -> u32 {
    block
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

/// The names in a block, if it is one of a directory. What is left of names that were moved to
/// another block is not among them.
fn entries(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let name_at = at + 8;
        let lengths = word(block, at + 4);
        let name = name_at..name_at + (lengths >> 16 & 0xff) as usize;
        at += (lengths & 0xffff) as usize;
        (at >= name.end).then(|| block.get(name)).flatten()
    })
}

/// A guest with data in `/tree`, in an appliance whose `/var/tmp` is on a disk of its own.
pub(super) fn with_scratch(scratch: DiskSpec) -> Direct {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 64 << 20), scratch]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir("/tree").expect("mkdir");
    data(&direct.root().join("sysroot/tree"));
    direct
        .debug("sh", &["mount /dev/${sd}b /var/tmp"])
        .expect("mount");
    direct
}

/// Takes the disk away from `/var/tmp`.
pub(super) fn leave_scratch(direct: &mut Direct) {
    direct.debug("sh", &["umount -l /var/tmp"]).expect("umount");
}

/// The disk for `/var/tmp` of an appliance.
#[derive(Debug)]
pub(super) struct Scratch {
    daemon: u32,
    image: PathBuf,
}

impl Scratch {
    pub(super) fn of(direct: &Direct) -> Self {
        Self {
            daemon: direct.id(),
            image: direct.disk(1).to_owned(),
        }
    }

    /// Takes the disk's content away, and what the kernel still has in memory of the file that the
    /// daemon has there.
    pub(super) fn lose(&self) {
        let file = fs::read_dir(format!("/proc/{}/fd", self.daemon))
            .expect("descriptors")
            .map(|entry| entry.expect("descriptor").path())
            .find(|path| fs::read_link(path).is_ok_and(|name| name.starts_with("/var/tmp")))
            .expect("a file in /var/tmp");
        let file = fs::File::open(file).expect("open");
        file.sync_all().expect("sync");
        let image = OpenOptions::new().write(true).open(&self.image);
        image.and_then(|image| image.set_len(0)).expect("truncate");
        let forget = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        posix_fadvise(&file, 0, 0, forget).expect("fadvise");
    }
}
