//! The library in process, and the `blkid` program, on the same images.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::Numbers;

use super::*;
use crate::filesystem::superblock::escaped;

const MIB: u64 = 1 << 20;

/// Images, each filled in its own way.
struct Images {
    directory: tempfile::TempDir,
    made: Vec<PathBuf>,
}

impl Images {
    fn blank(&mut self, name: &str, size: u64) -> PathBuf {
        let path = self.directory.path().join(name);
        File::create(&path)
            .and_then(|file| file.set_len(size))
            .expect("an image");
        self.made.push(path.clone());
        path
    }

    fn bytes(&mut self, name: &str, size: u64, parts: &[(u64, &[u8])]) {
        let path = self.blank(name, size);
        let file = OpenOptions::new().write(true).open(path).expect("an image");
        for (at, bytes) in parts {
            file.write_all_at(bytes, *at).expect("its bytes");
        }
    }

    fn program(&mut self, name: &str, size: u64, line: &str, input: &str) {
        let path = self.blank(name, size);
        let mut words = line.split('|');
        let child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .arg(&path)
            .env("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(input.as_bytes()).expect("its input");
        drop(stdin);
        assert!(child.wait().expect("its end").success(), "{line}");
    }
}

fn blkid(args: &[&str], path: &Path) -> (Option<i32>, String) {
    let output = Command::new("/sbin/blkid")
        .args(["-c", "/dev/null"])
        .args(args)
        .arg(path)
        .env("LC_ALL", "C")
        .output()
        .expect("blkid");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

fn open(path: &Path) -> OwnedFd {
    OwnedFd::from(File::open(path).expect("an image"))
}

/// In the form of `blkid -o export`.
fn export(path: &Path, tags: &[(Vec<u8>, Vec<u8>)]) -> String {
    let mut text = format!("DEVNAME={}\n", path.display());
    for (name, value) in tags {
        let (name, value) = (String::from_utf8_lossy(name), escaped(value));
        text += &format!("{name}={}\n", String::from_utf8_lossy(&value));
    }
    text
}

/// A version 1.2 superblock of an array of two devices.
fn md_superblock() -> Vec<u8> {
    let mut bytes = vec![0; 256 + 2 * 2];
    let mut put = |at: usize, value: &[u8]| {
        bytes[at..at + value.len()].copy_from_slice(value);
    };
    put(0, &0xa92b_4efc_u32.to_le_bytes());
    put(4, &1_u32.to_le_bytes());
    put(16, &[7; 16]);
    put(32, b"host:name of it");
    put(72, &1_u32.to_le_bytes());
    put(128, &2048_u64.to_le_bytes());
    put(136, &8192_u64.to_le_bytes());
    put(144, &8_u64.to_le_bytes());
    put(168, &[9; 16]);
    put(220, &2_u32.to_le_bytes());
    let sum: u64 = bytes
        .chunks_exact(4)
        .map(|word| u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]])))
        .sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = u32::try_from(sum).expect("a small sum");
    bytes[216..220].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The label of an LVM physical volume.
