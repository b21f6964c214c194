//! Btrfs subvolumes, as far as finding and mounting filesystems needs them.

use std::fs::File;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use protocol::{Context, Error, Mountable, Result};

use crate::command::Command;
use crate::scratch::MountPoint;

/// A subvolume, as `btrfs subvolume list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subvolume {
    /// Its number.
    pub(crate) id: u64,
    /// The number of the subvolume that it is in.
    pub(crate) top_level: u64,
    /// Its path below the top of the filesystem.
    pub(crate) path: Vec<u8>,
}

/// The mount option that selects the subvolume of a mountable; empty for a whole device.
///
/// # Errors
///
/// EINVAL for a name that the kernel would take for further options: the guest chose it.
pub(super) fn mount_option(mountable: &Mountable) -> Result<Vec<u8>> {
    let Some(volume) = mountable.volume() else {
        return Ok(Vec::new());
    };
    if volume.contains(&b',') {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("{mountable}: a subvolume whose name has a comma inside cannot be mounted"),
        ));
    }
    Ok([b"subvol=", volume].concat())
}

/// A btrfs filesystem that is mounted outside the guest for a moment.
#[derive(Debug)]
pub(crate) struct Scratch(MountPoint);

impl Scratch {
    /// Mounts a subvolume, the default one of a whole device, to be looked at only.
    ///
    /// # Errors
    ///
    /// The errno of mount(2), and those of [`mount_option`].
    pub(crate) fn mount(mountable: &Mountable) -> Result<Self> {
        match Self::attach(mountable, MsFlags::MS_RDONLY) {
            // It is mounted in the guest for writing, and the kernel wants both alike.
            Err(error) if error.errno() == Some(Errno::EBUSY) => Self::mount_writable(mountable),
            other => other,
        }
    }

    /// Mounts a subvolume, the default one of a whole device, to be changed.
    ///
    /// # Errors
    ///
    /// The errno of mount(2), and those of [`mount_option`].
    pub(crate) fn mount_writable(mountable: &Mountable) -> Result<Self> {
        Self::attach(mountable, MsFlags::empty())
    }

    fn attach(mountable: &Mountable, flags: MsFlags) -> Result<Self> {
        let option = mount_option(mountable)?;
        let scratch = Self(MountPoint::new()?);
        mount(
            Some(mountable.device().path()),
            scratch.0.path(),
            Some("btrfs"),
            flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            (!option.is_empty()).then_some(&option[..]),
        )
        .context(mountable)?;
        Ok(scratch)
    }

    /// The top of what is mounted.
    ///
    /// # Errors
    ///
    /// The errno of open(2).
    pub(crate) fn open(&self) -> Result<File> {
        File::open(self.0.path()).context(self.0.path().display())
    }
}

/// The subvolumes of the btrfs filesystem that the open directory is on.
///
/// # Errors
///
/// When `btrfs` fails, or what it prints is not understood.
pub(crate) fn list(directory: &File) -> Result<Vec<Subvolume>> {
    let out = Command::new("btrfs")
        .args(["subvolume", "list"])
        .cwd(directory)
        .arg(".")
        .run()?
        .stdout;
    parse_list(&out)
}

/// The number of the subvolume that is mounted if none is named.
///
/// # Errors
///
/// When `btrfs` fails, or what it prints is not understood.
pub(crate) fn default(directory: &File) -> Result<u64> {
    let out = Command::new("btrfs")
        .args(["subvolume", "get-default"])
        .cwd(directory)
        .arg(".")
        .run()?
        .stdout;
    let text = String::from_utf8_lossy(&out);
    parse_default(&text).ok_or_else(|| {
        Error::new(format!(
            "unexpected output from 'btrfs subvolume get-default' command: {text}"
        ))
    })
}

/// `ID 5 (FS_TREE)` or `ID 256 gen 7 top level 5 path NAME`.
fn parse_default(text: &str) -> Option<u64> {
    let (id, _) = text.strip_prefix("ID ")?.split_once(' ')?;
    id.parse().ok()
}

/// A line for each subvolume. Names may have line ends inside, which are printed as they are; no
/// version of the program can print JSON here.
fn parse_list(out: &[u8]) -> Result<Vec<Subvolume>> {
    let mut found: Vec<Subvolume> = Vec::new();
    let lines = out.strip_suffix(b"\n").unwrap_or(out);
    for line in lines.split(|&b| b == b'\n') {
        match (parse(line), found.last_mut()) {
            (Some(volume), _) => found.push(volume),
            (None, Some(last)) => {
                last.path.push(b'\n');
                last.path.extend_from_slice(line);
            }
            (None, None) if out.is_empty() => {}
            (None, None) => {
                return Err(Error::new(format!(
                    "unexpected output from 'btrfs subvolume list' command: {}",
                    String::from_utf8_lossy(line)
                )));
            }
        }
    }
    Ok(found)
}

