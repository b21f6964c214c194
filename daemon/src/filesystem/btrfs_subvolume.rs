//! Handlers of `idl/filesystem/btrfs_subvolume.idl`.

mod names;
mod output;

use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use protocol::api::{
    BtrfsSubvolumeActions, BtrfsSubvolumeCreateOptions, BtrfsSubvolumeSnapshotOptions, Btrfsqgroup,
    Btrfssubvolume,
};
use protocol::{Context, Error, GuestPath, List, MountableOrPath, Result};

use super::ioctl::{self, NewVolume};
use super::volumes::{self, Scratch};
use crate::command::Command;
use crate::daemon::Daemon;
use crate::guest::{Place, View, file_type, reopen};
use names::Names;

/// The number of a subvolume's top directory.
const TOP: u64 = 256;

impl BtrfsSubvolumeActions for Daemon {
    fn btrfs_subvolume_snapshot(
        &mut self,
        source: GuestPath,
        dest: GuestPath,
        options: BtrfsSubvolumeSnapshotOptions<'_>,
    ) -> Result<()> {
        let origin = self.top(&source)?;
        // Of any other directory, older kernels make one of the subvolume that it is in.
        if fstat(&origin).context(&source)?.st_ino != TOP {
            return Err(Errno::EINVAL)
                .context("not a subvolume")
                .context(source);
        }
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
        // What the path names by its dots is never to be deleted, but in use.
        if place.name == "." {
            return Err(Error::os(Errno::EBUSY, subvolume));
        }
        let parent = reopen(&place.dir, OFlag::O_RDONLY).context(&subvolume)?;
        match ioctl::delete_subvolume(&parent, &place.name) {
            // What is on another filesystem is no subvolume either.
            Err(Errno::ENOTTY) => Err(Error::os(Errno::EINVAL, subvolume)),
            deleted => deleted.context(subvolume),
        }
    }

    fn btrfs_subvolume_list(&mut self, fs: MountableOrPath) -> Result<List<Btrfssubvolume>> {
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
        let top = self.top(&subvolume)?;
        // The program finds out the name of its directory and goes by that.
        let view = View::new(&top).context(&subvolume)?;
        let command = Command::new("btrfs").args(["subvolume", "show"]);
        let command = command.in_view(&view, &subvolume).arg(".");
        let out = command.run().context(&subvolume)?;
        let names = Names::of(&top).context(&subvolume)?;
        output::show(&out.stdout, &names).context(subvolume)
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
            let rescan = |options: &[&str]| {
                let command = Command::new("btrfs").args(["quota", "rescan"]);
                command.args(options).cwd(top).arg(".").run().map(drop)
            };
            match rescan(&[]) {
                // Enabling quotas has begun one, which says nothing against another after it.
                Err(error) if error.message().contains(Errno::EINPROGRESS.desc()) => {
                    rescan(&["-w"])?;
                    rescan(&[])
                }
                other => other,
            }
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

    fn btrfs_qgroup_show(&mut self, path: GuestPath) -> Result<List<Btrfsqgroup>> {
        let top = self.top(&path)?;
        let show = |format: &[&str]| {
            let command = Command::new("btrfs").args(format.iter().copied());
            command.args(["qgroup", "show", "--raw"]).cwd(&top).arg(".")
        };
        // Old versions have no JSON, and 6.2 aborts over some groups when it writes it; what is
        // wrong with the filesystem, the table's run says as well.
        let groups = match show(&["--format", "json"]).run() {
            Ok(json) => output::groups_json(&json.stdout),
            Err(_) => {
                let table = show(&[]).run().context(&path)?.stdout;
                Some(output::groups(&String::from_utf8_lossy(&table)))
            }
        };
        groups
            .map(List::from)
            .ok_or_else(|| Error::new("unexpected output from 'btrfs qgroup show' command"))
            .context(path)
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
                let scratch = Scratch::mount(mountable)?;
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
                let scratch = Scratch::mount_writable(mountable)?;
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

/// The number of a quota group, `LEVEL/NUMBER`.
fn group_number(id: &str) -> Result<u64> {
    const LEVEL_AT: u32 = 48;
    let (level, number) = id.split_once('/').ok_or_else(|| no_group(id))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_quota_groups() {
        assert!(group("-f").is_err() && group("").is_err() && group("1/100").is_ok());
        assert_eq!(group_number("1/100").unwrap(), 1 << 48 | 100);
        assert_eq!(group_number("0/256").unwrap(), 256);
        for bad in [
            "",
            "256",
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
