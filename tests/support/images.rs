//! Small disk images of every kind that the daemon looks into.
#![allow(
    clippy::single_range_in_vec_init,
    reason = "some kinds have their metadata in one place"
)]

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::ldm;

const MIB: u64 = 1 << 20;
const KIB: u64 = 1 << 10;

/// A kind of image.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name, for messages.
    pub name: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// Makes an image of it in a blank file of this size.
    pub make: fn(&Path),
    /// Where its tables, superblocks and headers are.
    pub metadata: &'static [Range<u64>],
}

impl Kind {
    /// Makes an image.
    ///
    /// # Panics
    ///
    /// When a tool is missing, or fails.
    pub fn write(&self, path: &Path) {
        File::create(path)
            .and_then(|file| file.set_len(self.size))
            .expect("image");
        (self.make)(path);
    }
}

/// An MBR with primary partitions.
pub const MBR: Kind = Kind {
    name: "MBR",
    size: 8 * MIB,
    make: |path| {
        let table = "label: dos\nstart=64, size=2048, type=83, bootable\nsize=2048, type=7\n";
        feed("sfdisk", &["-q"], path, table);
    },
    metadata: &[440..512],
};

/// An MBR with logical partitions.
pub const LOGICAL: Kind = Kind {
    name: "MBR with logical partitions",
    size: 8 * MIB,
    make: |path| {
        let table = "label: dos\nstart=64, size=960, type=83\nstart=1024, type=5\n\
                     start=1088, size=960, type=83\nstart=2112, size=960, type=82\n\
                     start=3136, size=960, type=83\n";
        feed("sfdisk", &["-q"], path, table);
    },
    // The first sector, and those before the logical partitions.
    metadata: &[
        446..512,
        1024 * 512 + 446..1024 * 512 + 512,
        2048 * 512 + 446..2048 * 512 + 512,
        3072 * 512 + 446..3072 * 512 + 512,
    ],
};

/// A GPT.
pub const GPT: Kind = Kind {
    name: "GPT",
    size: 8 * MIB,
    make: |path| {
        let table = "label: gpt\nstart=2048, size=2048, name=first\nsize=2048, name=second\n";
        feed("sfdisk", &["-q"], path, table);
    },
    metadata: &[
        446..512,
        512..604,
        1024..1280,
        8 * MIB - 33 * 512..8 * MIB - 32 * 512,
        8 * MIB - 512..8 * MIB - 420,
    ],
};

/// A physical volume with a volume group. Its name and UUIDs are always the same.
pub const LVM: Kind = Kind {
    name: "LVM physical volume",
    size: 8 * MIB,
    make: physical_volume,
    metadata: &[512..664, 4096..4136, 4608..5500],
};

/// A member of a RAID 1 array.
pub const MD: Kind = Kind {
    name: "MD member",
    size: 8 * MIB,
    make: raid_member,
    metadata: &[4096..4096 + 260],
};

/// A LUKS 1 header.
pub const LUKS1: Kind = Kind {
    name: "LUKS 1",
    size: 8 * MIB,
    make: |path| {
        luks(
            path,
            &["--type", "luks1", "--pbkdf-force-iterations", "1000"],
        )
    },
    metadata: &[0..592],
};

/// A LUKS 2 header.
pub const LUKS2: Kind = Kind {
    name: "LUKS 2",
    size: 20 * MIB,
    make: |path| {
        let cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
        luks(path, &[&["--type", "luks2"], &cheap[..]].concat());
    },
    metadata: &[0..512, 4096..5400, 16384..16896],
};

/// A Windows dynamic disk.
pub const LDM: Kind = Kind {
    name: "dynamic disk",
    size: ldm::EXAMPLE_SECTORS * ldm::SECTOR,
    make: |path| ldm::example().write(0, ldm::EXAMPLE_SECTORS, path),
    metadata: &[
        446..512,
        3072..3440,
        LDM_DATABASE + 1024..LDM_DATABASE + 1120,
        LDM_DATABASE + 17 * 512..LDM_DATABASE + 17 * 512 + 197,
        LDM_DATABASE + 18 * 512..LDM_DATABASE + 25 * 512,
    ],
};
const LDM_DATABASE: u64 = (ldm::EXAMPLE_SECTORS - ldm::DATABASE) * ldm::SECTOR;

/// An ext4 filesystem.
pub const EXT4: Kind = Kind {
    name: "ext4",
    size: 8 * MIB,
    make: |path| run("mke2fs", &["-q", "-F", "-t", "ext4", "-b", "1024"], path),
    metadata: &[1024..2048, 2048..2112],
};

/// An XFS filesystem.
pub const XFS: Kind = Kind {
    name: "xfs",
    size: 300 * MIB,
    make: |path| run("mkfs.xfs", &["-q", "-f", "-L", "label"], path),
    metadata: &[0..272, 512..704],
};

