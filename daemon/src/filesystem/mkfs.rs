//! Handlers of `idl/filesystem/mkfs.idl`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::{Mke2fsOptions, MkfsActions, MkfsBtrfsOptions, MkfsOptions};
use protocol::{Context, Device, Error, Result};

use super::mke2fs::{
    counts, extended, features, journal_option, journal_place, require_ext, words,
};
use super::{labels, mke2fs, not_negative};
use crate::block::ioctl;
use crate::block::wipe;
use crate::command::Command;
use crate::daemon::Daemon;
use crate::devices::Devices;

impl MkfsActions for Daemon {
    fn mkfs(&mut self, fstype: &str, device: Device, options: MkfsOptions<'_>) -> Result<()> {
        let is_ext = mke2fs::makes(fstype);
        // mkfs(8) would keep some of mke2fs's options for itself.
        let mut command = Command::new(if is_ext { "mke2fs" } else { "mkfs" })
            .args(["-t", fstype])
            .args(unattended(fstype)?);
        if let Some(size) = options.blocksize {
            command = command.args(block_size(&self.devices, fstype, &device, size)?);
        }
        if let Some(features) = options.features {
            command = command.args(["-O", features]);
        }
        if let Some(size) = options.inode {
            if !is_ext {
                return Err(Error::invalid(
                    "inode size (-I) can only be set on ext2/3/4 filesystems",
                ));
            }
            if size <= 0 {
                return Err(Error::invalid("inode size must be larger than zero"));
            }
            command = command.arg("-I").arg(size.to_string());
        }
        if let Some(size) = options.sectorsize {
            if fstype != "ufs" {
                return Err(Error::invalid(
                    "sector size (-S) can only be set on ufs filesystems",
                ));
            }
            if size <= 0 {
                return Err(Error::invalid("sector size must be larger than zero"));
            }
            command = command.arg("-S").arg(size.to_string());
        }
        if let Some(label) = options.label {
            command = command.args(label_option(fstype, label)?);
        }
        wipe::prepare(&device);
        command
            // Without `--`, which mkfs(8) would pass on to programs that do not know it. A
            // device's path is no option.
            .arg(device.path())
            .run()
            .with_context(|| format!("{fstype}: {device}"))
            .map(drop)
    }

    fn mkfs_b(&mut self, fstype: &str, blocksize: i32, device: Device) -> Result<()> {
        let options = MkfsOptions {
            blocksize: Some(blocksize),
            ..MkfsOptions::default()
        };
        self.mkfs(fstype, device, options)
    }

    fn mkfs_btrfs(&mut self, devices: Vec<Device>, options: MkfsBtrfsOptions<'_>) -> Result<()> {
        let Some(first) = devices.first() else {
            return Err(Error::invalid("list of devices must be non-empty"));
        };
        let mut command = Command::new("mkfs.btrfs");
        if let Some(bytes) = options.bytecount {
            if bytes <= 0 {
                return Err(Error::invalid("bytecount must be > 0"));
            }
            command = command.arg("--byte-count").arg(bytes.to_string());
        }
        for (name, profile) in [("data", options.datatype), ("metadata", options.metadata)] {
            let Some(profile) = profile else { continue };
            if !matches!(profile, "raid0" | "raid1" | "raid10" | "single") {
                let parameter = if name == "data" { "datatype" } else { name };
                return Err(Error::invalid(format!(
                    "{parameter} not one of the allowed values"
                )));
            }
            command = command.arg(format!("--{name}")).arg(profile);
        }
        for (name, size) in [
            ("leafsize", options.leafsize),
            ("nodesize", options.nodesize),
            ("sectorsize", options.sectorsize),
        ] {
            let Some(size) = size else { continue };
            if !is_power_of_two(size) {
                return Err(Error::invalid(format!(
                    "{name} must be > 0 and a power of two"
                )));
            }
            command = command.arg(format!("--{name}")).arg(size.to_string());
        }
        if let Some(label) = options.label {
            command = command.arg("--label").arg(OsStr::from_bytes(label));
        }
        devices.iter().for_each(wipe::prepare);
        command
            .operands(devices.iter().map(Device::path))
            .run()
            .context(first)
            .map(drop)
    }

    fn mke2fs(&mut self, device: Device, options: Mke2fsOptions<'_>) -> Result<()> {
        let mut command = Command::new("mke2fs")
            .args(counts(&options)?)
            .args(words(&options)?);
        if let Some(journal) = options.journaldevice {
            let place = journal_place(&self.devices, journal)?;
            command = command.arg("-J").arg(place);
        }
        let extended = extended(&options)?;
        if !extended.is_empty() {
            // One list: of several, mke2fs only heeds the last.
            command = command.arg("-E").arg(extended.join(","));
        }
        let features = features(&options);
        if !features.is_empty() {
            command = command.arg("-O").arg(features.join(","));
        }
        let blocks = options
            .blockscount
            .map(|count| not_negative("blockscount", count))
            .transpose()?;
        wipe::prepare(&device);
        command
            .operands([device.path().as_os_str()])
            .args(blocks)
            .run()
            .context(&device)
            .map(drop)
    }

    fn mke2journal(&mut self, blocksize: i32, device: Device) -> Result<()> {
        make_journal(blocksize, &device, [])
    }

    fn mke2journal_l(&mut self, blocksize: i32, label: &[u8], device: Device) -> Result<()> {
        labels::check_ext(label)?;
        make_journal(
            blocksize,
            &device,
            [OsStr::new("-L"), OsStr::from_bytes(label)],
        )
    }

