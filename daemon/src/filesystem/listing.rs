//! Finding every filesystem of the appliance's devices, each device looked at once.

use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;
use protocol::{Device, Mountable, Result};

use super::{mapper, superblock, volumes};
use crate::command::Command;
use crate::devices::Devices;
use crate::{features, logging};

/// The type that callers see for what was not recognised.
const UNKNOWN: &str = "unknown";

/// Every filesystem with its type: of disks, other mapped devices, partitions, MD devices, logical
/// volumes and Windows dynamic volumes, in this order.
///
/// # Errors
///
/// When the devices cannot be listed.
pub(super) fn filesystems(devices: &Devices) -> Result<Vec<(Mountable, Vec<u8>)>> {
    let (dynamic, mapped): (Vec<Device>, Vec<Device>) = mapper::devices()?
        .into_iter()
        .filter(|device| mapper::logical_volume(device).is_none())
        .partition(|device| device.as_str().starts_with("/dev/mapper/ldm_vol_"));
    let mut candidates = unpartitioned(devices, devices.disks()?)?;
    candidates.extend(mapped);
    candidates.extend(partitions(devices)?);
    candidates.extend(unpartitioned(devices, devices.md_devices()?)?);

    let mut kinds = superblock::kinds(&candidates)?;
    let mut late = Vec::new();
    if kinds.iter().any(|kind| kind == "LVM2_member") {
        late = logical_volumes();
    }
    late.extend(dynamic);
    kinds.extend(superblock::kinds(&late)?);
    candidates.extend(late);

    let mut found = Vec::new();
    for (device, kind) in candidates.into_iter().zip(kinds) {
        match kind.as_str() {
            // Parts of something that is listed itself, once it is assembled or opened.
            kind if kind.ends_with("_member") => {}
            "crypto_LUKS" | "BitLocker" => {}
            "" => found.push((Mountable::from(device), UNKNOWN.into())),
            "btrfs" => add_btrfs(device, &mut found),
            _ => found.push((Mountable::from(device), kind.into_bytes())),
        }
    }
    Ok(found)
}

/// Those of `whole` that hold no partitions; a filesystem is on a device or on its partitions.
fn unpartitioned(devices: &Devices, whole: Vec<Device>) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    for device in whole {
        if devices.partitions_of(&device)?.is_empty() {
            found.push(device);
        }
    }
    Ok(found)
}

/// The partitions that can hold a filesystem.
fn partitions(devices: &Devices) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    for disk in devices.disks()?.iter().chain(&devices.md_devices()?) {
        let partitions = devices.partitions_of(disk)?;
        if partitions.is_empty() {
            continue;
        }
        let containers = containers(devices, disk);
        found.extend(partitions.into_iter().filter(|partition| {
            devices
                .split(partition)
                .1
                .is_none_or(|number| !containers.contains(&number))
        }));
    }
    Ok(found)
}

/// A device and its subvolumes. What is wrong with one filesystem does not hide the others.
fn add_btrfs(device: Device, found: &mut Vec<(Mountable, Vec<u8>)>) {
    let subvolumes = subvolumes(&device).unwrap_or_else(|error| {
        logging::warning(format_args!("list_filesystems: {error}"));
        Vec::new()
    });
    found.push((Mountable::from(device.clone()), b"btrfs".to_vec()));
    found.extend(
        subvolumes
            .into_iter()
            .map(|path| (Mountable::btrfs(device.clone(), path), b"btrfs".to_vec())),
    );
}

/// All subvolumes but the one that is mounted with the device alone.
fn subvolumes(device: &Device) -> Result<Vec<Vec<u8>>> {
    let scratch = volumes::Scratch::mount(device)?;
    let top = scratch.open()?;
    let mut all = volumes::list(&top)?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let default = volumes::default(&top)?;
    all.retain(|volume| volume.id != default);
    Ok(all.into_iter().map(|volume| volume.path).collect())
}

fn logical_volumes() -> Vec<Device> {
    if !features::program_exists("lvm") {
        return Vec::new();
    }
    let output = Command::new("lvm")
        .args([
            "lvs",
            "-o",
            "vg_name,lv_name",
            "--noheadings",
            "--separator",
            "/",
        ])
        .args(["-S", "lv_role=public && lv_skip_activation!=yes"])
        .run();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| Device::new(format!("/dev/{name}")))
            .collect(),
        Err(error) => {
            logging::warning(format_args!("list_filesystems: {error}"));
            Vec::new()
        }
    }
}

/// The numbers of the partitions that hold other things than a filesystem: extended MBR
/// partitions, and what Windows keeps for its dynamic disks, snapshots and itself.
fn containers(devices: &Devices, disk: &Device) -> Vec<u32> {
    let read = |at: u64, len: usize| -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        let file = devices.open(disk, OFlag::O_RDONLY).ok()?;
        file.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    };
    gpt_containers(&read)
        .or_else(|| mbr_containers(&read))
        .unwrap_or_default()
}

