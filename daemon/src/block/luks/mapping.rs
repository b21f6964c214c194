//! Names of mappings, and what a failed program leaves behind under them.

use std::os::unix::fs::FileTypeExt;

use nix::errno::Errno;
use protocol::{Device, Error, Result};

use crate::command::Command;
use crate::filesystem::mapper;
use crate::{logging, udev};

/// Where device-mapper's devices are.
const DIRECTORY: &str = "/dev/mapper/";
/// Device-mapper's limit, less its final NUL.
const MAX_NAME: usize = 127;
/// Begins the UUID of everything that cryptsetup has made.
const CRYPT: &str = "CRYPT-";

/// Checks that a mapping can be made under this name.
///
/// # Errors
///
/// EINVAL if no mapping can have it; EEXIST if one has.
pub(super) fn check_new(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("mapname must not be empty"));
    }
    if name.contains('/') || name.contains(char::is_control) || matches!(name, "." | "..") {
        return Err(Error::invalid(format!(
            "mapname: {name:?} cannot be the name of a device"
        )));
    }
    if name.len() > MAX_NAME {
        return Err(Error::invalid(format!(
            "mapname: {name} is longer than {MAX_NAME} bytes"
        )));
    }
    let path = format!("{DIRECTORY}{name}");
    let is_control = name == "control";
    let is_device = || std::fs::metadata(&path).is_ok_and(|m| m.file_type().is_block_device());
    if is_control || is_device() || mapper::is_taken(name) {
        return Err(Error::with_errno(
            Errno::EEXIST,
            format!("{path}: device already exists"),
        ));
    }
    Ok(())
}

/// The name of a mapping that cryptsetup has made.
///
/// # Errors
///
/// EINVAL for any other device.
pub(super) fn name_of(device: &Device) -> Result<String> {
    if !device.name().starts_with(DIRECTORY) {
        return Err(Error::invalid(format!(
            "{device}: what is to be closed is the device under /dev/mapper that \
             unlocking has made"
        )));
    }
    mapper::mapped(device)
        .filter(|mapped| mapped.uuid.starts_with(CRYPT))
        .map(|mapped| mapped.name)
        .ok_or_else(|| Error::invalid(format!("{device}: not an unlocked encrypted device")))
}

/// After making a mapping: its device is there when this returns, or nothing
/// of it if that failed.
pub(super) fn settle(name: &str, made: Result<()>) -> Result<()> {
    if made.is_err() && mapper::is_taken(name) {
        udev::settle();
        let removed = Command::new("cryptsetup")
            .arg("close")
            .operands([name])
            .run();
        if let Err(error) = removed {
            logging::warning(format_args!("{DIRECTORY}{name}: {error}"));
        }
    }
    udev::settle();
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_mapping_can_have() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in ["", ".", "..", "a/b", "/", "a\nb", "\x1b[2J", &long] {
            let error = check_new(name).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINVAL), "{name:?}");
            assert!(!error.message().contains(char::is_control), "{error}");
        }
        let error = check_new("control").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EEXIST));
        for name in ["-x", "no such name", &long[1..]] {
            check_new(name).unwrap();
        }
    }

    #[test]
    fn only_mappings_are_closed() {
        for name in ["/dev/sda", "/dev/mapper/none", "/dev/null"] {
            let error = name_of(&Device::new(name)).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINVAL), "{name}");
            assert!(error.message().starts_with(name), "{error}");
        }
    }
}
