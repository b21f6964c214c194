//! What the daemons work on: the same for both.

use std::fs;
use std::io::{Read, Repeat, Take};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use protocol::api::{MkfsOptions, TarInOptions};
use protocol::client::Client;

use crate::instance::{Channel, Instance};

pub(super) const FILES: usize = 5000;
pub(super) const ENTRIES: usize = 10_000;
/// Filesystems with a directory of so many, for the kernel reads each in its own way.
pub(super) const ENTRIES_ON: [(&str, &str); 3] = [
    ("ext4", "/entries"),
    ("XFS", "/xfs/entries"),
    ("btrfs", "/btrfs/entries"),
];
pub(super) const SMALL: usize = 4096;
/// The second disk, with a partition for each of these filesystems, and one
/// that is an LVM physical volume.
pub(super) const SECOND_DISK: &str = "/dev/sdb";
const FILESYSTEMS: [&str; 2] = ["ext4", "ext2"];
/// The least that mkfs.xfs takes is 300 MB.
const INNER_DISK: i64 = 512 << 20;
const PHYSICAL_VOLUME: &str = "/dev/sdb3";
const VOLUME_GROUP: &str = "bench";

/// What is sent, made once for both daemons.
pub(crate) struct Inputs {
    /// Of the big file, in bytes.
    pub(super) size: usize,
    /// An archive of [`FILES`] small files.
    pub(super) archive: Vec<u8>,
    /// An archive of [`ENTRIES`] empty files.
    entries: Vec<u8>,
    /// An archive of a few directories and files, for what walks a tree.
    branch: Vec<u8>,
    /// Lines of text.
    text: Vec<u8>,
}

impl Inputs {
    pub(crate) fn new(quick: bool) -> Result<Self> {
        Ok(Self {
            size: if quick { 32 << 20 } else { 256 << 20 },
            archive: archive(&flat(FILES), 1024)?,
            entries: archive(&flat(ENTRIES), 0)?,
            branch: archive(&branch(), 1024)?,
            text: text(),
        })
    }
}

fn flat(files: usize) -> Vec<String> {
    (0..files).map(|n| format!("file-{n:05}")).collect()
}

fn branch() -> Vec<String> {
    (0..20).map(|n| format!("d{}/file-{n}", n % 4)).collect()
}

fn archive(names: &[String], size: usize) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    for (number, name) in names.iter().enumerate() {
        let path = directory.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let content = vec![b'a' + (number % 26) as u8; size];
        fs::write(path, content)?;
    }
    let output = Command::new("tar")
        .arg("-C")
        .arg(directory.path())
        .args(["--sort=name", "-cf", "-", "."])
        .output()
        .context("tar")?;
    ensure!(output.status.success(), "tar: {output:?}");
    Ok(output.stdout)
}

/// A megabyte of lines that differ.
fn text() -> Vec<u8> {
    (0u32..)
        .map(|n| {
            format!(
                "line {n}: {:x} and more words\n",
                n.wrapping_mul(2_654_435_761)
            )
        })
        .scan(0, |size, line| {
            *size += line.len();
            (*size <= 1 << 20).then_some(line)
        })
        .collect::<String>()
        .into_bytes()
}

/// Gives the daemon's disks filesystems and the files that are read.
pub(crate) fn prepare(instance: &mut Instance, inputs: &Inputs) -> Result<()> {
    let client = &mut instance.client;
    client.part_disk("/dev/sda", "gpt").context("part_disk")?;
    client
        .mkfs("ext4", "/dev/sda1", &MkfsOptions::default())
        .context("mkfs")?;
    second_disk(instance).context("the second disk")?;
    let client = &mut instance.client;
    client.mount("/dev/sda1", "/").context("mount")?;
    client
        .internal_write("/small", &lines(SMALL, &inputs.text))
        .context("internal_write")?;
    client.cp("/small", "/same").context("cp")?;
    client
        .upload(&mut zeroes(inputs.size), "/large")
        .context("upload")?;
    client
        .upload(&mut inputs.text.as_slice(), "/text")
        .context("upload")?;
    pack(client, "/small", "/small.gz").context("compress_out")?;
    for (directory, archive) in [
        ("/tree", &inputs.archive),
        ("/entries", &inputs.entries),
        ("/branch", &inputs.branch),
    ] {
        unpack(client, archive, directory)?;
    }
    for (filesystem, mountpoint) in [("xfs", "/xfs"), ("btrfs", "/btrfs")] {
        let made = inner(client, filesystem, mountpoint)
            .and_then(|()| unpack(client, &inputs.entries, &format!("{mountpoint}/entries")));
        // Its measures will say that they miss it.
        if let Err(error) = made {
            eprintln!("  no {filesystem}: {error:#}");
        }
    }
    let mut initrd = Vec::new();
    client
        .cpio_out("/branch", &mut initrd, &Default::default())
        .context("cpio_out")?;
    client
        .upload(&mut initrd.as_slice(), "/cpio")
        .context("upload")?;
    pack(client, "/cpio", "/initrd").context("compress_out")?;
    client.mkdir("/mounted").context("mkdir")?;
    client.mkdir("/work").context("mkdir")
}

fn unpack(client: &mut Client<Channel>, mut archive: &[u8], directory: &str) -> Result<()> {
    client.mkdir(directory).context("mkdir")?;
    let options = TarInOptions::default();
    client
        .tar_in(&mut archive, directory, &options)
        .context("tar_in")
}

/// In a file, so that there is no further disk for those measures that look at all.
fn inner(client: &mut Client<Channel>, filesystem: &str, mountpoint: &str) -> Result<()> {
    let image = format!("{mountpoint}.img");
    client.touch(&image)?;
    client.truncate_size(&image, INNER_DISK)?;
    // mkfs takes devices only.
    let make = format!("mkfs.{filesystem} -q /sysroot{image}");
    client.debug("sh", &[&make])?;
    client.mkdir(mountpoint)?;
    Ok(client.mount_loop(&image, mountpoint)?)
}

fn pack(client: &mut Client<Channel>, from: &str, to: &str) -> Result<()> {
    let mut packed = Vec::new();
    client.compress_out("gzip", from, &mut packed, &Default::default())?;
    Ok(client.upload(&mut packed.as_slice(), to)?)
}

/// Three partitions: two filesystems and a physical volume. There is no device
/// mapper in the sandbox, so that the volume group stays without volumes.
fn second_disk(instance: &mut Instance) -> Result<()> {
    let client = &mut instance.client;
    client.part_init(SECOND_DISK, "gpt")?;
    for number in 0..3i64 {
        let start = 2048 + number * 131_072;
        client.part_add(SECOND_DISK, "p", start, start + 131_071)?;
    }
    for (number, filesystem) in (1..).zip(FILESYSTEMS) {
        let device = format!("{SECOND_DISK}{number}");
        client.mkfs(filesystem, &device, &MkfsOptions::default())?;
    }
    client.pvcreate(PHYSICAL_VOLUME).context("pvcreate")?;
    client
        .vgcreate(VOLUME_GROUP, &[PHYSICAL_VOLUME])
        .context("vgcreate")
}

/// As many whole lines as fit.
fn lines(size: usize, text: &[u8]) -> Vec<u8> {
    let text = &text[..size.min(text.len())];
    let end = text.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    text[..end + 1].to_vec()
}

pub(super) fn zeroes(size: usize) -> Take<Repeat> {
    std::io::repeat(0).take(size as u64)
}
