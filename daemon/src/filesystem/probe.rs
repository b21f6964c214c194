//! Handlers of `idl/filesystem/probe.idl`.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statvfs::fstatvfs;
use protocol::api::{Feature, Isoinfo, ProbeActions, Statvfs};
use protocol::{Context, Device, Error, GuestPath, Host, Mountable, Result};

use super::partitions::{self, Partition};
use super::{iso9660, listing, mapper, minimum_size, superblock};
use crate::command::Command;
use crate::daemon::Daemon;
use crate::{logging, udev};

impl ProbeActions for Daemon {
    fn list_filesystems(&mut self) -> Result<Vec<(Mountable, Vec<u8>)>> {
        listing::filesystems(self.superblocks())
    }

    fn vfs_type(&mut self, mountable: Mountable) -> Result<String> {
        self.superblocks().kind(mountable.device())
    }

    fn vfs_label(&mut self, mountable: Mountable) -> Result<Vec<u8>> {
        let device = mountable.device();
        let [kind, label] = self.superblocks().tags(device, ["TYPE", "LABEL"])?;
        // libblkid leaves out white space at the end.
        match kind.as_deref() {
            Some(b"btrfs") => self.btrfs_label(device),
            Some(b"ntfs") if self.feature_available(Feature::Ntfsprogs) => {
                // It does not know `--`; a device's path is no option.
                let command = Command::new("ntfslabel").arg(device.path());
                Ok(without_line_end(command.run().context(device)?.stdout))
            }
            _ => Ok(label.unwrap_or_default()),
        }
    }

    fn vfs_uuid(&mut self, mountable: Mountable) -> Result<String> {
        let uuid = self
            .superblocks()
            .tag(mountable.device(), "UUID")?
            .unwrap_or_default();
        Ok(String::from_utf8_lossy(&uuid).into_owned())
    }

    fn vfs_minimum_size(&mut self, mountable: Mountable) -> Result<i64> {
        let device = mountable.device();
        match self.superblocks().kind(device)?.as_str() {
            kind if superblock::is_ext(kind) => minimum_size::ext(&self.devices, device),
            "ntfs" => minimum_size::ntfs(device),
            "btrfs" => minimum_size::btrfs(device, &self.must_be_mounted(device)?),
            "xfs" => minimum_size::xfs(device, &self.must_be_mounted(device)?),
            kind => Err(Error::not_supported(format!(
                "{device}: don't know how to get minimum size of '{kind}' filesystems"
            ))),
        }
    }

    fn findfs_uuid(&mut self, uuid: &str) -> Result<Device> {
        self.find_device("UUID", uuid.as_bytes())
    }

    fn findfs_label(&mut self, label: &[u8]) -> Result<Device> {
        self.find_device("LABEL", label)
    }

    fn findfs_partuuid(&mut self, uuid: &str) -> Result<Device> {
        self.find_partition("PARTUUID", uuid, |partition| partition.has_uuid(uuid))
    }

    fn findfs_partlabel(&mut self, label: &[u8]) -> Result<Device> {
        let shown = String::from_utf8_lossy(label);
        self.find_partition("PARTLABEL", &shown, |partition| partition.has_name(label))
    }

