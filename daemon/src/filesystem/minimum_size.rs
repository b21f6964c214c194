//! The smallest size to which a filesystem can be shrunk.

use std::fs::File;

use protocol::{Context, Device, Error, Result};

use super::superblock;
use crate::command::Command;
use crate::devices::Devices;

/// Of an ext2, ext3 or ext4 filesystem.
///
/// # Errors
///
/// When resize2fs fails, or what it prints is not understood.
pub(super) fn ext(devices: &Devices, device: &Device) -> Result<i64> {
    let out = Command::new("resize2fs")
        .args(["-P", "-f"])
        .operands([device.path()])
        .run()
        .context(device)?
        .stdout;
    let blocks = number_after(&out, "Estimated minimum size of the filesystem:")
        .ok_or_else(|| not_found(device, &out))?;
    blocks
        .checked_mul(superblock::ext_block_size(devices, device)?)
        .ok_or_else(|| Error::new(format!("{device}: filesystem size too big: overflow")))
}

/// Of an NTFS filesystem.
///
/// # Errors
///
/// When ntfsresize fails, or what it prints is not understood.
pub(super) fn ntfs(device: &Device) -> Result<i64> {
    // Forced, as it refuses a filesystem that is marked for a check.
    let output = Command::new("ntfsresize")
        .args(["--info", "-ff"])
        .arg(device.path())
        .output()
        .context(device)?;
    if output.code == 0 {
        return number_after(&output.stdout, "You might resize at ")
            .ok_or_else(|| not_found(device, &output.stdout));
    }
    // It also fails when there is nothing to be gained.
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("Volume is full") {
        return Err(Error::new(output.message())).context(device);
    }
    let cluster = number_after(&output.stdout, "Cluster size");
    let volume = number_after(&output.stdout, "Current volume size:");
    match (cluster, volume) {
        (Some(cluster @ 1..), Some(volume)) => volume
            .checked_add(cluster - 1)
            .map(|size| size / cluster * cluster)
            .ok_or_else(|| not_found(device, &output.stdout)),
        _ => Err(not_found(device, &output.stdout)),
    }
}

/// Of the btrfs filesystem that the open directory is on.
///
/// # Errors
///
/// When btrfs fails, or what it prints is not understood.
pub(super) fn btrfs(device: &Device, mountpoint: &File) -> Result<i64> {
    let out = Command::new("btrfs")
        .args(["inspect-internal", "min-dev-size"])
        .cwd(mountpoint)
        .arg(".")
        .run()
        .context(device)?
        .stdout;
    number_after(&out, "").ok_or_else(|| not_found(device, &out))
}

/// Of the XFS filesystem that the open directory is on, which cannot be shrunk.
///
/// # Errors
///
/// When xfs_info fails, or what it prints is not understood.
pub(super) fn xfs(device: &Device, mountpoint: &File) -> Result<i64> {
    let out = Command::new("xfs_info")
        .cwd(mountpoint)
        .arg(".")
        .run()
        .context(device)?
        .stdout;
    let text = String::from_utf8_lossy(&out);
    let data = text
        .lines()
        .find(|line| line.starts_with("data"))
        .ok_or_else(|| not_found(device, &out))?;
    let field = |name: &str| -> Option<i64> {
        let (_, rest) = data.split_once(name)?;
        number(rest)
    };
    match (field("bsize="), field("blocks=")) {
        (Some(size), Some(blocks)) => size
            .checked_mul(blocks)
            .ok_or_else(|| Error::new(format!("{device}: filesystem size too big: overflow"))),
        _ => Err(not_found(device, &out)),
    }
}

fn not_found(device: &Device, out: &[u8]) -> Error {
    Error::new(format!(
        "{device}: minimum size not found. Check output format:\n{}",
        String::from_utf8_lossy(out).trim_end()
    ))
}

/// The number after a line's beginning, perhaps after a colon.
fn number_after(out: &[u8], beginning: &str) -> Option<i64> {
    String::from_utf8_lossy(out)
        .lines()
        .find_map(|line| number(line.strip_prefix(beginning)?.trim_start_matches([' ', ':'])))
}

fn number(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_what_tools_print() {
        let out = b"ntfsresize v2022\nCluster size       : 4096 bytes\n\
            Current volume size: 67104768 bytes (68 MB)\nYou might resize at 2564096 bytes or 3 MB";
        assert_eq!(number_after(out, "Cluster size"), Some(4096));
        assert_eq!(number_after(out, "Current volume size:"), Some(67_104_768));
        assert_eq!(number_after(out, "You might resize at "), Some(2_564_096));
        assert_eq!(
            number_after(b"105906176 bytes (101.00MiB)\n", ""),
            Some(105_906_176)
        );
        assert_eq!(number_after(b"99999999999999999999\n", ""), None);
        assert_eq!(number_after(out, "Nothing"), None);
    }
}
