//! Disks and partitions by name.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::DevicesActions;
use protocol::{Context, Device, Error, Result};

use crate::{Daemon, udev};

/// Where udev keeps links to the disks that were added under a label.
const LABELS: &str = "/dev/disk/guestfs";

/// How long a disk may take to appear or to go.
const HOT_PLUG_LIMIT: Duration = Duration::from_secs(30);
const HOT_PLUG_STEP: Duration = Duration::from_millis(100);

impl DevicesActions for Daemon {
    fn list_devices(&mut self) -> Result<Vec<Device>> {
        self.devices.disks()
    }

    fn list_partitions(&mut self) -> Result<Vec<Device>> {
        self.devices.partitions()
    }

    fn part_to_dev(&mut self, partition: Device) -> Result<Device> {
        match self.devices.split(&partition) {
            (disk, Some(_)) => Ok(disk),
            (_, None) => Err(not_a_partition()),
        }
    }

    fn part_to_partnum(&mut self, partition: Device) -> Result<i32> {
        let (_, number) = self.devices.split(&partition);
        let number = number.ok_or_else(not_a_partition)?;
        i32::try_from(number).map_err(|_| not_a_partition())
    }

    fn device_index(&mut self, device: Device) -> Result<i32> {
        let disks = self.devices.disks()?;
        disks
            .iter()
            .position(|disk| *disk == device)
            .and_then(|index| i32::try_from(index).ok())
            .ok_or_else(|| Error::with_errno(Errno::ENODEV, format!("{device}: device not found")))
    }

    fn nr_devices(&mut self) -> Result<i32> {
        let count = self.devices.disks()?.len();
        i32::try_from(count).map_err(|_| Error::from(Errno::EOVERFLOW))
    }

    fn list_disk_labels(&mut self) -> Result<Vec<(Vec<u8>, Device)>> {
        let entries = match std::fs::read_dir(LABELS) {
            Ok(entries) => entries,
            // udev makes the directory with the first label.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(LABELS),
        };
        let mut labels = Vec::new();
        for entry in entries {
            let entry = entry.context(LABELS)?;
            let label = entry.file_name().into_encoded_bytes();
            if label.starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let target = path.canonicalize().context(path.display())?;
            let target = target.to_str().ok_or_else(|| {
                Error::new(format!("{}: not the name of a device", target.display()))
            })?;
            labels.push((label, Device::new(target)));
        }
        labels.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(labels)
    }

    fn internal_hot_add_drive(&mut self, label: &[u8]) -> Result<()> {
        let link = label_link(label)?;
        self.wait_for(&link, true)
    }

    fn internal_hot_remove_drive_precheck(&mut self, label: &[u8]) -> Result<()> {
        let link = label_link(label)?;
        let path = link.canonicalize().context(link.display())?;
        let path = path.display().to_string();
        let name = self.devices.name_of(&path);
        let device = Device::named(path, name);
        udev::settle();
        // Refused while the disk, a partition of it or something made of them is in use.
        let disk = self
            .devices
            .open(&device, OFlag::O_RDONLY | OFlag::O_EXCL)
            .context("the drive cannot be removed")?;
        disk.sync_all().context(device)
    }

    fn internal_hot_remove_drive(&mut self, label: &[u8]) -> Result<()> {
        let link = label_link(label)?;
        self.wait_for(&link, false)
    }

    fn is_whole_device(&mut self, device: Device) -> Result<bool> {
        Ok(self.devices.is_whole(&device))
    }
}

impl Daemon {
    /// Waits for the link of a labelled disk to appear, or to go.
    fn wait_for(&self, link: &Path, there: bool) -> Result<()> {
        let deadline = Instant::now() + HOT_PLUG_LIMIT;
        loop {
            udev::settle();
            if link.exists() == there {
                self.devices.forget();
                return Ok(());
            }
            if Instant::now() >= deadline {
                let verb = if there { "appear" } else { "go away" };
                return Err(Error::with_errno(
                    Errno::ETIMEDOUT,
                    format!(
                        "the drive '{}' did not {verb} within {} seconds",
                        link.display(),
                        HOT_PLUG_LIMIT.as_secs()
                    ),
                ));
            }
            thread::sleep(HOT_PLUG_STEP);
        }
    }
}

/// The link of a label; the library only sends labels of letters.
fn label_link(label: &[u8]) -> Result<PathBuf> {
    match std::str::from_utf8(label) {
        Ok(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(Path::new(LABELS).join(text))
        }
        _ => Err(Error::with_errno(
            Errno::EINVAL,
            format!("{}: not a drive label", String::from_utf8_lossy(label)),
        )),
    }
}

fn not_a_partition() -> Error {
    Error::new("device name is not a partition")
}
