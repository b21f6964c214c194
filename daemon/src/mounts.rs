//! What is mounted below the sysroot, from `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use protocol::{Context, Result};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A mounted filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `MAJOR:MINOR` of the files on it.
    pub device_number: String,
    /// The directory of the filesystem that is its root here.
    pub root: PathBuf,
    /// Where it is mounted, in the appliance.
    pub mountpoint: PathBuf,
    /// Its kind, such as `ext4`.
    pub fstype: String,
    /// What was mounted, as it was given to the kernel: mostly a device.
    pub source: Vec<u8>,
    /// The mount's own options.
    pub options: String,
    /// The filesystem's options.
    pub super_options: String,
}

/// All mounts on `sysroot` and below it, in the order they were made.
///
/// # Errors
///
/// When the kernel's list cannot be read.
pub fn below(sysroot: &Path) -> Result<Vec<Mount>> {
    let text = std::fs::read(MOUNTINFO).context(MOUNTINFO)?;
    Ok(text
        .split(|&b| b == b'\n')
        .filter_map(parse)
        .filter(|mount| mount.mountpoint.starts_with(sysroot))
        .collect())
}

/// Unmounts everything on `sysroot` and below it, the deepest first.
///
/// # Errors
///
/// When a filesystem is busy; those before it are unmounted by then.
pub fn unmount_all(sysroot: &Path) -> Result<()> {
    // One place can have several filesystems on it, of which the last is on top.
    let mut mounts = below(sysroot)?;
    mounts.reverse();
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.mountpoint.components().count()));
    for mount in mounts {
        umount2(&mount.mountpoint, MntFlags::empty())
            .with_context(|| format!("umount: {}", mount.mountpoint.display()))?;
    }
    Ok(())
}

/// One line: `ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS TAGS... - TYPE SOURCE SUPER`.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|&b| b == b' ');
    let device_number = text(words.nth(2)?);
    let root = path(words.next()?);
    let mountpoint = path(words.next()?);
    let options = text(words.next()?);
    let mut words = words.skip_while(|word| *word != b"-").skip(1);
    Some(Mount {
        device_number,
        root,
        mountpoint,
        options,
        fstype: text(&unescape(words.next()?)),
        source: unescape(words.next()?),
        super_options: text(words.next().unwrap_or_default()),
    })
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn path(word: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(word)))
}

/// Undoes the kernel's `\040` for white space and backslashes.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}
