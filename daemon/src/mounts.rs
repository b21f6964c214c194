//! What is mounted below the sysroot, from the kernel's `mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use protocol::{Context, Result};

/// That no link is followed, of Linux 5.10, which older kernels pass over.
pub const MS_NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// A mounted filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `MAJOR:MINOR` of the filesystem. Files of btrfs have those of their subvolumes.
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

impl Mount {
    /// The mount's own options that mount(2) would take away unless it is told of them again.
    pub fn flags(&self) -> MsFlags {
        let flag = |option| match option {
            "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "noatime" => MsFlags::MS_NOATIME,
            "nodiratime" => MsFlags::MS_NODIRATIME,
            "relatime" => MsFlags::MS_RELATIME,
            "nosymfollow" => MS_NOSYMFOLLOW,
            _ => MsFlags::empty(),
        };
        self.options.split(',').map(flag).collect()
    }

    /// The filesystem's options that mount(2) would take away unless it is told of them again.
    pub fn super_flags(&self) -> MsFlags {
        let flag = |option| match option {
            "sync" => MsFlags::MS_SYNCHRONOUS,
            "dirsync" => MsFlags::MS_DIRSYNC,
            "lazytime" => MsFlags::MS_LAZYTIME,
            "mand" => MsFlags::MS_MANDLOCK,
            _ => MsFlags::empty(),
        };
        self.super_options.split(',').map(flag).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_optional_fields_and_escapes() {
        let line = br"36 35 98:0 /mnt1 /sysroot/a\040b\134 rw,noatime master:1 shared:2 - ext3 /dev/x\011 rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.device_number, "98:0");
        assert_eq!(mount.root, Path::new("/mnt1"));
        assert_eq!(mount.mountpoint, Path::new("/sysroot/a b\\"));
        assert_eq!(mount.options, "rw,noatime");
        assert_eq!(mount.flags(), MsFlags::MS_NOATIME);
        assert_eq!(mount.super_flags(), MsFlags::empty());
        assert_eq!(mount.fstype, "ext3");
        assert_eq!(mount.source, b"/dev/x\t");
        assert_eq!(mount.super_options, "rw,errors=continue");
        let line = b"36 35 8:0 / /sysroot ro,nosymfollow,nodev - ext2 /dev/x rw,sync,lazytime";
        let mount = parse(line).unwrap();
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MS_NOSYMFOLLOW;
        assert_eq!(mount.flags(), flags);
        let flags = MsFlags::MS_SYNCHRONOUS | MsFlags::MS_LAZYTIME;
        assert_eq!(mount.super_flags(), flags);
        let line = b"36 35 0:5 / /sysroot rw - tmpfs none";
        assert_eq!(parse(line).unwrap().super_options, "");
        for bad in [
            &b""[..],
            b"36 35 98:0 / /x rw",
            b"36 35 98:0 / /x rw - ext3",
        ] {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape(br"a\04"), br"a\04");
        assert_eq!(unescape(br"\999\"), br"\999\");
        assert_eq!(unescape(br"\101\400"), br"A\400");
    }
}
