//! Guests with more to send than fits into a socket, and one that is damaged where
//! that is found out late.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use conformance::{Direct, DiskSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::api::{MkfsOptions, TarOutOptions};

/// Names of a directory.
const NAMES: usize = 4000;

/// The size of a block of the filesystems here.
const BLOCK: usize = 4096;

/// Bytes that no program makes shorter.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A guest with a tree of many names, and data; a small filesystem in `/small`;
/// NTFS on `/dev/sdb`, as much room on `/dev/sdc`, and nearly none on `/dev/sdd`.
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
    for directory in ["/tree", "/in", "/small"] {
        direct.mkdir(directory).expect("mkdir");
    }
    direct.mount("/dev/sde", "/small").expect("mount");
    direct.mkdir("/small/in").expect("mkdir");
    let tree = direct.root().join("sysroot/tree");
    names(&tree, "-long");
    // Each block is an extent of its own, so that the extents fill blocks.
    let data = fs::File::create(tree.join("data")).expect("create");
    for (number, block) in noise(8 << 20).chunks(BLOCK).enumerate() {
        let at = (2 * number * BLOCK) as u64;
        data.write_all_at(block, at).expect("write");
    }
    drop(data);
    direct.sync().expect("sync");
    direct
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

/// The large guest, with damage to a block of the list of where the data is, which is
/// not the first that is read.
pub(super) fn damaged() -> Direct {
    let mut direct = large();
    direct
        .umount("/small", &Default::default())
        .expect("umount");
    direct.umount("/", &Default::default()).expect("umount");
    direct.blockdev_flushbufs("/dev/sda").expect("flush");
    let image = fs::read(direct.disk(0)).expect("the image");
    let blocks = || image.chunks(BLOCK).enumerate();
    // A leaf of extents begins with its magic, and has no level below.
    let word = |block: &[u8], at: usize| {
        block
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    };
    let is_leaf = |block: &[u8]| block.starts_with(&[0x0a, 0xf3]) && word(block, 6) & 0xffff == 0;
    let first_block = |block: &[u8]| word(block, 12);
    let last = blocks()
        .filter(|(_, block)| is_leaf(block))
        .map(|(_, block)| first_block(block))
        .max()
        .expect("a block of extents");
    let is_last_leaf = |block: &[u8]| is_leaf(block) && first_block(block) == last;
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
    for (number, _) in blocks().filter(|(_, block)| is_last_leaf(block)) {
        let at = (number * BLOCK + 100) as u64;
        file.write_all_at(&[0xa5; 64], at).expect("write");
    }
    drop((file, direct));
    let mut direct = Direct::start(&images.map(DiskSpec::Image));
    direct.mount("/dev/sda", "/").expect("mount");
    // The daemon's disks are open: their names are not needed.
    drop(kept);
    direct
}

/// Kills the programs that the process has started.
pub(super) fn kill_below(process: u32) {
    let list = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(list).unwrap_or_default();
    for child in children.split_whitespace() {
        if let Ok(id) = child.parse() {
            // It may have ended by now.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
