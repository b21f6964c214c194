//! What a file is, and its owner, mode and times.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstat, fstatat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use protocol::api::{
    CopyAttributesOptions, IsBlockdevOptions, IsChardevOptions, IsDirOptions, IsFifoOptions,
    IsFileOptions, IsSocketOptions, Statns, StatusActions,
};
use protocol::{Context, EncodedList, Filename, GuestPath, List, Progress, Result};

use super::mode_bits;
use crate::guest::{Guest, descriptor_path, file_type};
use crate::walk::{HardLinks, Walk};
use crate::{Daemon, xattr};

/// Stands for a file that has no status to show.
const NO_STATUS: Statns = Statns {
    st_dev: 0,
    st_ino: -1,
    st_mode: 0,
    st_nlink: 0,
    st_uid: 0,
    st_gid: 0,
    st_rdev: 0,
    st_size: 0,
    st_blksize: 0,
    st_blocks: 0,
    st_atime_sec: 0,
    st_atime_nsec: 0,
    st_mtime_sec: 0,
    st_mtime_nsec: 0,
    st_ctime_sec: 0,
    st_ctime_nsec: 0,
    st_spare1: 0,
    st_spare2: 0,
    st_spare3: 0,
    st_spare4: 0,
    st_spare5: 0,
    st_spare6: 0,
};

/// The permission bits, and those for set-user-ID, set-group-ID and sticky.
const PERMISSIONS: u32 = 0o7777;

impl StatusActions for Daemon {
    fn chmod(&mut self, mode: i32, path: GuestPath) -> Result<()> {
        let mode = mode_bits(mode, &path)?;
        let handle = self.guest.handle(&path)?;
        set_mode(&handle, mode).with_context(|| format!("{path}: 0{mode:o}"))
    }

    fn chown(&mut self, owner: i32, group: i32, path: GuestPath) -> Result<()> {
        let handle = self.guest.handle(&path)?;
        set_owner(&handle, owner.cast_unsigned(), group.cast_unsigned())
            .with_context(|| format!("{path}: {owner}.{group}"))
    }

    fn exists(&mut self, path: GuestPath) -> Result<bool> {
        Ok(kind(&self.guest, &path, false)?.is_some())
    }

    fn is_file(&mut self, path: GuestPath, options: IsFileOptions) -> Result<bool> {
        is_kind(&self.guest, &path, SFlag::S_IFREG, options.followsymlinks)
    }

    fn is_dir(&mut self, path: GuestPath, options: IsDirOptions) -> Result<bool> {
        is_kind(&self.guest, &path, SFlag::S_IFDIR, options.followsymlinks)
    }

    fn du(&mut self, path: GuestPath, progress: &mut Progress<'_>) -> Result<i64> {
        progress.pulse_while(|| disk_usage(&self.guest, &path))
    }

    fn utimens(
        &mut self,
        path: GuestPath,
        atsecs: i64,
        atnsecs: i64,
        mtsecs: i64,
        mtnsecs: i64,
    ) -> Result<()> {
        let times = [time(atsecs, atnsecs), time(mtsecs, mtnsecs)];
        // As in the system call, nothing to do means that the path does not matter.
        if times.iter().all(|time| *time == TimeSpec::UTIME_OMIT) {
            return Ok(());
        }
        let handle = self.guest.handle_nofollow(&path)?;
        set_times(&handle, &times).context(&path)
    }

    fn lchown(&mut self, owner: i32, group: i32, path: GuestPath) -> Result<()> {
        let handle = self.guest.handle_nofollow(&path)?;
        set_owner(&handle, owner.cast_unsigned(), group.cast_unsigned())
            .with_context(|| format!("{path}: {owner}.{group}"))
    }

    fn filesize(&mut self, file: GuestPath) -> Result<i64> {
        Ok(self.guest.stat(&file)?.st_size)
    }

