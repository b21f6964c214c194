//! Finding every filesystem of the appliance's devices, each device looked at once.

use protocol::{Device, Mountable, Result};

use super::superblock::Superblocks;
use super::{mapper, partitions, volumes};
use crate::block::lvm;
use crate::devices::Devices;
use crate::worker::Workers;
use crate::{features, logging};

/// The type that callers see for what was not recognised.
const UNKNOWN: &str = "unknown";

/// Every filesystem with its type: of disks, other mapped devices, partitions, MD devices, logical
/// volumes and Windows dynamic volumes, in this order.
///
/// # Errors
///
/// When the devices cannot be listed.
pub(super) fn filesystems(superblocks: Superblocks<'_>) -> Result<Vec<(Mountable, Vec<u8>)>> {
    let (devices, workers) = (superblocks.devices(), superblocks.workers());
    // What dynamic volumes are made of is listed as the volumes.
    let (dynamic, mapped): (Vec<Device>, Vec<Device>) = mapper::devices()?
        .into_iter()
        .filter(|device| !device.as_str().starts_with("/dev/mapper/ldm_part_"))
        .filter(|device| mapper::logical_volume(device).is_none())
        .partition(|device| device.as_str().starts_with("/dev/mapper/ldm_vol_"));
    let mut candidates = unpartitioned(devices, devices.disks()?)?;
    candidates.extend(mapped);
    candidates.extend(partitions(devices, workers)?);
    candidates.extend(unpartitioned(devices, devices.md_devices()?)?);

    let mut kinds = superblocks.kinds(&candidates)?;
    let mut late = Vec::new();
    if kinds.iter().any(|kind| kind == "LVM2_member") {
        late = logical_volumes();
    }
    late.extend(dynamic);
    kinds.extend(superblocks.kinds(&late)?);
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
fn partitions(devices: &Devices, workers: &Workers) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    for disk in devices.disks()?.iter().chain(&devices.md_devices()?) {
        let all = partitions::of(devices, workers, disk)?;
        found.extend(
            all.into_iter()
                .filter(|partition| !partition.is_container())
                .map(|partition| partition.device),
        );
    }
    Ok(found)
}

/// A device and its subvolumes. What is wrong with one filesystem does not hide the others.
fn add_btrfs(device: Device, found: &mut Vec<(Mountable, Vec<u8>)>) {
    let whole = Mountable::from(device.clone());
    let subvolumes = subvolumes(&whole).unwrap_or_else(|error| {
        logging::warning(format_args!("list_filesystems: {error}"));
        Vec::new()
    });
    found.push((whole, b"btrfs".to_vec()));
    found.extend(
        subvolumes
            .into_iter()
            .map(|path| (Mountable::btrfs(device.clone(), path), b"btrfs".to_vec())),
    );
}

/// All subvolumes but the one that is mounted with the device alone.
fn subvolumes(whole: &Mountable) -> Result<Vec<Vec<u8>>> {
    let scratch = volumes::Scratch::mount(whole)?;
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
    lvm::report::volumes().unwrap_or_else(|error| {
        logging::warning(format_args!("list_filesystems: {error}"));
        Vec::new()
    })
}