/// `ID 256 gen 7 top level 5 path NAME`; newer versions may put more before `top level`.
fn parse(line: &[u8]) -> Option<Subvolume> {
    let (front, path) = cut(line, b" path ")?;
    let front = std::str::from_utf8(front).ok()?;
    let (id, rest) = front.strip_prefix("ID ")?.split_once(' ')?;
    let (_, top_level) = rest.split_once("top level ")?;
    Some(Subvolume {
        id: id.parse().ok()?,
        top_level: top_level.split(' ').next()?.parse().ok()?,
        path: path.to_vec(),
    })
}

fn cut<'a>(line: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = line.windows(at.len()).position(|window| window == at)?;
    Some((line.get(..start)?, line.get(start + at.len()..)?))
}

#[cfg(test)]
mod tests {
    use protocol::Device;

    use super::*;
    use crate::captured::outputs;

    #[test]
    fn lines_of_subvolumes() {
        let volume = parse(b"ID 258 gen 10 top level 256 path dir/a path b").unwrap();
        assert_eq!((volume.id, volume.top_level), (258, 256));
        assert_eq!(volume.path, b"dir/a path b");
        assert!(parse(b"ID 258 gen 10 cgen 9 top level 5 path x").is_some());
        // By btrfs-progs 0.19 and 3.12, which had no generation, or more than one.
        let old = parse(b"ID 256 top level 5 path a").expect("0.19");
        assert_eq!((old.id, old.top_level, &old.path[..]), (256, 5, &b"a"[..]));
        let more = parse(b"ID 257 gen 9 cgen 7 parent 5 top level 5 path a/b").expect("3.12");
        assert_eq!(
            (more.id, more.top_level, &more.path[..]),
            (257, 5, &b"a/b"[..])
        );
        for bad in [
            "",
            "ID x gen 1 top level 5 path y",
            "ID 1 gen 2 path x",
            "ID 1",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_list(b"").expect("none"), []);
        assert!(parse_list(b"ERROR\nID 256 gen 7 top level 5 path a\n").is_err());
    }

    fn listed(what: &str) -> impl Iterator<Item = (String, Vec<Subvolume>)> {
        outputs("btrfs-progs", what).into_iter().map(|captured| {
            let list = parse_list(&captured.bytes).expect("a list");
            (captured.version, list)
        })
    }

    #[test]
    fn lists_of_all_versions() {
        for (version, list) in listed("list") {
            let found: Vec<_> = list
                .iter()
                .map(|volume| (volume.id, volume.top_level, &*volume.path))
                .collect();
            let expected: [(u64, u64, &[u8]); 5] = [
                (256, 5, b"one"),
                (257, 5, b"dir/two words"),
                (258, 5, b"snap"),
                (259, 5, b"snap2: x"),
                (260, 256, b"one/inner"),
            ];
            assert_eq!(found, expected, "{version}");
        }
    }

    /// One that looks like another line is taken for it: what it says of itself can be checked
    /// against nothing that is printed.
    #[test]
    fn names_with_line_ends() {
        for (version, list) in listed("list-names") {
            let names: Vec<&[u8]> = list.iter().skip(5).map(|volume| &*volume.path).collect();
            let expected: [&[u8]; 5] = [
                b"a\nb",
                b"n",
                b"forged",
                b"c,\"d\\\xff path e",
                b"g\n0/9 1 1",
            ];
            assert_eq!(names, expected, "{version}");
        }
    }

    #[test]
    fn defaults_of_all_versions() {
        for (what, expected) in [("default", 5), ("default-set", 256)] {
            for captured in outputs("btrfs-progs", what) {
                let found = parse_default(&captured.text());
                assert_eq!(found, Some(expected), "{}", captured.version);
            }
        }
        assert_eq!(parse_default("ERROR: x"), None);
    }

    #[test]
    fn names_cannot_smuggle_mount_options() {
        let device = Device::new("/dev/sda");
        let option = |volume: &str| mount_option(&Mountable::btrfs(device.clone(), volume));
        assert_eq!(option("a b").unwrap(), b"subvol=a b");
        assert_eq!(option("a,rw").unwrap_err().errno(), Some(Errno::EINVAL));
        assert_eq!(mount_option(&Mountable::from(device.clone())).unwrap(), b"");
    }
}
