//! Handlers of `idl/filesystem/btrfs_subvolume.idl`.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use protocol::api::{
    BtrfsSubvolumeActions, BtrfsSubvolumeCreateOptions, BtrfsSubvolumeSnapshotOptions, Btrfsqgroup,
    Btrfssubvolume,
};
use protocol::{Context, Error, GuestPath, MountableOrPath, Result};

use super::ioctl::{self, NewVolume};
use super::volumes::{self, Scratch};
use crate::command::Command;
use crate::daemon::Daemon;
use crate::guest::{Place, View, file_type, reopen};

impl BtrfsSubvolumeActions for Daemon {
    fn btrfs_subvolume_snapshot(
        &mut self,
        source: GuestPath,
        dest: GuestPath,
        options: BtrfsSubvolumeSnapshotOptions<'_>,
    ) -> Result<()> {
        let origin = self.top(&source)?;
        let place = self.new_volume(&dest, Some(&source))?;
        let wanted = NewVolume {
            origin: Some(&origin),
            read_only: options.ro == Some(true),
            group: options.qgroupid.map(group_number).transpose()?,
        };
        create(&place, &wanted).context(&dest).context(source)
    }

    fn btrfs_subvolume_create(
        &mut self,
        dest: GuestPath,
        options: BtrfsSubvolumeCreateOptions<'_>,
    ) -> Result<()> {
        let place = self.new_volume(&dest, None)?;
        let wanted = NewVolume {
            group: options.qgroupid.map(group_number).transpose()?,
            ..NewVolume::default()
        };
        match create(&place, &wanted) {
            // Callers know it without an errno.
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                Err(Error::new(format!("{dest}: there is such a name already")))
            }
            created => created.context(dest),
        }
    }

    fn btrfs_subvolume_delete(&mut self, subvolume: GuestPath) -> Result<()> {
        let place = self.guest.parent(&self.guest.resolve(&subvolume)?)?;
        let parent = reopen(&place.dir, OFlag::O_RDONLY).context(&subvolume)?;
        match ioctl::delete_subvolume(&parent, &place.name) {
            // What is on another filesystem is no subvolume either.
            Err(Errno::ENOTTY) => Err(Error::os(Errno::EINVAL, subvolume)),
            deleted => deleted.context(subvolume),
        }
    }

    fn btrfs_subvolume_list(&mut self, fs: MountableOrPath) -> Result<Vec<Btrfssubvolume>> {
        let all = self.with_filesystem(&fs, volumes::list)?;
        Ok(all
            .into_iter()
            .map(|volume| Btrfssubvolume {
                btrfssubvolume_id: volume.id,
                btrfssubvolume_top_level_id: volume.top_level,
                btrfssubvolume_path: volume.path,
            })
            .collect())
    }

    fn btrfs_subvolume_set_default(&mut self, id: i64, fs: GuestPath) -> Result<()> {
        let id = u64::try_from(id)
            .map_err(|_| Error::with_errno(Errno::EINVAL, format!("{id}: no subvolume")))?;
        let command = Command::new("btrfs")
            .args(["subvolume", "set-default"])
            .arg(id.to_string());
        self.on_mounted(command, &fs).map(drop)
    }

    fn btrfs_subvolume_get_default(&mut self, fs: MountableOrPath) -> Result<i64> {
        let id = self.with_filesystem(&fs, volumes::default)?;
        i64::try_from(id).map_err(|_| Error::os(Errno::EOVERFLOW, fs))
    }

    fn btrfs_subvolume_show(&mut self, subvolume: GuestPath) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        // The program finds out the name of its directory and goes by that.
        let view = View::new(&self.top(&subvolume)?).context(&subvolume)?;
        let command = Command::new("btrfs").args(["subvolume", "show"]);
        let out = command.cwd(&view).arg(".").run().context(&subvolume)?;
        parse_show(&out.stdout).context(subvolume)
    }

    fn btrfs_quota_enable(&mut self, fs: MountableOrPath, enable: bool) -> Result<()> {
        let what = if enable { "enable" } else { "disable" };
        self.with_writable(&fs, |top| {
            let command = Command::new("btrfs").args(["quota", what]);
            command.cwd(top).arg(".").run().map(drop)
        })
    }

    fn btrfs_quota_rescan(&mut self, fs: MountableOrPath) -> Result<()> {
        self.with_writable(&fs, |top| {
            let command = Command::new("btrfs").args(["quota", "rescan"]);
            command.cwd(top).arg(".").run().map(drop)
        })
    }

    fn btrfs_qgroup_limit(&mut self, subvolume: GuestPath, size: i64) -> Result<()> {
        if size < 0 {
            return Err(Error::with_errno(Errno::EINVAL, "size is negative"));
        }
        let command = Command::new("btrfs")
            .args(["qgroup", "limit"])
            .arg(size.to_string());
        self.on_mounted(command, &subvolume).map(drop)
    }

    fn btrfs_qgroup_create(&mut self, qgroupid: &str, subvolume: GuestPath) -> Result<()> {
        let command = Command::new("btrfs").args(["qgroup", "create", group(qgroupid)?]);
        self.on_mounted(command, &subvolume).map(drop)
    }

    fn btrfs_qgroup_destroy(&mut self, qgroupid: &str, subvolume: GuestPath) -> Result<()> {
        let command = Command::new("btrfs").args(["qgroup", "destroy", group(qgroupid)?]);
        self.on_mounted(command, &subvolume).map(drop)
    }

    fn btrfs_qgroup_show(&mut self, path: GuestPath) -> Result<Vec<Btrfsqgroup>> {
        let command = Command::new("btrfs").args(["qgroup", "show", "--raw"]);
        let out = self.on_mounted(command, &path)?;
        Ok(parse_groups(&String::from_utf8_lossy(&out)))
    }

    fn btrfs_qgroup_assign(&mut self, src: &str, dst: &str, path: GuestPath) -> Result<()> {
        let command = Command::new("btrfs").args(["qgroup", "assign", group(src)?, group(dst)?]);
        self.on_mounted(command, &path).map(drop)
    }

    fn btrfs_qgroup_remove(&mut self, src: &str, dst: &str, path: GuestPath) -> Result<()> {
        let command = Command::new("btrfs").args(["qgroup", "remove", group(src)?, group(dst)?]);
        self.on_mounted(command, &path).map(drop)
    }
}

