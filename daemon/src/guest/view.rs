//! A directory of the guest as programs may see it that walk through it by
//! names.
//!
//! What such a program found to be a directory can be a link by the time it
//! goes on, if somebody changes the guest meanwhile; and a link leads to the
//! appliance, which is the program's own root. So the directory is mounted a
//! second time, in a way that no link on it is ever followed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use protocol::{Context, Result};

use super::descriptor_path;
use crate::mounts::{self, MS_NOSYMFOLLOW};
use crate::scratch::MountPoint;

/// A directory and everything mounted below it, without a link that is
/// followed, for as long as this is there.
#[derive(Debug)]
pub(crate) struct View {
    directory: OwnedFd,
    /// Goes last: it unmounts.
    point: MountPoint,
}

impl View {
    /// A view to read from.
    ///
    /// # Errors
    ///
    /// The errno of mount(2).
    pub(crate) fn new(directory: &impl AsFd) -> Result<Self> {
        Self::with(directory, MsFlags::MS_RDONLY)
    }

    /// A view to change what is in it.
    ///
    /// # Errors
    ///
    /// The errno of mount(2).
    pub(crate) fn writable(directory: &impl AsFd) -> Result<Self> {
        Self::with(directory, MsFlags::empty())
    }

    fn with(directory: &impl AsFd, access: MsFlags) -> Result<Self> {
        let point = MountPoint::new()?;
        let from = descriptor_path(directory);
        remount(
            Some(&from),
            point.path(),
            MsFlags::MS_BIND | MsFlags::MS_REC,
        )?;
        // Where the system shares its mounts, these would be the same for the kernel as those of the
        // guest, and the end of the one that of the other.
        remount(None, point.path(), MsFlags::MS_PRIVATE | MsFlags::MS_REC)?;
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | access;
        let flags = flags | MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        let flags = flags | MS_NOSYMFOLLOW;
        for mounted in mounts::below(point.path())? {
            // A mount may be read-only although its filesystem is not.
            let kept = mounted.flags() & MsFlags::MS_RDONLY;
            remount(None, &mounted.mountpoint, flags | kept)?;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(point.path(), flags, Mode::empty()).context(point.path().display())?;
        Ok(Self { directory, point })
    }

    /// Where programs find it that ask for the name of their directory.
    pub(crate) fn path(&self) -> &Path {
        self.point.path()
    }
}

impl AsFd for View {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn remount(from: Option<&Path>, to: &Path, flags: MsFlags) -> Result<()> {
    mount(from, to, None::<&str>, flags, None::<&str>).context(to.display())
}

#[cfg(test)]
mod tests {
    use nix::mount::{MntFlags, umount2};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn what_is_shared_stays_mounted_when_a_view_of_it_ends() {
        // This thread's own mounts, shared among themselves as systemd has them.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        for kind in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
            remount(None, Path::new("/"), MsFlags::MS_REC | kind).unwrap();
        }
        let top = tempfile::tempdir().unwrap();
        let below = top.path().join("below");
        for at in [top.path(), &below] {
            std::fs::create_dir_all(at).unwrap();
            mount(
                Some("none"),
                at,
                Some("tmpfs"),
                MsFlags::empty(),
                None::<&str>,
            )
            .unwrap();
        }
        std::fs::write(below.join("file"), "content").unwrap();
        let directory = std::fs::File::open(top.path()).unwrap();
        let view = View::new(&directory).unwrap();
        let seen = std::fs::read(descriptor_path(&view).join("below/file"));
        assert_eq!(seen.unwrap(), b"content");
        drop(view);
        assert!(below.join("file").exists());
        umount2(top.path(), MntFlags::MNT_DETACH).unwrap();
    }
}
