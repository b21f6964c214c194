//! `udevadm` inside the sandbox.
//!
//! The daemon asks udev to settle after it changed a block device. Here that
//! mirrors the partitions of the loop devices behind the disks: `loop3p1` is
//! `/dev/sda1`, when `loop3` is `sda`. The same is done for the few places in
//! `/sys` and `/proc` through which programs find block devices.
//!
//! Not every kernel that can run this knows partition tables (a small one for
//! virtual machines may not), so `partx` tells it what they say. On one that
//! does, that changes nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};

/// Where the sandbox keeps its disks: a line `sda loop3 SERIAL` each.
pub(crate) const MAP: &str = "/run/standin/disks";
/// The file that covers `/proc/partitions`.
pub(crate) const PARTITIONS: &str = "/run/standin/partitions";
/// Where all loop devices are described.
const VIRTUAL: &str = "/sys/devices/virtual/block";

/// Makes the sandbox's view of the disks what the kernel's is.
pub(crate) fn mirror() -> Result<()> {
    umask(Mode::empty());
    let map = fs::read_to_string(MAP).context(MAP)?;
    let mut partitions = String::from("major minor  #blocks  name\n\n");
    for line in map.lines() {
        let mut words = line.splitn(3, ' ');
        if let (Some(disk), Some(device)) = (words.next(), words.next()) {
            mirror_disk(
                disk,
                device,
                words.next().unwrap_or_default(),
                &mut partitions,
            )?;
        }
    }
    // In place: the file is bound over the one in /proc.
    fs::write(PARTITIONS, partitions).context(PARTITIONS)
}

fn mirror_disk(disk: &str, device: &str, serial: &str, partitions: &mut String) -> Result<()> {
    let source = format!("{VIRTUAL}/{device}");
    let Some(number) = device_number(&source) else {
        return Ok(());
    };
    update_partitions(&format!("/dev/{device}"));
    let shown = format!("/sys/block/{disk}");
    // From its number libblkid finds a disk's partitions, and from theirs the disk,
    // by the names that they have here.
    show(disk, &shown, number)?;
    list(partitions, disk, &source, number);
    if !serial.is_empty() {
        link(
            &format!("../../{disk}"),
            &format!("/dev/disk/guestfs/{serial}"),
        )?;
    }

    let mut present = BTreeSet::new();
    for entry in fs::read_dir(&source).with_context(|| source.clone())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let suffix = name
            .strip_prefix(device)
            .and_then(|name| name.strip_prefix('p'));
        if let Some(index) = suffix.and_then(|suffix| suffix.parse::<u32>().ok()) {
            present.insert((index, name));
        }
    }
    for (index, name) in &present {
        let source = format!("{source}/{name}");
        // A partition may go while it is looked at.
        let Some(number) = device_number(&source) else {
            continue;
        };
        let partition = format!("{disk}{index}");
        let within = format!("{shown}/{partition}");
        link(&source, &within)?;
        show(&partition, &within, number)?;
        list(partitions, &partition, &source, number);
        if !serial.is_empty() {
            let label = format!("/dev/disk/guestfs/{serial}{index}");
            link(&format!("../../{partition}"), &label)?;
        }
    }
    for entry in fs::read_dir(&shown).with_context(|| shown.clone())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let index = name
            .strip_prefix(disk)
            .and_then(|suffix| suffix.parse::<u32>().ok());
        if index.is_some_and(|index| present.iter().all(|(number, _)| *number != index)) {
            forget(&name, &format!("{shown}/{name}"))?;
        }
    }
    Ok(())
}

/// Tells the kernel what the partition table says; a disk without one is fine.
fn update_partitions(device: &str) {
    let result = Command::new("partx")
        .args(["--update", device])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = result {
        eprintln!("udevadm: partx: {error}");
    }
}

/// Makes the node in `/dev` and the entries by number and by class in `/sys`.
fn show(name: &str, source: &str, (major, minor): (u64, u64)) -> Result<()> {
    let node = format!("/dev/{name}");
    let wanted = makedev(major, minor);
    if fs::metadata(&node).is_ok_and(|found| found.rdev() != wanted) {
        remove(&node)?;
    }
    match mknod(
        node.as_str(),
        SFlag::S_IFBLK,
        Mode::from_bits_truncate(0o660),
        wanted,
    ) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(error) => return Err(error).context(node),
    }
    link(source, &format!("/sys/dev/block/{major}:{minor}"))?;
    link(source, &format!("/sys/class/block/{name}"))
}

fn forget(name: &str, shown: &str) -> Result<()> {
    remove(&format!("/dev/{name}"))?;
    remove(&format!("/sys/class/block/{name}"))?;
    remove(shown)
}

fn list(partitions: &mut String, name: &str, source: &str, (major, minor): (u64, u64)) {
    let sectors = fs::read_to_string(format!("{source}/size")).unwrap_or_default();
    let blocks = sectors.trim().parse::<u64>().unwrap_or(0) / 2;
    let _ = writeln!(partitions, "{major:4}  {minor:7} {blocks:10} {name}");
}

/// What `dev` in a device's directory under `/sys` says.
pub(crate) fn device_number(source: &str) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("{source}/dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn link(target: &str, name: &str) -> Result<()> {
    if fs::read_link(name).is_ok_and(|found| found == Path::new(target)) {
        return Ok(());
    }
    remove(name)?;
    symlink(target, name).with_context(|| name.to_owned())
}

fn remove(path: &str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.to_owned())
        }
        _ => Ok(()),
    }
}