impl Daemon {
    /// Where a new subvolume goes: for a directory that exists, a snapshot goes below it, by the
    /// name of its source.
    fn new_volume(&self, dest: &GuestPath, source: Option<&GuestPath>) -> Result<Place> {
        let exists = self
            .guest
            .stat(dest)
            .is_ok_and(|stat| file_type(&stat) == SFlag::S_IFDIR);
        let name = source
            .filter(|_| exists)
            .and_then(|source| source.as_path().file_name());
        match name {
            Some(name) => self.guest.parent(&dest.join(name.as_bytes())),
            None => self.guest.parent(dest),
        }
    }

    /// Looks at a btrfs filesystem: where it is mounted in the guest, or mounted for a moment.
    fn with_filesystem<T>(
        &self,
        fs: &MountableOrPath,
        look: impl FnOnce(&File) -> Result<T>,
    ) -> Result<T> {
        match fs {
            MountableOrPath::Path(path) => {
                let top = self.top(path)?;
                look(&top).context(path)
            }
            MountableOrPath::Mountable(mountable) => {
                let scratch = Scratch::mount(mountable.device())?;
                look(&scratch.open()?).context(mountable)
            }
        }
    }

    /// The same, for changing it.
    fn with_writable(
        &self,
        fs: &MountableOrPath,
        change: impl FnOnce(&File) -> Result<()>,
    ) -> Result<()> {
        match fs {
            MountableOrPath::Path(_) => self.with_filesystem(fs, change),
            MountableOrPath::Mountable(mountable) => {
                let scratch = Scratch::mount_writable(mountable.device())?;
                change(&scratch.open()?).context(mountable)
            }
        }
    }
}

/// By a system call on the directory: the program would look its name up again, which may lead
/// elsewhere by then.
fn create(place: &Place, wanted: &NewVolume<'_>) -> Result<()> {
    let parent = reopen(&place.dir, OFlag::O_RDONLY)?;
    match ioctl::create_subvolume(&parent, &place.name, wanted) {
        Err(Errno::ENOTTY) => Err(Error::new("not on a btrfs filesystem")),
        created => Ok(created?),
    }
}

