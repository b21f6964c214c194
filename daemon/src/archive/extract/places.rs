//! The directories that members are made in.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use protocol::{Error, GuestPath, Result};

use crate::guest::{Guest, file_type};
use crate::relative::split;

/// Directories whose descriptors are kept for the members that follow.
const OPEN_DIRECTORIES: usize = 64;

/// Finds and makes directories below the one that is unpacked into.
pub(super) struct Places<'g> {
    guest: &'g Guest,
    /// The directory, without links.
    base: GuestPath,
    /// Directories by their path below the base.
    open: HashMap<Vec<u8>, OwnedFd>,
}

impl<'g> Places<'g> {
    /// The places below `directory`, which has to be a directory.
    pub(super) fn new(guest: &'g Guest, directory: &GuestPath) -> Result<Self> {
        let mut places = Self {
            guest,
            base: guest.resolve(directory)?,
            open: HashMap::new(),
        };
        places.directory(b"")?;
        Ok(places)
    }

    /// The directory at `path` below the base, with all that lead to it made
    /// if they are missing.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<&OwnedFd> {
        if !self.open.contains_key(path) {
            let fd = self.open_directory(path)?;
            if self.open.len() >= OPEN_DIRECTORIES {
                self.open.clear();
            }
            self.open.insert(path.to_vec(), fd);
        }
        // It was just put there.
        self.open
            .get(path)
            .ok_or_else(|| Error::from(Errno::ENOENT))
    }

    /// The directory at `path`, if it is there.
    pub(super) fn find(&self, path: &[u8]) -> Result<OwnedFd> {
        let handle = self.guest.handle(&self.base.join(path))?;
        let stat = fstat(&handle)?;
        if file_type(&stat) != SFlag::S_IFDIR {
            return Err(Error::os(Errno::ENOTDIR, self.base.join(path)));
        }
        Ok(handle)
    }

    /// Metadata of what is at `path`; that of a link itself.
    pub(super) fn lstat(&mut self, path: &[u8]) -> Result<FileStat> {
        let (dir, name) = split(path);
        let fd = self.directory(dir)?;
        Ok(fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Whether the path leads to a directory, through links too.
    pub(super) fn leads_to_directory(&self, path: &[u8]) -> bool {
        self.guest
            .stat(&self.base.join(path))
            .is_ok_and(|stat| file_type(&stat) == SFlag::S_IFDIR)
    }

    /// Has directories looked up anew: one of them, or a link to one, was replaced.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }

    /// Opens the directory at `path`, with all that lead to it made if they
    /// are missing.
    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd> {
        match self.find(path) {
            Err(error) if error.errno() == Some(Errno::ENOENT) && !path.is_empty() => {}
            found => return found,
        }
        let mut end = 0;
        loop {
            let next = path
                .get(end + 1..)
                .and_then(|rest| rest.iter().position(|&byte| byte == b'/'))
                .map_or(path.len(), |at| end + 1 + at);
            let part = path.get(..next).unwrap_or(path);
            let (dir, name) = split(part);
            let parent = self.find(dir)?;
            match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::os(errno, String::from_utf8_lossy(part))),
            }
            if next >= path.len() {
                return self.find(path);
            }
            end = next;
        }
    }
}