    fn blkid(&mut self, device: Device) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.superblocks().all(&device)
    }

    fn statvfs(&mut self, path: GuestPath) -> Result<Statvfs> {
        let stat = fstatvfs(&self.guest.handle(&path)?).context(path)?;
        Ok(Statvfs {
            bsize: stat.block_size().cast_signed(),
            frsize: stat.fragment_size().cast_signed(),
            blocks: stat.blocks().cast_signed(),
            bfree: stat.blocks_free().cast_signed(),
            bavail: stat.blocks_available().cast_signed(),
            files: stat.files().cast_signed(),
            ffree: stat.files_free().cast_signed(),
            favail: stat.files_available().cast_signed(),
            fsid: stat.filesystem_id().cast_signed(),
            flag: stat.flags().bits().cast_signed(),
            namemax: stat.name_max().cast_signed(),
        })
    }

    fn df(&mut self) -> Result<Vec<u8>> {
        self.guest.require_root()?;
        Ok(Command::new("df").run()?.stdout)
    }

    fn df_h(&mut self) -> Result<Vec<u8>> {
        self.guest.require_root()?;
        Ok(Command::new("df").arg("-h").run()?.stdout)
    }

    fn isoinfo(&mut self, isofile: GuestPath) -> Result<Isoinfo> {
        let file = self.guest.open_regular(&isofile, OFlag::O_RDONLY)?;
        iso9660::read(&file, &isofile)
    }

    fn isoinfo_device(&mut self, device: Device) -> Result<Isoinfo> {
        let file = self.devices.open(&device, OFlag::O_RDONLY)?;
        iso9660::read(&file, &device)
    }
}

impl Daemon {
    fn must_be_mounted(&self, device: &Device) -> Result<File> {
        self.top_of(device)?
            .ok_or_else(|| Error::new(format!("device not mounted: {device}")))
    }

    /// The first device on which something has a tag of this value.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(crate) fn find_device(&self, tag: &str, value: &[u8]) -> Result<Device> {
        let superblocks = self.superblocks();
        if !superblocks.have_library()? {
            return findfs(tag, value);
        }
        // What is mapped or assembled is meant before what it is made of.
        let mut candidates = mapper::devices()?;
        candidates.extend(self.devices.md_devices()?);
        candidates.extend(self.devices.disks()?);
        candidates.extend(self.devices.partitions()?);
        for device in candidates {
            match superblocks.tag(&device, tag) {
                Ok(Some(found)) if found == value => {
                    return Ok(mapper::logical_volume(&device).unwrap_or(device));
                }
                Ok(_) => {}
                Err(error) => logging::warning(format_args!("findfs: {error}")),
            }
        }
        Err(Error::new(format!(
            "no device has {tag}={}",
            String::from_utf8_lossy(value)
        )))
    }

    fn find_partition(
        &self,
        tag: &str,
        value: &str,
        is_wanted: impl Fn(&Partition) -> bool,
    ) -> Result<Device> {
        for disk in self
            .devices
            .disks()?
            .iter()
            .chain(&self.devices.md_devices()?)
        {
            let found = partitions::of(&self.devices, &self.workers, disk)?;
            if let Some(partition) = found.into_iter().find(&is_wanted) {
                return Ok(partition.device);
            }
        }
        Err(Error::with_errno(
            Errno::ENOENT,
            format!("no partition has {tag}={value}"),
        ))
    }
}

/// A label as a tool prints it; what other line ends are in it are its own.
fn without_line_end(mut label: Vec<u8>) -> Vec<u8> {
    if label.last() == Some(&b'\n') {
        label.pop();
    }
    label
}

/// The device with a tag, in an appliance without libblkid's library.
fn findfs(tag: &str, value: &[u8]) -> Result<Device> {
    // It looks at udev's names first, which may not have caught up with the last change.
    udev::settle();
    let wanted = OsString::from_vec([tag.as_bytes(), b"=", value].concat());
    let out = Command::new("findfs")
        // Its cache may be older than what is on the devices.
        .env("BLKID_FILE", "/dev/null")
        .status_in_error()
        // It does not know `--`; what is wanted begins with its tag.
        .arg(wanted)
        .run()?
        .stdout;
    let device = Device::new(String::from_utf8_lossy(&out).trim());
    Ok(mapper::logical_volume(&device).unwrap_or(device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn labels_from_all_versions_of_the_tool() {
        for (what, expected) in [("label", &b"plain"[..]), ("label-names", b"a\nb,\"c\\ d")] {
            for captured in outputs("ntfs-3g", what) {
                let label = without_line_end(captured.bytes);
                assert_eq!(label, expected, "{}", captured.version);
            }
        }
    }
}
