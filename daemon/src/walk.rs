//! Walking a directory tree by descriptors.
//!
//! No path is ever put together and looked up again: each directory is opened
//! relative to its parent, and never through a symbolic link, so a walk stays
//! below the directory where it began whatever the guest has planted there.

mod descent;
mod hard_links;
mod repetition;

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::{OwningIter, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use protocol::{Context, Error, Result};

pub(crate) use descent::Descent;
use descent::OPEN;
pub(crate) use hard_links::HardLinks;
use repetition::Repetition;

use crate::guest::file_type;

/// How much memory the names may take that are still to come in directories
/// which are not open.
const KEPT_MAX: usize = 64 << 20;

/// A walk over everything below one directory, parents before their children
/// and otherwise in the order of the directories.
#[derive(Debug)]
pub(crate) struct Walk {
    descent: Descent,
    levels: Vec<Level>,
    /// Memory of the names in directories that are not open.
    kept: usize,
    /// The path of the current entry below the top.
    path: Vec<u8>,
    /// The current entry is a directory that comes next.
    descend: bool,
    repetition: Repetition,
}

#[derive(Debug)]
struct Level {
    rest: Rest,
    current: Option<Name>,
    /// Length of the path of this directory.
    prefix: usize,
}

/// What is still to come of a directory.
#[derive(Debug)]
enum Rest {
    /// It is being read: a directory may have more names than there is memory.
    Read(Box<OwningIter>),
    /// The next one last.
    Kept(Vec<Name>),
}

#[derive(Debug)]
struct Name {
    name: CString,
    kind: Option<Type>,
}

impl Name {
    fn memory(&self) -> usize {
        size_of::<Self>() + self.name.as_bytes_with_nul().len()
    }
}

/// What the walk found.
#[derive(Debug)]
pub(crate) struct Entry<'w> {
    /// The path below the top, without a leading slash.
    pub(crate) path: &'w [u8],
    /// The directory that holds it.
    pub(crate) dir: BorrowedFd<'w>,
    /// Its name there.
    pub(crate) name: &'w CStr,
    /// What kind of file it is, as far as its directory says.
    kind: Option<Type>,
}

impl Entry<'_> {
    /// Its metadata; that of a link itself.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    pub(crate) fn stat(&self) -> nix::Result<FileStat> {
        fstatat(self.dir, self.name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// Opens it to be read, and gives its metadata: a regular file and nothing
    /// else. What took its place since it was looked at must not keep the daemon
    /// waiting, nor become its terminal.
    ///
    /// # Errors
    ///
    /// ESTALE if it is no regular file any more; the errno of the system call.
    pub(crate) fn open_regular(&self) -> nix::Result<(File, FileStat)> {
        let flags = OFlag::O_RDONLY
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC;
        let file = match openat(self.dir, self.name, flags, Mode::empty()) {
            // Of a link, and of a socket or a device that nothing serves.
            Err(Errno::ELOOP | Errno::ENXIO) => return Err(Errno::ESTALE),
            file => file?,
        };
        let stat = fstat(&file)?;
        if file_type(&stat) == SFlag::S_IFREG {
            Ok((File::from(file), stat))
        } else {
            Err(Errno::ESTALE)
        }
    }

    /// Whether it is a regular file. A forged directory can call a device one:
    /// that it is one, only the file itself is believed.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    pub(crate) fn is_regular(&self) -> nix::Result<bool> {
        if self.kind.is_some_and(|kind| kind != Type::File) {
            return Ok(false);
        }
        Ok(file_type(&self.stat()?) == SFlag::S_IFREG)
    }
}

impl Walk {
    /// A walk below `top`, a directory.
    ///
    /// # Errors
    ///
    /// ENOTDIR if it is none; the errno of the system call.
    pub(crate) fn new(top: &impl AsFd) -> Result<Self> {
        let mut walk = Self {
            descent: Descent::new(top.as_fd().try_clone_to_owned()?),
            levels: Vec::new(),
            kept: 0,
            path: Vec::new(),
            descend: false,
            repetition: Repetition::default(),
        };
        walk.enter(c".")?;
        Ok(walk)
    }

