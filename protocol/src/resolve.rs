//! From what the wire says to what handlers get; used by the generated stubs.

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::types::{Device, DeviceOrPath, Filename, GuestPath, Mountable, MountableOrPath};

/// The prefix of a btrfs subvolume among mountables.
const BTRFSVOL: &[u8] = b"btrfsvol:";

/// `pathname`; that a root is mounted is checked after all arguments.
///
/// # Errors
///
/// EINVAL when it is not absolute.
pub fn pathname(bytes: &[u8]) -> Result<GuestPath> {
    GuestPath::new(bytes)
}

/// `filename`
///
/// # Errors
///
/// EINVAL when it has a slash.
pub fn filename(bytes: &[u8]) -> Result<Filename> {
    Filename::new(bytes)
}

/// `guid`: 32 hexadecimal digits, in groups of 8, 4, 4, 4 and 12, perhaps in braces.
///
/// # Errors
///
/// EINVAL when it is anything else.
pub fn guid(text: &str) -> Result<&str> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(text);
    let mut groups = inner.split('-');
    let fits = [8, 4, 4, 4, 12].iter().all(|&len| {
        groups.next().is_some_and(|group| {
            group.len() == len && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    }) && groups.next().is_none();
    if fits {
        Ok(text)
    } else {
        Err(Error::with_errno(
            Errno::EINVAL,
            format!("{text}: not a GUID (like 01234567-89ab-cdef-0123-456789abcdef)"),
        ))
    }
}

/// `device`
///
/// # Errors
///
/// When it is no block device of the appliance.
pub fn device<H: Host + ?Sized>(host: &mut H, bytes: &[u8]) -> Result<Device> {
    match std::str::from_utf8(bytes) {
        Ok(name) => host.translate_device(name),
        Err(_) => Err(Error::with_errno(
            Errno::EINVAL,
            format!(
                "{}: expecting a device name",
                String::from_utf8_lossy(bytes)
            ),
        )),
    }
}

/// `mountable`: a device, or `btrfsvol:DEVICE/SUBVOLUME`.
///
/// # Errors
///
/// When it names no device, or no subvolume follows the device.
pub fn mountable<H: Host + ?Sized>(host: &mut H, bytes: &[u8]) -> Result<Mountable> {
    match bytes.strip_prefix(BTRFSVOL) {
        None => device(host, bytes).map(Mountable::device_only),
        Some(rest) => btrfsvol(host, rest).ok_or_else(|| {
            Error::with_errno(
                Errno::EINVAL,
                format!(
                    "{}: expecting a btrfs volume (btrfsvol:DEVICE/SUBVOLUME)",
                    String::from_utf8_lossy(bytes)
                ),
            )
        }),
    }
}

/// Both a device's name and a subvolume's may have slashes: the shortest
/// front that is a device is the device.
fn btrfsvol<H: Host + ?Sized>(host: &mut H, text: &[u8]) -> Option<Mountable> {
    if !text.starts_with(b"/dev/") {
        return None;
    }
    let slashes = text
        .iter()
        .enumerate()
        .skip(b"/dev/".len())
        .filter(|&(_, &byte)| byte == b'/')
        .map(|(at, _)| at);
    for slash in slashes {
        let (name, volume) = (text.get(..slash)?, text.get(slash + 1..)?);
        if !volume.is_empty()
            && host.is_device_name(name)
            && let Ok(device) = device(host, name)
        {
            return Some(Mountable::btrfs(device, volume));
        }
    }
    None
}

/// `device_or_path`
///
/// # Errors
///
/// Those of a device, or of a path; for a path a root must be mounted.
pub fn device_or_path<H: Host + ?Sized>(host: &mut H, bytes: &[u8]) -> Result<DeviceOrPath> {
    if host.is_device_name(bytes) {
        return device(host, bytes).map(DeviceOrPath::Device);
    }
    host.require_root()?;
    GuestPath::new(bytes).map(DeviceOrPath::Path)
}

/// `mountable_or_path`
///
/// # Errors
///
/// Those of a mountable, or of a path; for a path a root must be mounted.
pub fn mountable_or_path<H: Host + ?Sized>(host: &mut H, bytes: &[u8]) -> Result<MountableOrPath> {
    if host.is_device_name(bytes) || bytes.first() != Some(&b'/') {
        return mountable(host, bytes).map(MountableOrPath::Mountable);
    }
    host.require_root()?;
    GuestPath::new(bytes).map(MountableOrPath::Path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids() {
        assert!(guid("01234567-89ab-CDEF-0123-456789abcdef").is_ok());
        assert!(guid("{01234567-89ab-CDEF-0123-456789abcdef}").is_ok());
        assert!(guid("01234567-89ab-CDEF-0123-456789abcde").is_err());
        assert!(guid("01234567-89ab-CDEF-0123-456789abcdef-").is_err());
        assert!(guid("").is_err());
    }
}