fn mbr_containers(read: &impl Fn(u64, usize) -> Option<Vec<u8>>) -> Option<Vec<u32>> {
    const ENTRIES: usize = 446;
    const ENTRY: usize = 16;
    const TYPE: usize = 4;
    let sector = read(0, 512)?;
    if !sector.ends_with(&[0x55, 0xaa]) {
        return None;
    }
    let is_extended = |index: usize| {
        matches!(
            sector.get(ENTRIES + index * ENTRY + TYPE),
            Some(0x05 | 0x0f | 0x85)
        )
    };
    Some(
        (1..=4)
            .zip(0..)
            .filter(|&(_, index)| is_extended(index))
            .map(|(number, _)| number)
            .collect(),
    )
}

fn gpt_containers(read: &impl Fn(u64, usize) -> Option<Vec<u8>>) -> Option<Vec<u32>> {
    /// The first three fields of a GUID stand with their least significant byte first.
    const CONTAINERS: [[u8; 16]; 4] = [
        // Windows dynamic disk: metadata, 5808C8AA-7E8F-42E0-85D2-E1E90434CFB3
        [
            0xaa, 0xc8, 0x08, 0x58, 0x8f, 0x7e, 0xe0, 0x42, 0x85, 0xd2, 0xe1, 0xe9, 0x04, 0x34,
            0xcf, 0xb3,
        ],
        // Windows dynamic disk: data, AF9B60A0-1431-4F62-BC68-3311714A69AD
        [
            0xa0, 0x60, 0x9b, 0xaf, 0x31, 0x14, 0x62, 0x4f, 0xbc, 0x68, 0x33, 0x11, 0x71, 0x4a,
            0x69, 0xad,
        ],
        // Microsoft reserved, E3C9E316-0B5C-4DB8-817D-F92DF00215AE
        [
            0x16, 0xe3, 0xc9, 0xe3, 0x5c, 0x0b, 0xb8, 0x4d, 0x81, 0x7d, 0xf9, 0x2d, 0xf0, 0x02,
            0x15, 0xae,
        ],
        // Windows snapshots, CADDEBF1-4400-4DE8-B103-12117DCF3CCF
        [
            0xf1, 0xeb, 0xdd, 0xca, 0x00, 0x44, 0xe8, 0x4d, 0xb1, 0x03, 0x12, 0x11, 0x7d, 0xcf,
            0x3c, 0xcf,
        ],
    ];
    /// More than any tool makes; the table is not to be trusted.
    const MOST_ENTRIES: usize = 4096;
    const MOST_BYTES: usize = 1 << 20;
    for sector in [512, 4096] {
        let header = read(sector, 92)?;
        if !header.starts_with(b"EFI PART") {
            continue;
        }
        let start = u64::from_le_bytes(header.get(72..80)?.try_into().ok()?);
        let count = u32::from_le_bytes(header.get(80..84)?.try_into().ok()?) as usize;
        let size = u32::from_le_bytes(header.get(84..88)?.try_into().ok()?) as usize;
        let bytes = count.checked_mul(size)?;
        if size < 16 || count > MOST_ENTRIES || bytes > MOST_BYTES {
            return None;
        }
        let table = read(start.checked_mul(sector)?, bytes)?;
        return Some(
            (1..)
                .zip(table.chunks_exact(size))
                .filter(|(_, entry)| CONTAINERS.iter().any(|guid| entry.starts_with(guid)))
                .map(|(number, _)| number)
                .collect(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(image: Vec<u8>) -> impl Fn(u64, usize) -> Option<Vec<u8>> {
        move |at, len| {
            let at = usize::try_from(at).ok()?;
            Some(image.get(at..at.checked_add(len)?)?.to_vec())
        }
    }

    #[test]
    fn extended_partitions_are_containers() {
        let mut image = vec![0; 8192];
        assert_eq!(mbr_containers(&reader(image.clone())), None);
        image[510..512].copy_from_slice(&[0x55, 0xaa]);
        image[446 + 4] = 0x83;
        image[446 + 16 + 4] = 0x05;
        image[446 + 48 + 4] = 0x0f;
        assert_eq!(mbr_containers(&reader(image.clone())), Some(vec![2, 4]));
        assert_eq!(gpt_containers(&reader(image)), None);
    }

    #[test]
    fn reserved_gpt_partitions_are_containers() {
        for sector in [512, 4096] {
            let mut image = vec![0; 64 << 10];
            image[sector..sector + 8].copy_from_slice(b"EFI PART");
            image[sector + 72] = 2;
            image[sector + 80] = 128;
            image[sector + 84] = 128;
            let reserved = [
                0x16, 0xe3, 0xc9, 0xe3, 0x5c, 0x0b, 0xb8, 0x4d, 0x81, 0x7d, 0xf9, 0x2d, 0xf0, 0x02,
                0x15, 0xae,
            ];
            let third = 2 * sector + 2 * 128;
            image[third..third + 16].copy_from_slice(&reserved);
            assert_eq!(gpt_containers(&reader(image.clone())), Some(vec![3]));
            image[sector + 80..sector + 84].copy_from_slice(&[0xff; 4]);
            assert_eq!(gpt_containers(&reader(image.clone())), None);
            image[sector + 80..sector + 84].copy_from_slice(&[128, 0, 0, 0]);
            image[sector + 72..sector + 80].copy_from_slice(&[0xff; 8]);
            assert_eq!(gpt_containers(&reader(image)), None);
        }
    }
}
