//! What is on a device, as libblkid sees it.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::{Context, Device, Error, Result};

use crate::command::Command;
use crate::devices::Devices;

/// blkid's exit status for "nothing found".
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
pub(crate) fn tag(device: &Device, tag: &str) -> Result<Option<Vec<u8>>> {
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

/// The type of what is on a device; empty if it is nothing that is known.
///
/// # Errors
///
/// When blkid fails.
pub(crate) fn kind(device: &Device) -> Result<String> {
    let kind = tag(device, "TYPE")?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&kind).into_owned())
}

/// The types of what is on several devices, found in one go; empty where it is
/// nothing that is known.
///
/// # Errors
///
/// When blkid cannot be run.
pub(crate) fn kinds(devices: &[Device]) -> Result<Vec<String>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
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
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|meta| meta.rdev())
}

/// Everything that a thorough probe of a device finds, in blkid's order.
///
/// # Errors
///
/// When blkid fails, or finds the signatures of several things.
pub(crate) fn all(device: &Device) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
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

/// Whether a type is of the ext family.
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
