//! Devices of device-mapper, by the names that callers have for them.

use std::path::PathBuf;

use nix::sys::stat::{major, minor};
use protocol::{Context, Device, Result};

const DIRECTORY: &str = "/dev/mapper";

/// What the kernel says of a device of device-mapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// Its name below `/dev/mapper`.
    pub(crate) name: String,
    /// Who made it: `LVM-...`, `CRYPT-...`, or nothing.
    pub(crate) uuid: String,
}

/// What device-mapper knows of a device; `None` if it is none of its own.
pub(crate) fn mapped(device: &Device) -> Option<Mapped> {
    use std::os::unix::fs::MetadataExt;
    let number = std::fs::metadata(device.path()).ok()?.rdev();
    let dir = PathBuf::from(format!(
        "/sys/dev/block/{}:{}/dm",
        major(number),
        minor(number)
    ));
    let read = |name| std::fs::read_to_string(dir.join(name));
    Some(Mapped {
        name: one_line(&read("name").ok()?).to_owned(),
        uuid: read("uuid").unwrap_or_default().trim_end().to_owned(),
    })
}

/// Whether device-mapper has a device of this name, which can be another than that of its node.
pub(crate) fn is_taken(name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir("/sys/block") else {
        return false;
    };
    entries.filter_map(std::io::Result::ok).any(|entry| {
        std::fs::read_to_string(entry.path().join("dm/name"))
            .is_ok_and(|other| one_line(&other) == name)
    })
}

/// What the kernel shows as a line. A name may end in a space, and is another one then.
fn one_line(shown: &str) -> &str {
    shown.strip_suffix('\n').unwrap_or(shown)
}

/// A logical volume as `/dev/VG/LV`; `None` if the device is none.
pub(crate) fn logical_volume(device: &Device) -> Option<Device> {
    // Names of other devices need no look at the kernel's list.
    if !device.as_str().starts_with("/dev/mapper/") && !device.as_str().starts_with("/dev/dm-") {
        return None;
    }
    let mapped = mapped(device)?;
    mapped.uuid.strip_prefix("LVM-")?;
    let (group, volume) = split(&mapped.name)?;
    Some(Device::new(format!("/dev/{group}/{volume}")))
}

/// Whether it is a part of another device that is for device-mapper alone, such as the metadata of
/// a pool: what is on it is on the other one.
pub(crate) fn is_private(device: &Device) -> bool {
    if !device.as_str().starts_with("/dev/mapper/") && !device.as_str().starts_with("/dev/dm-") {
        return false;
    }
    mapped(device).is_some_and(|mapped| is_private_uuid(&mapped.uuid))
}

/// LVM puts `-KIND` behind the UUID of what it keeps for itself.
fn is_private_uuid(uuid: &str) -> bool {
    match uuid.strip_prefix("LVM-") {
        Some(rest) => rest
            .rsplit_once('-')
            .is_some_and(|(_, kind)| !kind.is_empty()),
        None => uuid.starts_with("stratis-1-private"),
    }
}

/// The names below `/dev/mapper`, sorted, as devices.
///
/// # Errors
///
/// When the directory is there and cannot be read.
pub(crate) fn devices() -> Result<Vec<Device>> {
    let entries = match std::fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(DIRECTORY),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "control")
        .collect();
    names.sort();
    Ok(names
        .into_iter()
        .map(|name| Device::new(format!("{DIRECTORY}/{name}")))
        .collect())
}

/// `VG-LV`, where each dash of a name itself is written twice.
fn split(name: &str) -> Option<(String, String)> {
    let bytes = name.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'-' {
            if bytes.get(at + 1) != Some(&b'-') {
                let (group, volume) = (name.get(..at)?, name.get(at + 1..)?);
                return Some((group.replace("--", "-"), volume.replace("--", "-")));
            }
            at += 1;
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_at_the_end_belongs_to_a_name() {
        assert_eq!(one_line("name \n"), "name ");
        assert_eq!(one_line("name"), "name");
    }

    #[test]
    fn private_devices_have_a_kind() {
        assert!(!is_private_uuid("LVM-0123456789abcdef"));
        assert!(is_private_uuid("LVM-0123456789abcdef-tdata"));
        assert!(!is_private_uuid("CRYPT-LUKS2-0123-name"));
        assert!(!is_private_uuid(""));
    }

    #[test]
    fn dashes_in_names_are_doubled() {
        let names = |group: &str, volume: &str| Some((group.to_owned(), volume.to_owned()));
        assert_eq!(split("vg-lv"), names("vg", "lv"));
        assert_eq!(split("my--vg-root--disk"), names("my-vg", "root-disk"));
        assert_eq!(split("a--b"), None);
        assert_eq!(split("luks"), None);
    }
}
