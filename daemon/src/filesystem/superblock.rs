//! What is on a device, as libblkid sees it.

mod program;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};
use protocol::api::worker_blkid::BlkidClient;
use protocol::{Context, Device, Error, Result};

use super::mapper;
use crate::daemon::Daemon;
use crate::devices::Devices;
use crate::logging;
use crate::worker::Workers;

type Tags = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads what is on devices, through libblkid in its worker; the `blkid` program does where the
/// appliance has no libblkid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Superblocks<'a> {
    devices: &'a Devices,
    workers: &'a Workers,
}

impl Daemon {
    /// What is on devices.
    pub(crate) fn superblocks(&self) -> Superblocks<'_> {
        Superblocks {
            devices: &self.devices,
            workers: &self.workers,
        }
    }
}

impl<'a> Superblocks<'a> {
    /// The devices of the appliance.
    pub(crate) fn devices(&self) -> &'a Devices {
        self.devices
    }

    /// The processes that read them.
    pub(crate) fn workers(&self) -> &'a Workers {
        self.workers
    }

    /// Whether they are read through the library.
    ///
    /// # Errors
    ///
    /// When its worker cannot be started now.
    pub(crate) fn have_library(&self) -> Result<bool> {
        Ok(self.workers.blkid()?.is_some())
    }

    /// The type of what is on a device; empty if it is nothing that is known.
    ///
    /// # Errors
    ///
    /// When the device cannot be read.
    pub(crate) fn kind(&self, device: &Device) -> Result<String> {
        let kind = self.tag(device, "TYPE")?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&kind).into_owned())
    }

    /// One of the tags that libblkid finds, such as `TYPE` or `UUID`.
    ///
    /// # Errors
    ///
    /// When the device cannot be read.
    pub(crate) fn tag(&self, device: &Device, tag: &str) -> Result<Option<Vec<u8>>> {
        self.tags(device, [tag]).map(|[value]| value)
    }

    /// Several of them, for which the device is read once.
    ///
    /// # Errors
    ///
    /// As for [`Superblocks::tag`].
    pub(crate) fn tags<const N: usize>(
        &self,
        device: &Device,
        tags: [&str; N],
    ) -> Result<[Option<Vec<u8>>; N]> {
        let mut values = [const { None }; N];
        if mapper::is_private(device) {
            return Ok(values);
        }
        let file = self.devices.open(device, OFlag::O_RDONLY)?;
        let Some(mut worker) = self.workers.blkid()? else {
            for (value, tag) in values.iter_mut().zip(tags) {
                *value = program::tag(device, tag)?;
            }
            return Ok(values);
        };
        let found = BlkidClient(&mut *worker)
            .find(file.as_fd())
            .context(device)?;
        for (name, found) in found {
            for (value, _) in values
                .iter_mut()
                .zip(tags)
                .filter(|(value, tag)| value.is_none() && name == tag.as_bytes())
            {
                *value = Some(found.clone());
            }
        }
        Ok(values)
    }

    /// The types of what is on several devices; empty where it is nothing that is known, or cannot
    /// be read.
    ///
    /// # Errors
    ///
    /// When the `blkid` program cannot be run.
    pub(crate) fn kinds(&self, devices: &[Device]) -> Result<Vec<String>> {
        if !devices.is_empty() && !self.have_library()? {
            return program::kinds(devices);
        }
        let kind = |device| {
            self.kind(device).unwrap_or_else(|error| {
                logging::warning(format_args!("{error}"));
                String::new()
            })
        };
        Ok(devices.iter().map(kind).collect())
    }

    /// Everything that a thorough probe of a device finds, in the order and the form of the
    /// `blkid` program.
    ///
    /// # Errors
    ///
    /// When nothing is found, or the signatures of several things.
    pub(crate) fn all(&self, device: &Device) -> Result<Tags> {
        let file = self.devices.open(device, OFlag::O_RDONLY)?;
        let Some(mut worker) = self.workers.blkid()? else {
            return program::all(device);
        };
        let mut client = BlkidClient(&mut *worker);
        let place = Place::of(&file);
        let mut tags = if mapper::is_private(device) {
            Vec::new()
        } else {
            client
                .find_all(file.as_fd(), place.is_none())
                .context(device)?
        };
        if let Some(Place { start, size }) = place {
            let (disk, _) = self.devices.split(device);
            let disk = self.devices.open(&disk, OFlag::O_RDONLY)?;
            tags.extend(
                client
                    .find_entry(disk.as_fd(), start, size)
                    .context(device)?,
            );
        }
        if tags.is_empty() {
            return Err(Error::new(format!("{device}: nothing is recognised on it")));
        }
        for (_, value) in &mut tags {
            *value = escaped(value);
        }
        let name = (b"DEVNAME".to_vec(), device.name().as_bytes().to_vec());
        tags.insert(0, name);
        Ok(tags)
    }
}

/// Where the kernel has a partition on its disk, in units of 512 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    start: i64,
    size: i64,
}

impl Place {
    /// `None` if the device is no partition.
    fn of(device: &File) -> Option<Self> {
        let number = device.metadata().ok()?.rdev();
        let dir = PathBuf::from(format!(
            "/sys/dev/block/{}:{}",
            major(number),
            minor(number)
        ));
        let read = |name| {
            let text = std::fs::read_to_string(dir.join(name)).ok()?;
            text.trim_end().parse().ok()
        };
        read("partition")?;
        Some(Self {
            start: read("start")?,
            size: read("size")?,
        })
    }
}

/// A value as the `blkid` program prints it for scripts.
pub(crate) fn escaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        if byte >= 0x80 {
            out.extend(b"M-");
        }
        match byte & 0x7f {
            low @ (..b' ' | 0x7f) => out.extend([b'^', low ^ 0x40]),
            low => {
                if b" \\\"'$`<>".contains(&low) {
                    out.push(b'\\');
                }
                out.push(low);
            }
        }
    }
    out
}

/// Whether a type, as libblkid names it, is of the ext family.
pub(crate) fn is_ext(kind: &str) -> bool {
    matches!(kind, "ext2" | "ext3" | "ext4" | "ext4dev")
}

/// The block size of an ext2, ext3 or ext4 filesystem, in bytes.
///
/// # Errors
///
/// EINVAL if what stands there makes no sense; the errno of reading.
pub(crate) fn ext_block_size(devices: &Devices, device: &Device) -> Result<i64> {
    const SUPERBLOCK: u64 = 1024;
    const LOG_BLOCK_SIZE: u64 = 24;
    use std::os::unix::fs::FileExt;
    let mut log = [0; 4];
    devices
        .open(device, OFlag::O_RDONLY)?
        .read_exact_at(&mut log, SUPERBLOCK + LOG_BLOCK_SIZE)
        .context(device)?;
    match u32::from_le_bytes(log) {
        log @ 0..=6 => Ok(1024 << log),
        _ => Err(Error::with_errno(
            Errno::EINVAL,
            format!("{device}: the superblock has an unknown block size"),
        )),
    }
}
