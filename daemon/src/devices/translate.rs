//! Callers' names for devices, and the appliance's.

use std::path::{Component, Path};

use nix::errno::Errno;
use protocol::{Context, Device, Error, Result};

use super::{Devices, names};
use crate::{logging, udev};

impl Devices {
    /// The device that the caller calls `name`.
    ///
    /// # Errors
    ///
    /// ENOENT if there is none; EINVAL if it is no block device, or the
    /// appliance's own.
    pub fn translate(&self, name: &str) -> Result<Device> {
        if !is_sane(name) {
            return Err(expecting_device(name));
        }
        match self.look_up(name) {
            // The kernel may still be announcing a device that was just made.
            Err(error) if error.errno() == Some(Errno::ENOENT) && udev::settle() => {
                self.order.replace(None);
                self.look_up(name)
            }
            result => result,
        }
    }

    fn look_up(&self, name: &str) -> Result<Device> {
        let translated = self.translated(name)?;
        if translated.is_none() && self.has_another_name(name) {
            // Where the kernel found the appliance's disk last, as it mostly does, this is its
            // name, and it has no partitions: callers are told the same in any order.
            return Err(match names::split(names::base(name)) {
                Some(_) => Error::os(Errno::ENOENT, name),
                None => expecting_device(name),
            });
        }
        let path = translated.as_deref().unwrap_or(name);
        if path != name {
            logging::debug(format_args!("device name translated: {name} -> {path}"));
        }
        match std::fs::metadata(self.node(path)) {
            Ok(meta) if self.is_usable(&meta, path) => Ok(Device::named(path, name)),
            Ok(_) => Err(expecting_device(name)),
            Err(error) => {
                // Appliances without by-path names, or before udev made them.
                if let Some(rest) = name.strip_prefix("/dev/sd") {
                    for kind in ["vd", "hd", "ubd"] {
                        let path = format!("/dev/{kind}{rest}");
                        if let Ok(meta) = std::fs::metadata(self.node(&path))
                            && self.is_usable(&meta, &path)
                            && !self.has_another_name(&path)
                        {
                            return Ok(Device::named(path, name));
                        }
                    }
                }
                Err(error).context(name)
            }
        }
    }

    /// Whether callers have another name for what the kernel calls `path`. It must
    /// not be two disks to them, or what they do to one happens to the other.
    fn has_another_name(&self, path: &str) -> bool {
        self.name_of(path) != path
    }

    /// Whether a caller means a device by `name`, not a path in the guest.
    pub fn is_name(&self, name: &[u8]) -> bool {
        // Names like these are translated, so what the kernel has does not count.
        if name.starts_with(b"/dev/sd") {
            return true;
        }
        let Ok(name) = std::str::from_utf8(name) else {
            return false;
        };
        if !is_sane(name) {
            return false;
        }
        if self.translated(name).is_ok_and(|path| path.is_some()) {
            return true;
        }
        std::fs::metadata(self.node(name)).is_ok_and(|meta| self.is_usable(&meta, name))
    }

    /// The caller's name for a device of the appliance.
    pub fn name_of(&self, path: &str) -> String {
        let Some(disks) = path
            .starts_with("/dev/")
            .then(|| self.order().ok())
            .flatten()
        else {
            return path.to_owned();
        };
        for (index, disk) in disks.iter().enumerate() {
            let partition = match path.strip_prefix(disk.as_str()) {
                Some("") => String::new(),
                Some(_) => match names::partition_number(names::base(disk), names::base(path)) {
                    Some(number) => number.to_string(),
                    None => continue,
                },
                None => continue,
            };
            let name = format!("/dev/sd{}{partition}", names::drive_name(index));
            if name != path {
                logging::debug(format_args!(
                    "reverse device name translated: {path} -> {name}"
                ));
            }
            return name;
        }
        path.to_owned()
    }

    /// What a program said, with the callers' names for the devices in it.
    pub fn with_callers_names(&self, said: &str) -> String {
        let mut out = String::with_capacity(said.len());
        let mut rest = said;
        while let Some(start) = rest.find("/dev/") {
            let (before, name) = rest.split_at(start);
            out.push_str(before);
            let end = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '/' | '_' | '-');
            let (name, after) = name.split_at(name.find(end).unwrap_or(name.len()));
            out.push_str(&self.name_of(name));
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// `/dev/sdb1` and its like as the kernel's name; `None` if it is no such
    /// name, or there is no such disk.
    fn translated(&self, name: &str) -> Result<Option<String>> {
        let Some((index, partition)) = names::alias(name) else {
            return Ok(None);
        };
        let disks = self.order()?;
        Ok(disks.get(index).map(|disk| match partition {
            "" => disk.clone(),
            number if disk.ends_with(|c: char| c.is_ascii_digit()) => format!("{disk}p{number}"),
            number => format!("{disk}{number}"),
        }))
    }
}

/// Below `/dev`, and without a way out of it.
fn is_sane(name: &str) -> bool {
    name.starts_with("/dev/")
        && !name.contains('\0')
        && !Path::new(name)
            .components()
            .any(|part| part == Component::ParentDir)
}

fn expecting_device(name: &str) -> Error {
    Error::with_errno(Errno::EINVAL, format!("{name}: expecting a device name"))
}
