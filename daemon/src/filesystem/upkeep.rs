//! Handlers of `idl/filesystem/upkeep.idl`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use protocol::api::{FstrimOptions, UpkeepActions};
use protocol::{Context, Device, Error, GuestPath, Mountable, Result};

use super::{ext, ioctl, labels, superblock, xfs};
use crate::block::swap;
use crate::command::Command;
use crate::daemon::Daemon;

impl UpkeepActions for Daemon {
    fn fsck(&mut self, fstype: &str, device: Device) -> Result<i32> {
        Command::new("fsck")
            .args(["-a", "-t", fstype])
            // Without `--`, which fsck(8) would pass on. A device's path is no option.
            .arg(device.path())
            .status()
            .context(device)
    }

    fn set_label(&mut self, mountable: Mountable, label: &[u8]) -> Result<()> {
        let device = mountable.device();
        let text = OsStr::from_bytes(label);
        let command = match self.superblocks().kind(device)?.as_str() {
            kind if superblock::is_ext(kind) => return ext::set_label(device, label),
            "xfs" => {
                // xfs_admin takes it for a wish to have none.
                if label == b"---" {
                    return Err(Error::invalid("xfs: invalid new label"));
                }
                labels::check_xfs(label)?;
                labels::check_xfs_admin(label)?;
                xfs::administer()
                    .arg("-L")
                    .arg(text)
                    .operands([device.path()])
            }
            "btrfs" => Command::new("btrfs")
                .args(["filesystem", "label"])
                .operands([device.path().as_os_str(), text]),
            "msdos" | "vfat" | "fat" => {
                Command::new("fatlabel").operands([device.path().as_os_str(), text])
            }
            "ntfs" => {
                // ntfslabel knows no `--`.
                if label.starts_with(b"-") {
                    return Err(Error::invalid(
                        "ntfs: a label cannot be set that begins with '-'",
                    ));
                }
                Command::new("ntfslabel").arg(device.path()).arg(text)
            }
            "swap" => {
                swap::check_label(label)?;
                Command::new("swaplabel")
                    .arg("-L")
                    .arg(text)
                    .operands([device.path()])
            }
            kind => {
                return Err(Error::not_supported(format!(
                    "don't know how to set the label for '{kind}' filesystems"
                )));
            }
        };
        command.run().context(device).map(drop)
    }

    fn set_uuid(&mut self, device: Device, uuid: &str) -> Result<()> {
        match self.superblocks().kind(&device)?.as_str() {
            kind if superblock::is_ext(kind) => {
                // tune2fs has meanings of its own for these.
                if matches!(uuid, "clear" | "random" | "time") {
                    return Err(Error::invalid("e2: invalid new UUID"));
                }
                ext::set_uuid(&device, uuid)
            }
            "xfs" => {
                labels::check_xfs_uuid(uuid)?;
                xfs::administer()
                    .args(["-U", uuid])
                    .operands([device.path()])
                    .run()
                    .context(device)
                    .map(drop)
            }
            "swap" => set_swap_uuid(&device, uuid),
            "btrfs" => Command::new("btrfstune")
                .args(["-f", "-U", uuid])
                .operands([device.path()])
                .run()
                .context(device)
                .map(drop),
            kind => Err(Error::not_supported(format!(
                "don't know how to set the UUID for '{kind}' filesystems"
            ))),
        }
    }

    fn set_uuid_random(&mut self, device: Device) -> Result<()> {
        match self.superblocks().kind(&device)?.as_str() {
            kind if superblock::is_ext(kind) => ext::set_uuid(&device, "random"),
            "xfs" => xfs::administer()
                .args(["-U", "generate"])
                .operands([device.path()])
                .run()
                .context(device)
                .map(drop),
            "swap" => {
                const RANDOM: &str = "/proc/sys/kernel/random/uuid";
                let uuid = std::fs::read_to_string(RANDOM).context(RANDOM)?;
                set_swap_uuid(&device, uuid.trim_end())
            }
            "btrfs" => Command::new("btrfstune")
                .args(["-f", "-u"])
                .operands([device.path()])
                .run()
                .context(device)
                .map(drop),
            kind => Err(Error::not_supported(format!(
                "don't know how to set random UUID for '{kind}' filesystems"
            ))),
        }
    }

    fn fstrim(&mut self, mountpoint: GuestPath, options: FstrimOptions) -> Result<()> {
        let (start, length, minimum) = trim_range(&options)?;
        let top = self.top(&mountpoint)?;
        // What was just freed is not known as free on disk before.
        self.sync();
        // The first pass can leave out extents that are still being discarded.
        for _ in 0..2 {
            match ioctl::trim(&top, start, length, minimum) {
                Err(Errno::ENOTTY | Errno::EOPNOTSUPP) => {
                    return Err(Error::not_supported(format!(
                        "{mountpoint}: the filesystem or its device cannot discard"
                    )));
                }
                trimmed => trimmed.context(&mountpoint)?,
            }
        }
        self.sync();
        Ok(())
    }

    fn f2fs_expand(&mut self, device: Device) -> Result<()> {
        Command::new("resize.f2fs")
            .operands([device.path()])
            .run()
            .context(device)
            .map(drop)
    }
}

fn set_swap_uuid(device: &Device, uuid: &str) -> Result<()> {
    Command::new("swaplabel")
        .args(["-U", uuid])
        .operands([device.path()])
        .run()
        .context(device)
        .map(drop)
}

/// Where to begin, how far to go, and the shortest extent that counts.
fn trim_range(options: &FstrimOptions) -> Result<(u64, u64, u64)> {
    let positive = |name: &str, value: Option<i64>| match value.map(u64::try_from) {
        None => Ok(None),
        Some(Ok(value @ 1..)) => Ok(Some(value)),
        Some(_) => Err(Error::invalid(format!("{name} <= 0"))),
    };
    let start = u64::try_from(options.offset.unwrap_or_default())
        .map_err(|_| Error::invalid("offset < 0"))?;
    let length = positive("length", options.length)?;
    let minimum = positive("minimumfreeextent", options.minimumfreeextent)?;
    Ok((
        start,
        length.unwrap_or(u64::MAX),
        minimum.unwrap_or_default(),
    ))
}
