//! The appliance's block devices, and the names that callers have for them.
//!
//! Callers number disks in the order in which they added them: `/dev/sda`,
//! `/dev/sdb` and so on. The kernel may have found them in another order or
//! named them otherwise (`/dev/vda`), so each name is translated on its way in
//! and back on its way out. The order is that of the bus positions, which udev
//! keeps in `/dev/disk/by-path`.

mod names;
mod translate;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use protocol::{Context, Device, Error, Result};

use crate::{guest, logging, udev};

/// Where udev keeps the disks' bus positions.
const BY_PATH: &str = "dev/disk/by-path";

/// Kernel names that the disks of an appliance have.
const DISK_KINDS: [&str; 7] = ["sd", "hd", "ubd", "vd", "sr", "xvd", "nvme"];

/// The block devices, looked up when they are first needed.
#[derive(Debug)]
pub struct Devices {
    /// `/`, except in tests.
    tree: PathBuf,
    /// The filesystem that the appliance itself runs from.
    appliance: Option<u64>,
    /// Disks in the callers' order: their paths in the appliance.
    order: RefCell<Option<Rc<[String]>>>,
}

impl Default for Devices {
    fn default() -> Self {
        Self::new()
    }
}

impl Devices {
    /// The devices of this appliance.
    pub fn new() -> Self {
        Self::in_tree("/")
    }

    fn in_tree(tree: impl Into<PathBuf>) -> Self {
        Self {
            tree: tree.into(),
            appliance: std::fs::metadata("/").ok().map(|meta| meta.dev()),
            order: RefCell::new(None),
        }
    }

    /// Looks for the disks again when they are next needed: one was added or removed.
    pub fn forget(&self) {
        self.order.replace(None);
    }

    /// The disks that the caller added, in that order.
    ///
    /// # Errors
    ///
    /// When the kernel's list cannot be read.
    pub fn disks(&self) -> Result<Vec<Device>> {
        let disks = self.order()?;
        Ok(disks
            .iter()
            .filter(|path| is_disk_kind(path) && self.has_medium(path))
            .map(Device::new)
            .collect())
    }

    /// The partitions of all disks and MD devices.
    ///
    /// # Errors
    ///
    /// When the kernel's lists cannot be read.
    pub fn partitions(&self) -> Result<Vec<Device>> {
        let mut all = Vec::new();
        for device in self.disks()?.iter().chain(&self.md_devices()?) {
            all.extend(self.partitions_of(device)?);
        }
        Ok(all)
    }

    /// The partitions of one device that the kernel knows, by their numbers.
    ///
    /// # Errors
    ///
    /// When the kernel's list cannot be read.
    pub fn partitions_of(&self, device: &Device) -> Result<Vec<Device>> {
        let name = names::base(device.as_str());
        let dir = self.sys_block().join(name);
        let mut found: Vec<(u32, Device)> = Vec::new();
        for entry in std::fs::read_dir(&dir).context(device)? {
            let entry = entry.context(device)?.file_name();
            if let Some(entry) = entry.to_str()
                && let Some(number) = names::partition_number(name, entry)
            {
                found.push((number, Device::new(format!("/dev/{entry}"))));
            }
        }
        found.sort_by_key(|(number, _)| *number);
        Ok(found.into_iter().map(|(_, device)| device).collect())
    }

    /// The MD (software RAID) devices that are assembled.
    ///
    /// # Errors
    ///
    /// When the kernel's list cannot be read.
    pub fn md_devices(&self) -> Result<Vec<Device>> {
        let mut names = self.kernel_names()?;
        names.retain(|name| names::is_md(name));
        Ok(names
            .iter()
            .map(|name| Device::new(format!("/dev/{name}")))
            .collect())
    }