    /// The next entry. If the last one was a directory this is its first
    /// child, unless [`Walk::skip`] was called.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read; the message names it.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>> {
        if std::mem::take(&mut self.descend) {
            self.descend_into_current()?;
        }
        while let Some(level) = self.levels.last_mut() {
            let prefix = self.path.get(..level.prefix).unwrap_or_default();
            level.current = match level.next_name() {
                // It is the caller's to name the directory that was to be walked.
                Err(errno) if prefix.is_empty() => return Err(errno.into()),
                name => name.with_context(|| String::from_utf8_lossy(prefix).into_owned())?,
            };
            if let Some(name) = &level.current {
                if matches!(level.rest, Rest::Kept(_)) {
                    self.kept = self.kept.saturating_sub(name.memory());
                }
                return self.current();
            }
            self.leave()?;
        }
        Ok(None)
    }

    /// Does not descend into the directory that the last [`Walk::next`] gave.
    pub(crate) fn skip(&mut self) {
        self.descend = false;
    }

    fn current(&mut self) -> Result<Option<Entry<'_>>> {
        let Some(level) = self.levels.last() else {
            return Ok(None);
        };
        let Some(entry) = &level.current else {
            return Ok(None);
        };
        let dir = self.descent.here();
        self.path.truncate(level.prefix);
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(entry.name.as_bytes());
        self.descend = match entry.kind {
            Some(kind) => kind == Type::Directory,
            None => {
                let stat = fstatat(dir, entry.name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
                    .context(String::from_utf8_lossy(&self.path))?;
                file_type(&stat) == SFlag::S_IFDIR
            }
        };
        Ok(Some(Entry {
            path: &self.path,
            dir,
            name: &entry.name,
            kind: entry.kind,
        }))
    }

    fn descend_into_current(&mut self) -> Result<()> {
        let current = self
            .levels
            .last_mut()
            .and_then(|level| level.current.take());
        let Some(entry) = current else {
            return Ok(());
        };
        self.enter(&entry.name)
            .with_context(|| String::from_utf8_lossy(&self.path).into_owned())
    }

    fn enter(&mut self, name: &CStr) -> Result<()> {
        // The descent is about to close that one.
        let far = self.levels.len().checked_sub(OPEN);
        if let Some(far) = far.and_then(|at| self.levels.get_mut(at)) {
            far.close(&mut self.kept)?;
        }
        let stat = self.descent.enter(OsStr::from_bytes(name.to_bytes()))?;
        self.repetition.meet(&stat)?;
        self.levels.push(Level {
            rest: Rest::Read(Box::new(self.descent.names()?)),
            current: None,
            prefix: self.path.len(),
        });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let left = self.levels.pop().map_or(0, |level| level.prefix);
        self.descent.leave().map(drop).map_err(|errno| {
            let subject = String::from_utf8_lossy(self.path.get(..left).unwrap_or_default());
            match errno {
                Errno::ESTALE => Error::with_errno(
                    errno,
                    format!("{subject}: the directory was moved while it was read"),
                ),
                errno => Error::os(errno, subject),
            }
        })
    }
}

impl Level {
    fn next_name(&mut self) -> nix::Result<Option<Name>> {
        match &mut self.rest {
            Rest::Read(entries) => next_entry(entries),
            Rest::Kept(names) => Ok(names.pop()),
        }
    }

    /// Gives up the descriptor, and keeps the names that it was for.
    fn close(&mut self, kept: &mut usize) -> Result<()> {
        if let Rest::Read(entries) = &mut self.rest {
            let mut names = Vec::new();
            while let Some(name) = next_entry(entries)? {
                *kept += name.memory();
                if *kept > KEPT_MAX {
                    return Err(Error::with_errno(
                        Errno::E2BIG,
                        format!(
                            "more than {OPEN} levels down, with more than {KEPT_MAX} bytes \
                             of names still to come above"
                        ),
                    ));
                }
                names.push(name);
            }
            names.reverse();
            self.rest = Rest::Kept(names);
        }
        Ok(())
    }
}

fn next_entry(entries: &mut OwningIter) -> nix::Result<Option<Name>> {
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            return Ok(Some(Name {
                name: name.to_owned(),
                kind: entry.file_type(),
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::OwnedFd;

    use super::*;

    fn open(path: &std::path::Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    fn all(walk: &mut Walk, skip: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(entry) = walk.next().unwrap() {
            let path = entry.path.to_vec();
            found.push(String::from_utf8(path.clone()).unwrap());
            if path == skip {
                walk.skip();
            }
        }
        found.sort();
        found
    }

    #[test]
    fn finds_everything_once_and_follows_no_link() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("a/b")).unwrap();
        fs::write(top.path().join("a/b/f"), "").unwrap();
        fs::write(top.path().join("z"), "").unwrap();
        std::os::unix::fs::symlink("/", top.path().join("a/out")).unwrap();
        let mut walk = Walk::new(&open(top.path())).unwrap();
        assert_eq!(all(&mut walk, b""), ["a", "a/b", "a/b/f", "a/out", "z"]);
        let mut walk = Walk::new(&open(top.path())).unwrap();
        assert_eq!(all(&mut walk, b"a/b"), ["a", "a/b", "a/out", "z"]);
    }

    #[test]
    fn what_took_the_place_of_a_file_is_not_opened() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("f");
        fs::write(&path, "content").unwrap();
        let mut walk = Walk::new(&open(top.path())).unwrap();
        let entry = walk.next().unwrap().unwrap();
        assert_eq!(entry.open_regular().unwrap().1.st_size, 7);
        fs::remove_file(&path).unwrap();
        assert_eq!(entry.open_regular().err(), Some(Errno::ENOENT));
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(entry.open_regular().err(), Some(Errno::ESTALE));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(entry.open_regular().err(), Some(Errno::ESTALE));
    }

    #[test]
    fn goes_deeper_than_there_are_descriptors() {
        let top = tempfile::tempdir().unwrap();
        let depth = 1500;
        let mut dir = open(top.path());
        for _ in 0..depth {
            nix::sys::stat::mkdirat(&dir, c"d", Mode::S_IRWXU).unwrap();
            nix::sys::stat::mkdirat(&dir, c"e", Mode::S_IRWXU).unwrap();
            dir = openat(&dir, c"d", OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        let mut walk = Walk::new(&open(top.path())).unwrap();
        let mut count = 0;
        while walk.next().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 2 * depth);
        drop(dir);
    }
}
