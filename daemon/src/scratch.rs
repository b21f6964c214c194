//! Room in the appliance's own filesystem, for programs that need files.

use std::fs;
use std::path::{Path, PathBuf};

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
