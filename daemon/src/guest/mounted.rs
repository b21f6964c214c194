//! What is mounted in the guest, and where.
//!
//! The kernel lists and unmounts filesystems by names in the appliance. A name that it has listed
//! can lead elsewhere by the time that it is used, so it becomes a path in the guest again, which
//! is resolved there.

use nix::mount::{MntFlags, umount2};
use protocol::{Context, GuestPath, Result};

use super::{Guest, descriptor_path};
use crate::mounts::{self, Mount};

impl Guest {
    /// All mounts in the guest, in the order they were made.
    ///
    /// # Errors
    ///
    /// When the kernel's list cannot be read.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        mounts::below(self.sysroot())
    }

    /// Where a filesystem is mounted, as a path in the guest.
    pub fn place_of(&self, mount: &Mount) -> GuestPath {
        let below = mount.mountpoint.strip_prefix(self.sysroot());
        let path = below.unwrap_or(&mount.mountpoint).as_os_str();
        GuestPath::root().join(path.as_encoded_bytes())
    }

    /// What is mounted at the very place that a path leads to; the last, if there are several.
    ///
    /// # Errors
    ///
    /// The errno of the system call, if the path leads nowhere.
    pub fn mounted_at(&self, path: &GuestPath) -> Result<Option<Mount>> {
        let place = self.resolve(path)?;
        let is_there = |mount: &Mount| self.place_of(mount) == place;
        Ok(self.mounts()?.into_iter().rfind(is_there))
    }

    /// Whether another filesystem is mounted over it, at its very place.
    ///
    /// # Errors
    ///
    /// When the kernel's list cannot be read.
    pub fn is_covered(&self, mount: &Mount) -> Result<bool> {
        let same_place = |other: &Mount| other.mountpoint == mount.mountpoint;
        let top = self.mounts()?.into_iter().rfind(same_place);
        Ok(top.as_ref() != Some(mount))
    }

    /// Unmounts what is on top at a mount's place.
    ///
    /// # Errors
    ///
    /// The errno of umount2(2).
    pub fn unmount(&self, mount: &Mount, flags: MntFlags) -> Result<()> {
        let flags = flags | MntFlags::UMOUNT_NOFOLLOW;
        if mount.mountpoint == self.sysroot() {
            return Ok(umount2(&mount.mountpoint, flags)?);
        }
        // A descriptor of the place itself would keep it in use.
        let place = self.parent(&self.place_of(mount))?;
        Ok(umount2(
            &descriptor_path(&place.dir).join(&place.name),
            flags,
        )?)
    }

    /// Unmounts everything in the guest, the last first.
    ///
    /// # Errors
    ///
    /// When a filesystem is busy; those before it are unmounted by then.
    pub fn unmount_all(&self) -> Result<()> {
        // Nothing can hide or use the one that was mounted last. The deepest may not be within
        // reach: another filesystem may have been mounted over a directory on the way to it.
        for mount in self.mounts()?.into_iter().rev() {
            self.unmount(&mount, MntFlags::empty())
                .with_context(|| format!("umount: {}", self.place_of(&mount)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use nix::errno::Errno;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

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
        let guest = Guest::new(&root);
        let covered = |mount: &Mount| guest.is_covered(mount).unwrap();
        let mounts = guest.mounts().unwrap();
        let found: Vec<_> = mounts.iter().map(covered).collect();
        assert_eq!(found, [true, false, false, false]);
        let found: Vec<_> = Guest::new(&root)
            .mounts()
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
        // What was listed can be a link by the time it is unmounted.
        let listed = guest.mounts().unwrap().pop().expect("a mount");
        tmpfs(&root.join("d/c"));
        tmpfs(&other.join("c"));
        let moved = guest.mounts().unwrap().pop().expect("a mount");
        std::fs::rename(root.join("d"), root.join("was-d")).unwrap();
        std::os::unix::fs::symlink(&other, root.join("d")).unwrap();
        let error = guest.unmount(&moved, MntFlags::empty()).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert_eq!(Guest::new(&other).mounts().unwrap().len(), 2);
        guest.unmount(&listed, MntFlags::empty()).unwrap();
        assert_eq!(guest.mounts().unwrap().len(), 4);

        guest.unmount_all().unwrap();
        assert!(guest.mounts().unwrap().is_empty());
        assert_eq!(Guest::new(&other).mounts().unwrap().len(), 2);

        // Over what is on the way to another.
        tmpfs(&root);
        tmpfs(&root.join("a/b"));
        tmpfs(&root.join("a"));
        guest.unmount_all().unwrap();
        assert!(guest.mounts().unwrap().is_empty());

        tmpfs(&root);
        let held = std::fs::File::create(root.join("file")).unwrap();
        let error = guest.unmount_all().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EBUSY));
        assert!(error.to_string().starts_with("umount: /"), "{error}");
        drop(held);
        Guest::new(&top).unmount_all().unwrap();
    }
}