/// Checks the id of a quota group, which is no option of the program.
fn group(id: &str) -> Result<&str> {
    if id.starts_with('-') || id.is_empty() {
        return Err(no_group(id));
    }
    Ok(id)
}

/// The number of a quota group: `LEVEL/NUMBER`, or a number for one of the lowest level.
fn group_number(id: &str) -> Result<u64> {
    const LEVEL_AT: u32 = 48;
    let (level, number) = id.split_once('/').unwrap_or(("0", id));
    match (level.parse::<u16>(), number.parse::<u64>()) {
        (Ok(level), Ok(number)) if number >> LEVEL_AT == 0 => {
            Ok(u64::from(level) << LEVEL_AT | number)
        }
        _ => Err(no_group(id)),
    }
}

fn no_group(id: &str) -> Error {
    Error::invalid(format!("{id}: not the id of a quota group"))
}

/// The path in the first line, then titles and values; the snapshots follow their title, one a
/// line.
fn parse_show(out: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    const SNAPSHOTS: &[u8] = b"Snapshot(s)";
    let mut lines = out
        .split(|&b| b == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let path = lines
        .next()
        .ok_or_else(|| Error::new("btrfs subvolume show printed nothing"))?;
    let mut found = vec![(b"path".to_vec(), path.to_vec())];
    for line in lines {
        let colon = line.iter().position(|&b| b == b':');
        let last_is_snapshots = found.last().is_some_and(|(title, _)| title == SNAPSHOTS);
        match (colon, found.last_mut()) {
            (None, Some((_, snapshots))) if last_is_snapshots => {
                if !snapshots.is_empty() {
                    snapshots.push(b',');
                }
                snapshots.extend_from_slice(line);
            }
            _ => {
                let (title, value) = line.split_at(colon.unwrap_or(line.len()));
                let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
                let value = if value == b"-" { b"" } else { value };
                found.push((title.to_vec(), value.to_vec()));
            }
        }
    }
    Ok(found)
}

/// The rows of `btrfs qgroup show`, below two of titles.
fn parse_groups(text: &str) -> Vec<Btrfsqgroup> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let id = words.next().filter(|id| id.contains('/'))?;
            Some(Btrfsqgroup {
                btrfsqgroup_id: id.as_bytes().to_vec(),
                btrfsqgroup_rfer: words.next()?.parse().ok()?,
                btrfsqgroup_excl: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_subvolume_says_of_itself() {
        let out = b"dir/s2\n\tName: \t\t\ts2\n\tParent UUID: \t\t-\n\tFlags: \t\t\t-\n\
            \tSnapshot(s):\n\t\t\t\tsnap/a\n\t\t\t\tsnap/b\n\tQuota group:\t\tn/a\n";
        let found = parse_show(out).unwrap();
        let pair = |title: &str, value: &str| (title.into(), value.into());
        assert_eq!(
            found,
            [
                pair("path", "dir/s2"),
                pair("Name", "s2"),
                pair("Parent UUID", ""),
                pair("Flags", ""),
                pair("Snapshot(s)", "snap/a,snap/b"),
                pair("Quota group", "n/a"),
            ]
        );
        assert!(parse_show(b"").is_err());
    }

    #[test]
    fn quota_groups() {
        let text = "Qgroupid    Referenced    Exclusive   Path \n\
            --------    ----------    ---------   ----\n\
            0/5              16384        16384   <toplevel>\n1/100 0 0\n";
        let groups = parse_groups(text);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].btrfsqgroup_id, b"0/5");
        assert_eq!(groups[0].btrfsqgroup_rfer, 16384);
        assert!(group("-f").is_err() && group("1/100").is_ok());
        assert_eq!(group_number("1/100").unwrap(), 1 << 48 | 100);
        assert_eq!(group_number("256").unwrap(), 256);
        for bad in [
            "",
            "/",
            "1/",
            "-1/5",
            "65536/1",
            "0/281474976710656",
            "1/2/3",
        ] {
            assert!(group_number(bad).is_err(), "{bad}");
        }
    }
}