    fn is_chardev(&mut self, path: GuestPath, options: IsChardevOptions) -> Result<bool> {
        is_kind(&self.guest, &path, SFlag::S_IFCHR, options.followsymlinks)
    }

    fn is_blockdev(&mut self, path: GuestPath, options: IsBlockdevOptions) -> Result<bool> {
        is_kind(&self.guest, &path, SFlag::S_IFBLK, options.followsymlinks)
    }

    fn is_fifo(&mut self, path: GuestPath, options: IsFifoOptions) -> Result<bool> {
        is_kind(&self.guest, &path, SFlag::S_IFIFO, options.followsymlinks)
    }

    fn is_symlink(&mut self, path: GuestPath) -> Result<bool> {
        is_kind(&self.guest, &path, SFlag::S_IFLNK, None)
    }

    fn is_socket(&mut self, path: GuestPath, options: IsSocketOptions) -> Result<bool> {
        is_kind(&self.guest, &path, SFlag::S_IFSOCK, options.followsymlinks)
    }

    fn copy_attributes(
        &mut self,
        src: GuestPath,
        dest: GuestPath,
        options: CopyAttributesOptions,
    ) -> Result<()> {
        let all = options.all.unwrap_or(false);
        let from = self.guest.handle(&src)?;
        let to = self.guest.handle(&dest)?;
        let from_stat = fstat(&from).context(&src)?;
        let to_stat = fstat(&to).context(&dest)?;
        // The owner first: changing it clears the set-user-ID and set-group-ID bits.
        let other_owner = (from_stat.st_uid, from_stat.st_gid) != (to_stat.st_uid, to_stat.st_gid);
        let new_owner = other_owner && options.ownership.unwrap_or(all);
        if new_owner {
            set_owner(&to, from_stat.st_uid, from_stat.st_gid).context(&dest)?;
        }
        let mode = from_stat.st_mode & PERMISSIONS;
        let other_mode = new_owner || mode != to_stat.st_mode & PERMISSIONS;
        if other_mode && options.mode.unwrap_or(all) {
            set_mode(&to, mode).context(&dest)?;
        }
        if options.xattributes.unwrap_or(all) {
            copy_xattrs((&from, &src), (&to, &dest))?;
        }
        Ok(())
    }

    fn statns(&mut self, path: GuestPath) -> Result<Statns> {
        Ok(statns(&self.guest.stat(&path)?))
    }

    fn lstatns(&mut self, path: GuestPath) -> Result<Statns> {
        Ok(statns(&self.guest.lstat(&path)?))
    }