fn lvm_label() -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..8].copy_from_slice(b"LABELONE");
    bytes[8..16].copy_from_slice(&1_u64.to_le_bytes());
    bytes[20..24].copy_from_slice(&32_u32.to_le_bytes());
    bytes[24..32].copy_from_slice(b"LVM2 001");
    bytes[32..64].copy_from_slice(b"abcdefghijklmnopqrstuvwxyz012345");
    let crc = bytes[20..].iter().fold(0xf597_a6cf_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    });
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn images() -> Images {
    let mut images = Images {
        directory: tempfile::tempdir().expect("tempdir"),
        made: Vec::new(),
    };
    for (name, size, line) in [
        ("ext2", 8, "mkfs.ext2|-q|-L|a label"),
        ("ext3", 8, "mkfs.ext3|-q"),
        ("ext4", 8, "mkfs.ext4|-q|-L|it's \"$x\" `<\\>"),
        ("ext4-journal", 16, "mkfs.ext4|-q|-O|journal_dev"),
        ("xfs", 320, "mkfs.xfs|-q|-L|xfs-label"),
        ("btrfs", 128, "mkfs.btrfs|-q|-L|d\u{e9}j\u{e0} vu"),
        ("ntfs", 16, "mkfs.ntfs|-q|-F|-Q|-L|N T F S"),
        ("fat16", 32, "mkfs.vfat|-n|FAT LABEL"),
        ("fat32", 64, "mkfs.vfat|-F|32|-n|FAT32"),
        ("fat-small", 1, "mkfs.vfat"),
        ("exfat", 16, "mkfs.exfat|-L|exfat"),
        ("swap", 8, "mkswap|-L|swap-label"),
        ("f2fs", 64, "mkfs.f2fs|-q|-l|f2fs-label"),
        ("minix", 4, "mkfs.minix"),
        ("bfs", 4, "mkfs.bfs"),
    ] {
        images.program(name, size * MIB, line, "");
    }
    let luks = "cryptsetup|luksFormat|--batch-mode|--key-file=-|--pbkdf-force-iterations=1000|\
        --pbkdf=pbkdf2|--label=L U K S|--type";
    images.program("luks2", 32 * MIB, &format!("{luks}=luks2"), "secret");
    let luks1 = luks.replace("|--label=L U K S", "");
    images.program("luks1", 32 * MIB, &format!("{luks1}=luks1"), "secret");
    let table = "label: gpt\nsize=1M, name=first\nsize=1M\n";
    images.program("gpt", 8 * MIB, "sfdisk|-q", table);
    images.program(
        "mbr",
        8 * MIB,
        "sfdisk|-q",
        "label: dos\nsize=1M, bootable\n",
    );
    images.program("mbr-small", MIB, "sfdisk|-q", "label: dos\nsize=100K\n");

    images.blank("nothing", 8 * MIB);
    images.blank("tiny", 512);
    images.bytes("random", MIB, &[(0, &[0x5a; 70_000])]);
    images.bytes("lvm", 8 * MIB, &[(512, &lvm_label())]);
    images.bytes("md", 8 * MIB, &[(4096, &md_superblock())]);
    let iso = [
        b"\x01CD001\x01\0LINUX".as_slice(),
        &[b' '; 27],
        b"A VOLUME",
        &[b' '; 24],
    ]
    .concat();
    images.bytes("iso", MIB, &[(32768, &iso), (34816, b"\xffCD001\x01")]);
    images.bytes("squashfs", MIB, &[(0, b"hsqs"), (28, &[4, 0, 0, 0])]);
    images.bytes(
        "two",
        8 * MIB,
        &[(512, &lvm_label()), (4096, &md_superblock())],
    );
    // A superblock of btrfs in the middle of an ext4 filesystem.
    let at = |name: &str| images.directory.path().join(name);
    let mut superblock = [0; 4096];
    File::open(at("btrfs"))
        .and_then(|file| file.read_exact_at(&mut superblock, 64 << 10))
        .expect("a superblock");
    std::fs::copy(at("ext4"), at("both")).expect("a copy");
    let both = at("both");
    OpenOptions::new()
        .write(true)
        .open(&both)
        .and_then(|file| file.write_all_at(&superblock, 64 << 10))
        .expect("another superblock");
    images.made.push(both);
    images
}

#[test]
fn tags_are_those_of_the_program() {
    let mut library = Blkid::load().expect("libblkid");
    let images = images();
    let mut found = 0;
    for path in &images.made {
        let tags = library.find(open(path)).expect("a probe");
        for name in ["TYPE", "LABEL", "UUID", "SEC_TYPE"] {
            let tag = tags.iter().find(|(other, _)| other == name.as_bytes());
            let value = tag.map_or(String::new(), |(_, value)| {
                format!("{}\n", String::from_utf8_lossy(value))
            });
            let (_, printed) = blkid(&["-o", "value", "-s", name], path);
            assert_eq!(value, printed, "{name} of {}", path.display());
            found += usize::from(!value.is_empty());
        }
    }
    assert!(found > 40, "{found}");
}

/// An image as a block device.
struct Loop(PathBuf);

impl Loop {
    fn new(image: &Path) -> Self {
        let output = Command::new("/sbin/losetup")
            .args(["--read-only", "--find", "--show"])
            .arg(image)
            .output()
            .expect("losetup");
        assert!(output.status.success(), "losetup: {output:?}");
        let path = String::from_utf8(output.stdout).expect("a path");
        Self(PathBuf::from(path.trim()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let status = Command::new("/sbin/losetup")
            .arg("-d")
            .arg(&self.0)
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_thorough_probe_is_that_of_the_program() {
    let mut library = Blkid::load().expect("libblkid");
    let images = images();
    let mut ambivalent = 0;
    for image in &images.made {
        let device = Loop::new(image);
        let (code, printed) = blkid(&["-p", "-i", "-o", "export"], &device.0);
        match library.find_all(open(&device.0), true) {
            Ok(tags) if tags.is_empty() => assert_eq!(code, Some(2), "{}", image.display()),
            Ok(tags) => {
                assert_eq!(code, Some(0), "{}", image.display());
                assert_eq!(export(&device.0, &tags).trim(), printed.trim());
            }
            Err(error) => {
                assert_eq!(code, Some(8), "{}: {error}", image.display());
                ambivalent += 1;
            }
        }
    }
    assert!(ambivalent > 0);
}

#[test]
fn damage_does_no_harm() {
    let mut library = Blkid::load().expect("libblkid");
    let images = images();
    let mut numbers = Numbers::new(0x2545_f491_4f6c_dd1d);
    for path in &images.made {
        let file = OpenOptions::new().write(true).open(path).expect("an image");
        for _ in 0..20 {
            let byte = [numbers.byte()];
            let place = numbers.below(4096);
            file.write_all_at(&byte, place).expect("damage");
            let tags = library.find(open(path)).expect("a probe");
            let (_, kind) = blkid(&["-o", "value", "-s", "TYPE"], path);
            let ours = tags.iter().find(|(name, _)| name == b"TYPE");
            let ours = ours.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
            assert_eq!(
                ours.unwrap_or_default(),
                kind.trim_end(),
                "{}",
                path.display()
            );
        }
    }
}
