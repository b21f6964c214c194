//! Which devices LVM looks at.

use std::fmt::Write;
use std::path::PathBuf;

use nix::errno::Errno;
use protocol::{Context, Device, Error, Result};

use super::{change, lvm};
use crate::command::Command;

const DEFAULT_DIRECTORY: &str = "/etc/lvm";

/// Makes LVM look at some devices, and at their partitions, only.
///
/// # Errors
///
/// EINVAL for names that cannot be put into a pattern; what LVM said.
pub(crate) fn set(devices: &[Device]) -> Result<()> {
    let mut patterns = Vec::new();
    for device in devices {
        patterns.extend(accept(device)?);
    }
    patterns.push("r|.*|".to_owned());
    apply(&patterns)
}

/// Makes LVM look at all devices.
///
/// # Errors
///
/// What LVM said.
pub(crate) fn clear() -> Result<()> {
    apply(&["a|.*|".to_owned()])
}

/// Patterns for a device, and for its partitions if it may have some.
fn accept(device: &Device) -> Result<Vec<String>> {
    let name = device.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    if !name.bytes().all(plain) {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("{device}: LVM cannot filter by this name"),
        ));
    }
    let mut patterns = vec![format!("a|^{name}$|")];
    if !name.ends_with(|c: char| c.is_ascii_digit()) {
        patterns.push(format!("a|^{name}[0-9]|"));
    }
    Ok(patterns)
}

/// Volumes of devices that are no longer seen must not stay active.
fn apply(patterns: &[String]) -> Result<()> {
    change(lvm(["vgchange", "-an"])).context("vgchange -an")?;
    let directory = std::env::var_os("LVM_SYSTEM_DIR")
        .map_or_else(|| PathBuf::from(DEFAULT_DIRECTORY), PathBuf::from);
    let path = directory.join("lvm.conf");
    let content = configuration(patterns, has_devices_file());
    std::fs::write(&path, content).context(path.display())?;
    change(lvm(["pvscan", "--cache"])).context("pvscan")?;
    change(lvm(["vgchange", "-ay"])).context("vgchange -ay")
}

fn configuration(patterns: &[String], devices_file: bool) -> String {
    let quoted: Vec<String> = patterns
        .iter()
        .map(|pattern| format!("\"{pattern}\""))
        .collect();
    let list = quoted.join(", ");
    let mut text = String::from("devices {\n");
    if devices_file {
        text.push_str("    use_devicesfile = 0\n");
    }
    for name in ["filter", "global_filter"] {
        // Writing to a string does not fail.
        let _ = writeln!(text, "    {name} = [ {list} ]");
    }
    text.push_str("}\n");
    text
}

/// Whether this LVM has a list of devices of its own, which beats the filter.
/// Older ones do not know the setting.
fn has_devices_file() -> bool {
    let help = Command::new("lvmdevices").arg("--help").status();
    help.is_ok_and(|code| code == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_bring_their_partitions() {
        let patterns = |name| accept(&Device::new(name)).expect("patterns");
        assert_eq!(patterns("/dev/sda"), ["a|^/dev/sda$|", "a|^/dev/sda[0-9]|"]);
        assert_eq!(patterns("/dev/sda1"), ["a|^/dev/sda1$|"]);
        assert!(accept(&Device::new("/dev/x\"|y")).is_err());
    }

    #[test]
    fn both_filters_are_set() {
        let patterns = ["a|^/dev/sda1$|".to_owned(), "r|.*|".to_owned()];
        assert_eq!(
            configuration(&patterns, true),
            "devices {\n    use_devicesfile = 0\n    \
             filter = [ \"a|^/dev/sda1$|\", \"r|.*|\" ]\n    \
             global_filter = [ \"a|^/dev/sda1$|\", \"r|.*|\" ]\n}\n"
        );
        assert!(!configuration(&patterns, false).contains("use_devicesfile"));
    }
}
