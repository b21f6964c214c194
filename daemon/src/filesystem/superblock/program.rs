//! The `blkid` program, for appliances without its library.

use std::os::unix::fs::MetadataExt;

use protocol::{Device, Error, Result};

use super::Tags;
use crate::command::Command;

/// Its exit status for "nothing found".
const NOTHING: i32 = 2;

/// blkid without its cache, which may be older than what is on the device.
fn blkid() -> Command {
    Command::new("blkid").args(["-c", "/dev/null"])
}

/// One of the tags that libblkid finds, such as `TYPE` or `UUID`.
///
/// # Errors
///
/// When blkid fails.
pub(super) fn tag(device: &Device, tag: &str) -> Result<Option<Vec<u8>>> {
    let mut output = blkid()
        .args(["-o", "value", "-s", tag])
        .operands([device.path()])
        .output()?;
    match output.code {
        0 => {
            if output.stdout.last() == Some(&b'\n') {
                output.stdout.pop();
            }
            Ok(Some(output.stdout))
        }
        NOTHING => Ok(None),
        code => Err(Error::new(format!(
            "{device}: {} (blkid returned {code})",
            output.message()
        ))),
    }
}

/// The types of what is on several devices, found in one go; empty where it is
/// nothing that is known.
///
/// # Errors
///
/// When blkid cannot be run.
pub(super) fn kinds(devices: &[Device]) -> Result<Vec<String>> {
    // Its exit status only says whether all of them are known.
    let output = blkid()
        .args(["-o", "export", "-s", "TYPE"])
        .operands(devices.iter().map(Device::path))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Vec<(u64, &str)> = text
        .split("\n\n")
        .filter_map(|block| {
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            };
            // It prefers names of its own, such as those of device-mapper.
            Some((number(field("DEVNAME")?)?, field("TYPE")?))
        })
        .collect();
    Ok(devices
        .iter()
        .map(|device| {
            let number = number(device.as_str());
            found
                .iter()
                .find(|(other, _)| Some(*other) == number)
                .map_or_else(String::new, |(_, kind)| (*kind).to_owned())
        })
        .collect())
}

fn number(path: &str) -> Option<u64> {
    std::fs::metadata(path).ok().map(|meta| meta.rdev())
}

/// Everything that a thorough probe of a device finds, in blkid's order.
///
/// # Errors
///
/// When blkid fails, or finds the signatures of several things.
pub(super) fn all(device: &Device) -> Result<Tags> {
    let out = blkid()
        .args(["-p", "-i", "-o", "export"])
        .operands([device.path()])
        .run()?
        .stdout;
    Ok(out
        .split(|&b| b == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|&b| b == b'=')?;
            let (name, value) = (line.get(..at)?, line.get(at + 1..)?);
            if name == b"DEVNAME" {
                return Some((name.to_vec(), device.name().as_bytes().to_vec()));
            }
            Some((name.to_vec(), value.to_vec()))
        })
        .collect())
}