/// A btrfs filesystem.
pub const BTRFS: Kind = Kind {
    name: "btrfs",
    size: 120 * MIB,
    make: |path| run("mkfs.btrfs", &["-q", "-f", "-L", "label"], path),
    metadata: &[64 * KIB..64 * KIB + 0x400],
};

/// An NTFS filesystem.
pub const NTFS: Kind = Kind {
    name: "ntfs",
    size: 8 * MIB,
    make: |path| {
        run(
            "mkntfs",
            &["-q", "-F", "-f", "-s", "512", "-L", "label"],
            path,
        )
    },
    metadata: &[0..96, 16384..16384 + 4096],
};

/// A FAT filesystem.
pub const VFAT: Kind = Kind {
    name: "vfat",
    size: 8 * MIB,
    make: |path| run("mkfs.vfat", &["-n", "LABEL"], path),
    metadata: &[0..90, 510..512, 2048..2080],
};

/// An exFAT filesystem.
pub const EXFAT: Kind = Kind {
    name: "exfat",
    size: 8 * MIB,
    make: |path| run("mkfs.exfat", &[], path),
    metadata: &[0..120, 510..512],
};

/// An F2FS filesystem.
pub const F2FS: Kind = Kind {
    name: "f2fs",
    size: 64 * MIB,
    make: |path| run("mkfs.f2fs", &["-q", "-f", "-l", "label"], path),
    metadata: &[1024..2400, 5120..5300],
};

/// Swap space.
pub const SWAP: Kind = Kind {
    name: "swap",
    size: 8 * MIB,
    make: |path| run("mkswap", &["-q", "-L", "label"], path),
    metadata: &[1024..1100, 4086..4096],
};

/// An ISO 9660 image.
pub const ISO: Kind = Kind {
    name: "iso9660",
    size: 2 * MIB,
    make: volume_descriptors,
    metadata: &[32768..32768 + 883, 34816..34824],
};

/// A squashfs filesystem.
pub const SQUASHFS: Kind = Kind {
    name: "squashfs",
    size: MIB,
    make: |path| {
        let tree = tempfile::tempdir().expect("tempdir");
        std::fs::write(tree.path().join("file"), "contents").expect("file");
        let (tree, path) = (tree.path().as_os_str(), path.as_os_str());
        let mut command = tool("mksquashfs");
        command.arg(tree).arg(path).args(["-noappend", "-quiet"]);
        finish(command.arg("-no-progress"));
    },
    metadata: &[0..96],
};

/// All of them.
pub const KINDS: [Kind; 18] = [
    MBR, LOGICAL, GPT, LVM, MD, LUKS1, LUKS2, LDM, EXT4, XFS, BTRFS, NTFS, VFAT, EXFAT, F2FS, SWAP,
    ISO, SQUASHFS,
];

/// A tool by its name; not every PATH has the system's directories.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn run(name: &str, args: &[&str], path: &Path) {
    finish(tool(name).args(args).arg(path));
}

