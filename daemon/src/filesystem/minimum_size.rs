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
    let blocks = ext_blocks(&out).ok_or_else(|| not_found(device, &out))?;
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
        return ntfs_size(&output.stdout).ok_or_else(|| not_found(device, &output.stdout));
    }
    // It also fails when there is nothing to be gained.
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("Volume is full") {
        return Err(output.failure("ntfsresize")).context(device);
    }
    ntfs_size_when_full(&output.stdout).ok_or_else(|| not_found(device, &output.stdout))
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
    let (size, blocks) = xfs_data(&out).ok_or_else(|| not_found(device, &out))?;
    size.checked_mul(blocks)
        .ok_or_else(|| Error::new(format!("{device}: filesystem size too big: overflow")))
}

/// What `resize2fs -P` says.
fn ext_blocks(out: &[u8]) -> Option<i64> {
    number_after(out, "Estimated minimum size of the filesystem:")
}

/// What `ntfsresize --info` says.
fn ntfs_size(out: &[u8]) -> Option<i64> {
    number_after(out, "You might resize at ")
}

/// The size of a full filesystem, which is its smallest, in whole clusters.
fn ntfs_size_when_full(out: &[u8]) -> Option<i64> {
    let cluster = number_after(out, "Cluster size").filter(|&cluster| cluster >= 1)?;
    let volume = number_after(out, "Current volume size:")?;
    Some(volume.checked_add(cluster - 1)? / cluster * cluster)
}

/// The size and the number of the blocks in what `xfs_info` prints.
fn xfs_data(out: &[u8]) -> Option<(i64, i64)> {
    let text = String::from_utf8_lossy(out);
    let data = text.lines().find(|line| line.starts_with("data"))?;
    let field = |name: &str| -> Option<i64> {
        let (_, rest) = data.split_once(name)?;
        number(rest)
    };
    Some((field("bsize=")?, field("blocks=")?))
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
    use crate::captured::outputs;

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

    /// How small it can be, each version reckons by itself; what it says must be in these bounds.
    #[test]
    fn sizes_in_the_words_of_all_versions() {
        type Find = fn(&[u8]) -> Option<i64>;
        let tools: [(&str, &str, Find, std::ops::Range<i64>); 5] = [
            ("e2fsprogs", "minimum", ext_blocks, 1000..65536),
            ("e2fsprogs", "minimum-ext2", ext_blocks, 100..16384),
            ("ntfs-3g", "info", ntfs_size, 1 << 20..64 << 20),
            (
                "ntfs-3g",
                "info-full",
                ntfs_size_when_full,
                (64 << 20) - 4096..(64 << 20) + 1,
            ),
            (
                "btrfs-progs",
                "minimum",
                |out| number_after(out, ""),
                16 << 20..512 << 20,
            ),
        ];
        for (tool, what, find, bounds) in tools {
            for captured in outputs(tool, what) {
                let size = find(&captured.bytes).expect(&captured.version);
                assert!(
                    bounds.contains(&size),
                    "{tool} {}: {size}",
                    captured.version
                );
            }
        }
        for captured in outputs("ntfs-3g", "info-full") {
            assert!(
                captured.text().contains("Volume is full"),
                "{}",
                captured.version
            );
            assert_eq!(ntfs_size(&captured.bytes), None, "{}", captured.version);
        }
        for captured in outputs("xfsprogs", "info-mounted") {
            let found = xfs_data(&captured.bytes);
            assert_eq!(found, Some((4096, 131_072)), "{}", captured.version);
        }
    }
}