    fn mke2journal_u(&mut self, blocksize: i32, uuid: &str, device: Device) -> Result<()> {
        make_journal(blocksize, &device, [OsStr::new("-U"), OsStr::new(uuid)])
    }

    fn mke2fs_j(
        &mut self,
        fstype: &str,
        blocksize: i32,
        device: Device,
        journal: Device,
    ) -> Result<()> {
        make_with_journal(fstype, blocksize, &device, journal.as_str().as_bytes())
    }

    fn mke2fs_jl(
        &mut self,
        fstype: &str,
        blocksize: i32,
        device: Device,
        label: &[u8],
    ) -> Result<()> {
        require_ext(fstype)?;
        labels::check_ext(label)?;
        make_with_journal(fstype, blocksize, &device, &[b"LABEL=", label].concat())
    }

    fn mke2fs_ju(
        &mut self,
        fstype: &str,
        blocksize: i32,
        device: Device,
        uuid: &str,
    ) -> Result<()> {
        let place = [b"UUID=", uuid.as_bytes()].concat();
        make_with_journal(fstype, blocksize, &device, &place)
    }
}

/// Options without which a type's program would ask questions, or refuse a whole disk, or take
/// hours.
fn unattended(fstype: &str) -> Result<&'static [&'static str]> {
    Ok(match fstype {
        kind if mke2fs::makes(kind) => &["-F"],
        // It would write zeroes to every block.
        "ntfs" => &["-Q", "-F"],
        "reiserfs" | "jfs" | "xfs" => &["-f"],
        "gfs" | "gfs2" => &["-p", "lock_nolock", "-j", "1", "-O"],
        // New versions put a partition table around it.
        "fat" | "vfat" | "msdos" if fat_knows_mbr()? => &["-I", "--mbr=n"],
        "fat" | "vfat" | "msdos" => &["-I"],
        _ => &[],
    })
}

fn fat_knows_mbr() -> Result<bool> {
    static KNOWS: OnceLock<bool> = OnceLock::new();
    if let Some(knows) = KNOWS.get() {
        return Ok(*knows);
    }
    // Without arguments it prints its usage.
    let usage = match Command::new("mkfs.fat").output() {
        Ok(output) => output.message(),
        Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(*KNOWS.get_or_init(|| usage.contains("--mbr")))
}

/// The option by which a type's program takes the block size.
fn block_size(devices: &Devices, fstype: &str, device: &Device, size: i32) -> Result<[String; 2]> {
    if !is_power_of_two(size) {
        return Err(Error::invalid("block size must be > 0 and a power of 2"));
    }
    let (name, value) = match fstype {
        "vfat" | "msdos" => {
            let file = devices.open(device, OFlag::O_RDONLY)?;
            let sector = ioctl::sector_size(&file)
                .ok()
                .and_then(|size| i32::try_from(size).ok())
                .filter(|size| *size > 0)
                .ok_or_else(|| Error::new(format!("{device}: unknown sector size")))?;
            let per_cluster = size / sector;
            if !(1..=128).contains(&per_cluster) {
                return Err(Error::invalid(format!(
                    "unsupported cluster size for {fstype} filesystem \
                     (requested cluster size = {size}, sector size = {sector}, \
                     trying sectors per cluster = {per_cluster})"
                )));
            }
            ("-s", per_cluster.to_string())
        }
        "ntfs" => ("-c", size.to_string()),
        "btrfs" => {
            return Err(Error::invalid(
                "blocksize cannot be set on btrfs filesystems, use 'mkfs-btrfs'",
            ));
        }
        "xfs" => ("-b", format!("size={size}")),
        _ => ("-b", size.to_string()),
    };
    Ok([name.to_owned(), value])
}

/// The option by which a type's program takes the label.
fn label_option(fstype: &str, label: &[u8]) -> Result<[OsString; 2]> {
    let name = match fstype {
        kind if mke2fs::makes(kind) => {
            labels::check_ext(label)?;
            "-L"
        }
        "xfs" => {
            labels::check_xfs(label)?;
            "-L"
        }
        "fat" | "vfat" | "msdos" => "-n",
        "ntfs" | "btrfs" => "-L",
        "f2fs" => "-l",
        other => {
            return Err(Error::not_supported(format!(
                "don't know how to set the label for '{other}' filesystems"
            )));
        }
    };
    Ok([name.into(), OsStr::from_bytes(label).to_owned()])
}

fn make_journal<'a>(
    blocksize: i32,
    device: &Device,
    options: impl IntoIterator<Item = &'a OsStr>,
) -> Result<()> {
    wipe::prepare(device);
    Command::new("mke2fs")
        .args(["-F", "-O", "journal_dev", "-b"])
        .arg(blocksize.to_string())
        .args(options)
        .operands([device.path()])
        .run()
        .context(device)
        .map(drop)
}

fn make_with_journal(fstype: &str, blocksize: i32, device: &Device, journal: &[u8]) -> Result<()> {
    require_ext(fstype)?;
    let journal = journal_option(journal)?;
    wipe::prepare(device);
    Command::new("mke2fs")
        .args(["-F", "-t", fstype, "-J"])
        .arg(journal)
        .arg("-b")
        .arg(blocksize.to_string())
        .operands([device.path()])
        .run()
        .context(device)
        .map(drop)
}

fn is_power_of_two(value: i32) -> bool {
    u32::try_from(value).is_ok_and(u32::is_power_of_two)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_sizes_are_checked() {
        assert!(label_option("minix", b"x").is_err());
        assert!(label_option("ext4", b"12345678901234567").is_err());
        assert!(!is_power_of_two(0) && !is_power_of_two(-8) && !is_power_of_two(1000));
    }
}
