//! What is mounted below the sysroot, from the kernel's `mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use protocol::{Context, Result};

const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    #[test]
    fn lines_have_optional_fields_and_escapes() {
        let line = br"36 35 98:0 /mnt1 /sysroot/a\040b\134 rw,noatime master:1 shared:2 - ext3 /dev/x\011 rw,errors=continue";
        let mount = parse(line).unwrap();
        assert_eq!(mount.device_number, "98:0");
        assert_eq!(mount.root, Path::new("/mnt1"));
        assert_eq!(mount.mountpoint, Path::new("/sysroot/a b\\"));
        assert_eq!(mount.options, "rw,noatime");
        assert_eq!(mount.fstype, "ext3");
        assert_eq!(mount.source, b"/dev/x\t");
        assert_eq!(mount.super_options, "rw,errors=continue");
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

    #[test]
    fn everything_below_is_unmounted_and_nothing_else() {
        // This thread's own mounts.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let tmpfs = |at: &Path| {
            std::fs::create_dir_all(at).unwrap();
            mount(
                Some("none"),
                at,
                Some("tmpfs"),
                MsFlags::empty(),
                None::<&str>,
            )
            .unwrap();
        };
        let (root, other) = (top.join("sysroot"), top.join("sysroot2"));
        tmpfs(&other);
        tmpfs(&root);
        tmpfs(&root);
        tmpfs(&root.join("a b"));
        tmpfs(&root.join("a b/c"));
        let found: Vec<_> = below(&root)
            .unwrap()
            .into_iter()
            .map(|m| m.mountpoint)
            .collect();
        assert_eq!(
            found,
            [
                root.clone(),
                root.clone(),
                root.join("a b"),
                root.join("a b/c")
            ]
        );
        unmount_all(&root).unwrap();
        assert!(below(&root).unwrap().is_empty());
        assert_eq!(below(&other).unwrap().len(), 1);

        tmpfs(&root);
        let held = std::fs::File::create(root.join("file")).unwrap();
        let error = unmount_all(&root).unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::EBUSY));
        assert!(error.to_string().contains("sysroot"), "{error}");
        drop(held);
        unmount_all(&top).unwrap();
    }
}
