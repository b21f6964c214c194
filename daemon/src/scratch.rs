//! Room in the appliance's own filesystem: for programs that need files, and to
//! mount something on for a moment.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::unistd::mkdtemp;
use protocol::{Context, Result};

use crate::logging;

/// A directory that nobody else may look into; it goes with all that is in it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// The errno of mkdtemp(3).
    pub(crate) fn new() -> Result<Self> {
        let path = mkdtemp("/tmp/guestfsdXXXXXX").context("/tmp")?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            logging::warning(format_args!("{}: {error}", self.path.display()));
        }
    }
}

/// An empty directory outside of the guest. What is mounted there goes with it.
#[derive(Debug)]
pub(crate) struct MountPoint(PathBuf);

impl MountPoint {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// The errno of mkdtemp(3).
    pub(crate) fn new() -> Result<Self> {
        mkdtemp("/tmp/mountXXXXXX").context("/tmp").map(Self)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        match umount2(&self.0, MntFlags::MNT_DETACH) {
            // EINVAL: nothing was ever mounted.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => {
                logging::warning(format_args!("umount: {}: {errno}", self.0.display()));
            }
        }
        // Only if it is empty: what is still mounted is not ours to remove.
        if let Err(error) = fs::remove_dir(&self.0) {
            logging::warning(format_args!("rmdir: {}: {error}", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left() {
        let directory = Directory::new().unwrap();
        let path = directory.path().to_owned();
        fs::create_dir(path.join("below")).unwrap();
        fs::write(path.join("below/file"), "content").unwrap();
        drop(directory);
        assert!(!path.exists());
    }
}