fn finish(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("a tool");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// The same for a tool that reads something.
fn feed(name: &str, args: &[&str], path: &Path, input: &str) {
    let mut command = tool(name);
    command.args(args).arg(path);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("a tool");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(input.as_bytes()).expect("input");
    drop(stdin);
    assert!(child.wait().expect("wait").success(), "{command:?}");
}

fn luks(path: &Path, args: &[&str]) {
    let mut command = vec!["luksFormat", "-q", "--key-file", "-"];
    command.extend(args);
    feed("cryptsetup", &command, path, "a key");
}

fn write(path: &Path, place: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("image");
    file.write_all_at(bytes, place).expect("image");
}

/// The label of a physical volume in sector 1, the head of its metadata area at
/// 4096, and behind that the text; LVM's own checksum is over each.
fn physical_volume(path: &Path) {
    const ID: &[u8] = b"JVIAbOCI5gu0IGVHH9s4ZNIQXBeCbEN6";
    const DATA: u64 = 1 << 20;
    let text = "example {\nid = \"cmNHju-WZk3-g4DX-SeZ2-9UtF-3DoF-6wCxoS\"\nseqno = 1\n\
        format = \"lvm2\"\nstatus = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\n\
        extent_size = 2048\nmax_lv = 0\nmax_pv = 0\nmetadata_copies = 0\n\n\
        physical_volumes {\n\npv0 {\nid = \"JVIAbO-CI5g-u0IG-VHH9-s4ZN-IQXB-eCbEN6\"\n\
        device = \"/dev/sda\"\n\nstatus = [\"ALLOCATABLE\"]\nflags = []\ndev_size = 16384\n\
        pe_start = 2048\npe_count = 7\n}\n}\n\n\
        logical_volumes {\n\nlv {\nid = \"aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg\"\n\
        status = [\"READ\", \"WRITE\", \"VISIBLE\"]\nflags = []\nsegment_count = 1\n\n\
        segment1 {\nstart_extent = 0\nextent_count = 2\n\ntype = \"striped\"\n\
        stripe_count = 1\n\nstripes = [\n\"pv0\", 0\n]\n}\n}\n}\n\n}\n\
        # Generated by LVM2\n\ncontents = \"Text Format Volume Group\"\nversion = 1\n\n\
        description = \"\"\n\ncreation_host = \"host\"\ncreation_time = 1700000000\n\n\0";
    let mut label = vec![0; 512];
    let numbers = |place: usize, numbers: &[u64], into: &mut Vec<u8>| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        into[place..place + bytes.len()].copy_from_slice(&bytes);
    };
    label[..8].copy_from_slice(b"LABELONE");
    numbers(8, &[1], &mut label);
    label[20..24].copy_from_slice(&32_u32.to_le_bytes());
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].copy_from_slice(ID);
    // The size, one data area, one metadata area; each list ends with zeroes.
    let areas = [8 * MIB, DATA, 0, 0, 0, 4096, DATA - 4096, 0, 0];
    numbers(64, &areas, &mut label);
    let sum = checksum(&label[20..]);
    label[16..20].copy_from_slice(&sum.to_le_bytes());

    let mut head = vec![0; 512];
    head[4..20].copy_from_slice(b"\x20LVM2\x20x[5A%r0N*>");
    head[20..24].copy_from_slice(&1_u32.to_le_bytes());
    let length = u64::try_from(text.len()).expect("short");
    numbers(24, &[4096, DATA - 4096, 512, length], &mut head);
    head[56..60].copy_from_slice(&checksum(text.as_bytes()).to_le_bytes());
    let sum = checksum(&head[4..]);
    head[..4].copy_from_slice(&sum.to_le_bytes());

    write(path, 512, &label);
    write(path, 4096, &head);
    write(path, 4608, text.as_bytes());
}

/// CRC-32 with LVM's start, and without the usual end.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xf597_a6cf, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

/// A superblock of version 1.2, at 4096.
fn raid_member(path: &Path) {
    let mut block = vec![0; 260];
    let mut put = |place: usize, bytes: &[u8]| {
        block[place..place + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &0xa92b_4efc_u32.to_le_bytes());
    put(4, &1_u32.to_le_bytes());
    put(16, &[0x11; 16]);
    put(32, b"host:array");
    put(72, &1_u32.to_le_bytes());
    put(80, &12288_u64.to_le_bytes());
    put(92, &2_u32.to_le_bytes());
    put(128, &2048_u64.to_le_bytes());
    put(136, &14336_u64.to_le_bytes());
    put(144, &8_u64.to_le_bytes());
    put(168, &[0x22; 16]);
    put(200, &3_u64.to_le_bytes());
    put(208, &u64::MAX.to_le_bytes());
    put(220, &2_u32.to_le_bytes());
    put(258, &1_u16.to_le_bytes());
    let words = block.chunks_exact(4);
    let sum: u64 = words
        .map(|word| u64::from(u32::from_le_bytes(word.try_into().expect("a word"))))
        .sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    block[216..220].copy_from_slice(&sum.to_le_bytes()[..4]);
    write(path, 4096, &block);
}

/// A primary volume descriptor, and the end of the descriptors.
fn volume_descriptors(path: &Path) {
    let mut block = vec![b' '; 2048];
    let both = |number: u32| [number.to_le_bytes(), number.to_be_bytes()].concat();
    block[..8].copy_from_slice(b"\x01CD001\x01\0");
    block[40..45].copy_from_slice(b"LABEL");
    block[72..80].fill(0);
    block[80..88].copy_from_slice(&both(1024));
    block[88..120].fill(0);
    block[120..124].copy_from_slice(&[1, 0, 0, 1]);
    block[124..128].copy_from_slice(&[1, 0, 0, 1]);
    block[128..132].copy_from_slice(&[0, 8, 8, 0]);
    block[132..140].copy_from_slice(&both(10));
    block[140..156].fill(0);
    block[156..190].fill(0);
    block[156] = 34;
    block[158..166].copy_from_slice(&both(20));
    block[166..174].copy_from_slice(&both(2048));
    block[181] = 2;
    block[188] = 1;
    for date in [813, 830, 847, 864] {
        block[date..date + 16].copy_from_slice(b"2024010203040500");
        block[date + 16] = 0;
    }
    block[881] = 1;
    write(path, 32768, &block);
    write(path, 34816, b"\xffCD001\x01");
}
