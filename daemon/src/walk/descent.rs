//! Going down a tree of directories that may be deeper than any path is long.
//!
//! A guest can hold directories nested a hundred thousand deep: too many for
//! recursion, for open descriptors, and for a path. A [`Descent`] opens each
//! directory from the one above it, never through a link, keeps a fixed number
//! of them open, and finds the way back up through `..`, which it checks.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::dir::{Dir, OwningIter};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};
use protocol::GuestPath;

/// How many of the nearest directories stay open.
pub(super) const OPEN: usize = 128;

/// How much of a path is worth showing in a message.
const SHOWN: usize = 4096;

/// How much memory the levels may take: enough for half a million of them.
const MEMORY: usize = 64 << 20;

/// A position in a tree: the directories from its top down to one of them.
#[derive(Debug)]
pub(crate) struct Descent {
    base: OwnedFd,
    levels: Vec<Level>,
    /// What is left of [`MEMORY`].
    left: usize,
}

#[derive(Debug)]
struct Level {
    name: OsString,
    id: (u64, u64),
    /// Open in the last [`OPEN`] levels.
    dir: Option<OwnedFd>,
}

impl Level {
    fn memory(name: &OsStr) -> usize {
        size_of::<Self>() + name.len()
    }
}

impl Descent {
    /// Begins in the directory that holds the top of the tree.
    pub(crate) fn new(base: OwnedFd) -> Self {
        Self {
            base,
            levels: Vec::new(),
            left: MEMORY,
        }
    }

    /// The directory of the present position.
    pub(crate) fn here(&self) -> BorrowedFd<'_> {
        self.levels
            .last()
            .and_then(|level| level.dir.as_ref())
            .map_or(self.base.as_fd(), AsFd::as_fd)
    }

    /// Goes down into `name`, which must be a directory and not a link to one. ENAMETOOLONG if it
    /// is too deep.
    pub(crate) fn enter(&mut self, name: &OsStr) -> nix::Result<FileStat> {
        let dir = open_directory(self.here(), name)?;
        let stat = fstat(&dir)?;
        self.left = self
            .left
            .checked_sub(Level::memory(name))
            .ok_or(Errno::ENAMETOOLONG)?;
        if let Some(far) = self.levels.len().checked_sub(OPEN)
            && let Some(level) = self.levels.get_mut(far)
        {
            level.dir = None;
        }
        self.levels.push(Level {
            name: name.to_owned(),
            id: (stat.st_dev, stat.st_ino),
            dir: Some(dir),
        });
        Ok(stat)
    }

    /// Goes up again, and returns the name of the directory that was left;
    /// `None` if this is above the top.
    pub(crate) fn leave(&mut self) -> nix::Result<Option<OsString>> {
        let Some(left) = self.levels.pop() else {
            return Ok(None);
        };
        self.left += Level::memory(&left.name);
        if let (Some(parent), Some(dir)) = (self.levels.last_mut(), &left.dir)
            && parent.dir.is_none()
        {
            let up = open_directory(dir.as_fd(), OsStr::new(".."))?;
            let stat = fstat(&up)?;
            if (stat.st_dev, stat.st_ino) != parent.id {
                return Err(Errno::ESTALE);
            }
            parent.dir = Some(up);
        }
        Ok(Some(left.name))
    }

    /// The names in the present directory. They have a descriptor of their own, and can be read
    /// from another position.
    pub(crate) fn names(&self) -> nix::Result<OwningIter> {
        let own = self.here().try_clone_to_owned();
        let own = own.map_err(|error| Errno::try_from(error).unwrap_or(Errno::EIO))?;
        Ok(Dir::from_fd(own)?.into_iter())
    }

    /// The path of `name` here, for a message, where `top` is the path of the
    /// top of the tree. Cut if it is very long.
    pub(crate) fn describe(&self, top: &GuestPath, name: &OsStr) -> String {
        let mut text = top.to_string();
        let below = self
            .levels
            .iter()
            .skip(1)
            .map(|level| level.name.as_os_str());
        let last = (!self.levels.is_empty()).then_some(name);
        for component in below.chain(last) {
            if text.len() > SHOWN {
                text.push_str("/...");
                break;
            }
            if !text.ends_with('/') {
                text.push('/');
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{}", component.display());
        }
        text
    }
}

fn open_directory(from: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(from, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::open;
    use nix::sys::stat::mkdirat;

    #[test]
    fn goes_down_and_up_a_deep_tree() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let base = open(scratch.path(), flags, Mode::empty()).expect("open it");
        let mut descent = Descent::new(base);
        let name = OsStr::new("a-name-that-makes-the-path-longer-than-any-path-may-be");
        let depth = 2 * OPEN;
        let mut ids = Vec::new();
        for _ in 0..depth {
            mkdirat(descent.here(), name, Mode::S_IRWXU).expect("make a directory");
            ids.push(descent.enter(name).expect("enter it").st_ino);
        }
        let open = descent.levels.iter().filter(|level| level.dir.is_some());
        assert!(open.count() <= OPEN);
        let shown = descent.describe(&GuestPath::root(), name);
        assert!(shown.len() < SHOWN + 300 && shown.ends_with("/..."));
        while let Some(inode) = ids.pop() {
            let here = fstat(descent.here()).expect("stat");
            assert_eq!(here.st_ino, inode);
            assert_eq!(descent.leave().expect("leave").as_deref(), Some(name));
        }
        assert_eq!(descent.leave(), Ok(None));
    }

    #[test]
    fn does_not_go_deeper_than_there_is_memory() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        std::fs::create_dir_all(scratch.path().join("a/a/a")).expect("directories");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let base = open(scratch.path(), flags, Mode::empty()).expect("open it");
        let mut descent = Descent::new(base);
        let name = OsStr::new("a");
        descent.left = 2 * Level::memory(name) + 1;
        for _ in 0..2 {
            for _ in 0..2 {
                descent.enter(name).expect("enter it");
            }
            assert_eq!(descent.enter(name).err(), Some(Errno::ENAMETOOLONG));
            for _ in 0..2 {
                descent.leave().expect("leave");
            }
        }
        assert_eq!(descent.left, 2 * Level::memory(name) + 1);
    }

    #[test]
    fn does_not_enter_a_link() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        std::os::unix::fs::symlink("/", scratch.path().join("link")).expect("make a link");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let base = open(scratch.path(), flags, Mode::empty()).expect("open it");
        let entered = Descent::new(base).enter(OsStr::new("link"));
        assert!(matches!(entered, Err(Errno::ENOTDIR | Errno::ELOOP)));
    }
}