    /// Opens a device.
    ///
    /// # Errors
    ///
    /// EISDIR if it is a directory, as that of a volume group; ENOTBLK if it is anything else but
    /// a block device; the errno of the system call.
    pub fn open(&self, device: &Device, flags: OFlag) -> Result<File> {
        // Looked at before it is opened: opening a terminal or a tape does something.
        let path = self.node(device.as_str());
        let handle =
            open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).context(device)?;
        match guest::file_type(&fstat(&handle).context(device)?) {
            SFlag::S_IFBLK => guest::reopen(&handle, flags).context(device),
            SFlag::S_IFDIR => Err(Errno::EISDIR)
                .context(format_args!("its devices are named like {device}/NAME"))
                .context(device),
            _ => Err(Error::with_errno(
                Errno::ENOTBLK,
                format!("{device}: not a block device"),
            )),
        }
    }

    /// Whether the device is a disk of its own: not a partition, and not made
    /// of other devices.
    pub fn is_whole(&self, device: &Device) -> bool {
        let name = names::base(device.as_str());
        self.sys_block().join(name).join("device").exists()
    }

    /// A partition as its disk and its number; any other device as itself.
    pub fn split(&self, device: &Device) -> (Device, Option<u32>) {
        let whole = || (device.clone(), None);
        let name = names::base(device.as_str());
        if name.contains('/') {
            return match self.split_link(device.as_str()) {
                Some((disk, number)) => (disk, Some(number)),
                None => whole(),
            };
        }
        if self.sys_block().join(name).exists() {
            return whole();
        }
        match names::split(name) {
            Some((disk, number)) => (
                Device::named(
                    format!("/dev/{disk}"),
                    names::split(names::base(device.name())).map_or_else(
                        || format!("/dev/{disk}"),
                        |(disk, _)| format!("/dev/{disk}"),
                    ),
                ),
                Some(number),
            ),
            None => whole(),
        }
    }

    /// The same for a link, which udev makes to the partitions of a disk with a label
    /// or of an array with a name.
    fn split_link(&self, path: &str) -> Option<(Device, u32)> {
        let (disk, number) = match self.target(&self.node(path)) {
            Some(target) if !names::base(&target).contains('/') => self.split(&Device::new(target)),
            _ => return None,
        };
        let number = number?;
        let link = path.strip_suffix(&number.to_string());
        let link = link.filter(|link| {
            self.target(&self.node(link))
                .is_some_and(|target| target == disk.as_str())
        });
        Some((link.map_or(disk, Device::new), number))
    }

    /// Flushes the caches that the kernel and the hypervisor have for the disks.
    pub fn flush(&self) {
        let names = match self.kernel_names() {
            Ok(names) => names,
            Err(error) => return logging::warning(format_args!("sync: {error}")),
        };
        for name in names.iter().filter(|name| is_disk_kind(name)) {
            let path = self.tree.join("dev").join(name);
            if std::fs::metadata(&path).is_ok_and(|meta| Some(meta.rdev()) == self.appliance) {
                continue;
            }
            // A drive without a medium has nothing to flush.
            if let Ok(file) = File::open(&path)
                && let Err(error) = file.sync_all()
            {
                logging::warning(format_args!("fsync: /dev/{name}: {error}"));
            }
        }
    }

    fn order(&self) -> Result<Rc<[String]>> {
        if let Some(order) = self.order.borrow().as_ref() {
            return Ok(Rc::clone(order));
        }
        // The disks may have been found just now, in parallel with our start.
        udev::settle();
        let order: Rc<[String]> = self.find_disks()?.into();
        self.order.replace(Some(Rc::clone(&order)));
        Ok(order)
    }

    fn find_disks(&self) -> Result<Vec<String>> {
        let mut paths = self.disks_by_path();
        if paths.is_empty() {
            paths = self.kernel_names()?;
            paths.retain(|name| is_disk_kind(name));
            for name in &mut paths {
                name.insert_str(0, "/dev/");
            }
        }
        paths.retain(|path| {
            std::fs::metadata(self.node(path))
                .is_ok_and(|meta| self.is_usable(&meta, path) && meta.file_type().is_block_device())
        });
        Ok(paths)
    }

    fn disks_by_path(&self) -> Vec<String> {
        let dir = self.tree.join(BY_PATH);
        let Ok(entries) = std::fs::read_dir(&dir) else {
            return Vec::new();
        };
        let mut links: Vec<Vec<u8>> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().as_bytes().to_vec()))
            .filter(|name| !name.windows(5).any(|part| part == b"-part"))
            .collect();
        links.sort_by(|a, b| names::compare_versions(a, b));
        let mut disks: Vec<String> = Vec::new();
        for link in links {
            if let Some(path) = self.target(&dir.join(OsStr::from_bytes(&link)))
                // udev gives some disks two names.
                && !disks.contains(&path)
            {
                disks.push(path);
            }
        }
        disks
    }

    /// The device that a link leads to.
    fn target(&self, link: &Path) -> Option<String> {
        let target = link.canonicalize().ok()?;
        let below = target.strip_prefix(&self.tree).ok()?.to_str()?;
        Some(format!("/{below}")).filter(|path| path.starts_with("/dev/"))
    }

    /// All block devices that are no partitions, in the order `sda`, `sdb`, ..., `sdaa`.
    fn kernel_names(&self) -> Result<Vec<String>> {
        let dir = self.sys_block();
        let mut names: Vec<String> = std::fs::read_dir(&dir)
            .context(dir.display())?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_by(|a, b| names::compare_devices(a, b));
        Ok(names)
    }

    /// A disk-like device, or a directory of them (callers may name a volume
    /// group so), but not what the appliance runs from.
    fn is_usable(&self, meta: &std::fs::Metadata, path: &str) -> bool {
        if meta.is_dir() {
            return path.len() > "/dev/".len();
        }
        meta.file_type().is_block_device() && Some(meta.rdev()) != self.appliance
    }

    /// Drives for removable media are there without one; callers do not expect them.
    fn has_medium(&self, path: &str) -> bool {
        !names::base(path).starts_with("sr") || File::open(self.node(path)).is_ok()
    }

    /// Where a path of the appliance is in this tree.
    fn node(&self, path: &str) -> PathBuf {
        self.tree.join(path.trim_start_matches('/'))
    }

    fn sys_block(&self) -> PathBuf {
        self.tree.join("sys/block")
    }
}

fn is_disk_kind(path: &str) -> bool {
    let name = names::base(path);
    DISK_KINDS.iter().any(|kind| name.starts_with(kind))
}