    fn internal_lstatnslist(
        &mut self,
        path: GuestPath,
        names: Vec<Filename>,
    ) -> Result<List<Statns>> {
        let dir = self.guest.open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let stat = |name: &Filename| match name.as_bytes() {
            // Above the guest's root there is nothing.
            b".." => self.guest.lstat(&path.join(b"..")).ok(),
            _ => fstatat(&dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok(),
        };
        let mut all = EncodedList::default();
        for name in &names {
            let status = stat(name).map_or(NO_STATUS, |stat| statns(&stat));
            all.push(&status).context(&path)?;
        }
        Ok(all.into())
    }
}

/// Copies all extended attributes, replacing those of the same names.
fn copy_xattrs(from: (&impl AsFd, &GuestPath), to: (&impl AsFd, &GuestPath)) -> Result<()> {
    for name in xattr::list(from.0).context(from.1)? {
        let subject = |path: &GuestPath| format!("{path}: {}", String::from_utf8_lossy(&name));
        let value = xattr::get(from.0, &name).with_context(|| subject(from.1))?;
        xattr::set(to.0, &name, &value).with_context(|| subject(to.1))?;
    }
    Ok(())
}

/// Changes the mode of what a handle (`O_PATH`) stands for.
fn set_mode(handle: &impl AsFd, mode: u32) -> nix::Result<()> {
    fchmodat(
        AT_FDCWD,
        &descriptor_path(handle),
        Mode::from_bits_truncate(mode),
        FchmodatFlags::FollowSymlink,
    )
}

/// Sets the times of access and change of what a handle (`O_PATH`) stands for.
fn set_times(handle: &impl AsFd, [access, change]: &[TimeSpec; 2]) -> nix::Result<()> {
    utimensat(
        AT_FDCWD,
        &descriptor_path(handle),
        access,
        change,
        UtimensatFlags::FollowSymlink,
    )
}

/// Changes the owner of what a handle (`O_PATH`) stands for; `u32::MAX` keeps it.
fn set_owner(handle: &impl AsFd, owner: u32, group: u32) -> nix::Result<()> {
    fchownat(
        handle,
        "",
        Some(Uid::from_raw(owner)),
        Some(Gid::from_raw(group)),
        AtFlags::AT_EMPTY_PATH,
    )
}

/// The kind of what a path names; `None` if there is nothing.
fn kind(guest: &Guest, path: &GuestPath, follow: bool) -> Result<Option<SFlag>> {
    let stat = if follow {
        guest.stat(path)
    } else {
        guest.lstat(path)
    };
    match stat {
        Ok(stat) => Ok(Some(file_type(&stat))),
        Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ENOTDIR)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_kind(guest: &Guest, path: &GuestPath, wanted: SFlag, follow: Option<bool>) -> Result<bool> {
    Ok(kind(guest, path, follow.unwrap_or(false))? == Some(wanted))
}

/// A time as [`StatusActions::utimens`] has it.
fn time(seconds: i64, nanoseconds: i64) -> TimeSpec {
    match nanoseconds {
        -1 => TimeSpec::UTIME_NOW,
        -2 => TimeSpec::UTIME_OMIT,
        _ => TimeSpec::new(seconds, nanoseconds),
    }
}

fn statns(stat: &FileStat) -> Statns {
    Statns {
        st_dev: stat.st_dev.cast_signed(),
        st_ino: stat.st_ino.cast_signed(),
        st_mode: i64::from(stat.st_mode),
        st_nlink: stat.st_nlink as i64,
        st_uid: i64::from(stat.st_uid),
        st_gid: i64::from(stat.st_gid),
        st_rdev: stat.st_rdev.cast_signed(),
        st_size: stat.st_size,
        st_blksize: stat.st_blksize,
        st_blocks: stat.st_blocks,
        st_atime_sec: stat.st_atime,
        st_atime_nsec: stat.st_atime_nsec,
        st_mtime_sec: stat.st_mtime,
        st_mtime_nsec: stat.st_mtime_nsec,
        st_ctime_sec: stat.st_ctime,
        st_ctime_nsec: stat.st_ctime_nsec,
        ..NO_STATUS
    }
}

/// The space of a tree in KiB, each file counted once.
fn disk_usage(guest: &Guest, path: &GuestPath) -> Result<i64> {
    let top = guest.handle_nofollow(path)?;
    let stat = fstat(&top).context(path)?;
    let mut usage = Usage::default();
    usage.add(&stat).context(path)?;
    if file_type(&stat) == SFlag::S_IFDIR {
        let mut walk = Walk::new(&top).context(path)?;
        while let Some(entry) = walk.next().context(path)? {
            let stat = entry.stat().with_context(|| path.join(entry.path))?;
            usage.add(&stat).context(path)?;
        }
    }
    Ok(usage.blocks.saturating_add(1) / 2)
}

#[derive(Default)]
struct Usage {
    /// In units of 512 bytes.
    blocks: i64,
    linked: HardLinks,
}

impl Usage {
    fn add(&mut self, stat: &FileStat) -> Result<()> {
        // What links a directory has are those of its children.
        if file_type(stat) == SFlag::S_IFDIR || self.linked.met_as(stat, b"")?.is_none() {
            self.blocks = self.blocks.saturating_add(stat.st_blocks);
        }
        Ok(())
    }
}
