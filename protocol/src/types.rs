//! What arguments and results are, beyond bytes and numbers.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Result};

/// An absolute path in the guest: bytes that begin with `/`, without a NUL.
///
/// It means something only to the daemon's resolver; it is never joined to a
/// path of the appliance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestPath(Vec<u8>);

impl GuestPath {
    /// Checks that `bytes` is an absolute path.
    ///
    /// # Errors
    ///
    /// EINVAL when it does not begin with `/` or has a NUL inside.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.first() != Some(&b'/') {
            let shown = match String::from_utf8_lossy(&bytes) {
                empty if empty.is_empty() => "''".into(),
                path => path,
            };
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!("{shown}: path must start with a / character"),
            ));
        }
        if bytes.contains(&0) {
            return Err(Error::with_errno(
                Errno::EINVAL,
                "path has a NUL character inside",
            ));
        }
        Ok(Self(bytes))
    }

    /// `/`
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same, as a path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path of `name` below this directory.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = self.0.clone();
        if bytes.last() != Some(&b'/') {
            bytes.push(b'/');
        }
        let start = name
            .iter()
            .position(|&byte| byte != b'/')
            .unwrap_or(name.len());
        bytes.extend(name[start..].iter().filter(|&&byte| byte != 0));
        Self(bytes)
    }

    /// The bytes, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A file name without a directory: no `/`, no NUL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filename(Vec<u8>);

impl Filename {
    /// Checks that `bytes` is one name.
    ///
    /// # Errors
    ///
    /// EINVAL when it has a `/` or a NUL inside.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.contains(&b'/') || bytes.contains(&0) {
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!(
                    "'{}' is not a file name: it must have no / inside",
                    String::from_utf8_lossy(&bytes)
                ),
            ));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same, for system calls.
    pub fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }
}

impl fmt::Display for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// A block device: where it is in the appliance, and what the caller calls it.
///
/// Two are equal when they are the same device of the appliance.
#[derive(Debug, Clone)]
pub struct Device {
    path: String,
    name: String,
}

impl Device {
    /// A device of the appliance, for results.
    pub fn new(path: impl Into<String>) -> Self {
        let path = path.into();
        Self {
            name: path.clone(),
            path,
        }
    }

    /// A device of the appliance that the caller called `name`.
    pub fn named(path: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            name: name.into(),
        }
    }

    /// Its path in the appliance.
    pub fn path(&self) -> &Path {
        Path::new(&self.path)
    }

    /// Its path in the appliance, as text.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// What the caller called it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Device {}

impl std::hash::Hash for Device {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What can be mounted: a device, or a btrfs subvolume on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mountable {
    device: Device,
    volume: Option<Vec<u8>>,
}

impl Mountable {
    /// A whole device.
    pub fn device_only(device: Device) -> Self {
        Self {
            device,
            volume: None,
        }
    }

    /// A btrfs subvolume; `volume` is its path below the top of the filesystem.
    pub fn btrfs(device: Device, volume: impl Into<Vec<u8>>) -> Self {
        Self {
            device,
            volume: Some(volume.into()),
        }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The btrfs subvolume, if it is one.
    pub fn volume(&self) -> Option<&[u8]> {
        self.volume.as_deref()
    }

    /// The form on the wire, with `device` as the device's name.
    pub fn to_wire(&self, device: &str) -> Vec<u8> {
        match &self.volume {
            None => device.as_bytes().to_vec(),
            Some(volume) => {
                let mut out = b"btrfsvol:".to_vec();
                out.extend_from_slice(device.as_bytes());
                if volume.first() != Some(&b'/') {
                    out.push(b'/');
                }
                out.extend_from_slice(volume);
                out
            }
        }
    }
}

impl From<Device> for Mountable {
    fn from(device: Device) -> Self {
        Self::device_only(device)
    }
}

impl fmt::Display for Mountable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_wire(self.device.name())))
    }
}

/// An argument that is a device or a path in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceOrPath {
    /// A block device.
    Device(Device),
    /// A path in the guest.
    Path(GuestPath),
}

impl fmt::Display for DeviceOrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Path(path) => path.fmt(f),
        }
    }
}

/// An argument that is a mountable or a path in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountableOrPath {
    /// A device or a btrfs subvolume.
    Mountable(Mountable),
    /// A path in the guest.
    Path(GuestPath),
}

impl fmt::Display for MountableOrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mountable(mountable) => mountable.fmt(f),
            Self::Path(path) => path.fmt(f),
        }
    }
}

/// A secret. It is overwritten when dropped, and not shown by `Debug`.
pub struct Key(Vec<u8>);

impl Key {
    /// Takes a copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Takes over `bytes`: no copy of them is left.
impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        overwrite(&mut self.0);
    }
}

/// Fills `secret` with zeroes.
pub(crate) fn overwrite(secret: &mut [u8]) {
    secret.fill(0);
    // Without this the stores are dead and the compiler may leave them out.
    std::hint::black_box(secret);
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_paths_are_absolute() {
        assert!(GuestPath::new("").is_err());
        assert!(GuestPath::new("etc").is_err());
        assert!(GuestPath::new("/a\0b").is_err());
        assert_eq!(GuestPath::root().join(b"etc").as_bytes(), b"/etc");
        assert_eq!(
            GuestPath::root().join(b"//etc").join(b"x").as_bytes(),
            b"/etc/x"
        );
    }

    #[test]
    fn mountables_go_back_to_the_wire() {
        let device = Device::named("/dev/vda1", "/dev/sda1");
        assert_eq!(
            Mountable::btrfs(device.clone(), "root").to_string(),
            "btrfsvol:/dev/sda1/root"
        );
        assert_eq!(Mountable::from(device).to_wire("/dev/x"), b"/dev/x");
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", Key::new(b"secret")), "Key(..)");
    }
}
