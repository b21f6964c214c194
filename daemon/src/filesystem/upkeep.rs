//! Handlers of `idl/filesystem/upkeep.idl`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use protocol::api::{FstrimOptions, UpkeepActions};
use protocol::{Context, Device, Error, GuestPath, Mountable, Result};

use super::{ext, labels, superblock, xfs};
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
        command.run().map(drop)
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
                if matches!(uuid, "nil" | "generate" | "restore") {
                    return Err(Error::invalid("xfs: invalid new UUID"));
                }
                labels::check_xfs_admin(uuid.as_bytes())?;
                xfs::administer()
                    .args(["-U", uuid])
                    .operands([device.path()])
                    .run()
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
        let range = trim_range(&options)?;
        let top = self.top(&mountpoint)?;
        // What was just freed is not known as free on disk before.
        self.sync();
        // The first pass can leave out extents that are still being discarded.
        for _ in 0..2 {
            let output = Command::new("fstrim")
                .args(&range)
                .cwd(&top)
                .arg(".")
                .output()?;
            if output.code != 0 {
                let message = format!("{mountpoint}: {}", output.message());
                return Err(if message.contains("discard operation is not supported") {
                    Error::not_supported(message)
                } else {
                    Error::new(message)
                });
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
        .map(drop)
}

fn trim_range(options: &FstrimOptions) -> Result<Vec<String>> {
    let mut args = Vec::new();
    if let Some(offset) = options.offset {
        if offset < 0 {
            return Err(Error::invalid("offset < 0"));
        }
        args.extend(["-o".to_owned(), offset.to_string()]);
    }
    for (flag, name, value) in [
        ("-l", "length", options.length),
        ("-m", "minimumfreeextent", options.minimumfreeextent),
    ] {
        let Some(value) = value else { continue };
        if value <= 0 {
            return Err(Error::invalid(format!("{name} <= 0")));
        }
        args.extend([flag.to_owned(), value.to_string()]);
    }
    Ok(args)
}
