//! Copying files and trees within the guest.
//!
//! Both sides are walked by descriptors: neither a link in the source nor one
//! that is in the target already leads anywhere else.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat, mknodat};
use nix::unistd::{LinkatFlags, UnlinkatFlags, linkat, symlinkat, unlinkat};
use protocol::{Context, Error, GuestPath, Result};

use super::data;
use super::metadata::Metadata;
use super::targets::{identity, name_of_copy, refuse_itself, require_no_slash};
use crate::guest::{Guest, file_type, reopen};
use crate::memory::Kept;
use crate::relative::{is_inside, split};
use crate::walk::{Descent, Entry, Walk};

/// How to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// One file, through a link to it.
    File,
    /// A tree, links as links.
    Recursive,
    /// A tree with all its metadata and hard links.
    Archive,
}

/// Copies `src` to `dest`, or into it if it is a directory.
pub(super) fn copy(guest: &Guest, src: &GuestPath, dest: &GuestPath, how: How) -> Result<()> {
    let source = match how {
        How::File => guest.handle(src)?,
        How::Recursive | How::Archive => guest.handle_nofollow(src)?,
    };
    let stat = fstat(&source).context(src)?;
    let is_dir = file_type(&stat) == SFlag::S_IFDIR;
    if is_dir && how == How::File {
        return Err(Error::with_errno(
            Errno::EISDIR,
            format!("omitting directory '{src}'"),
        ));
    }
    if how == How::File && file_type(&stat) != SFlag::S_IFREG {
        return Err(not_regular()).context(src);
    }
    let target = match guest.stat(dest) {
        Ok(there) if file_type(&there) == SFlag::S_IFDIR => match name_of_copy(src) {
            Some(name) => dest.join(name),
            None => dest.clone(),
        },
        _ => dest.clone(),
    };
    if !is_dir {
        require_no_slash(&target)?;
    }
    let place = refuse_itself(guest, src, &stat, &target)?;
    let name = place.name.as_bytes().to_vec();
    let link_there = place
        .stat()
        .is_ok_and(|link| file_type(&link) == SFlag::S_IFLNK);
    let mut copier = Copier::new(how, place.dir)?;
    if !is_dir {
        // A link to a file stays, and the file gets the data.
        if file_type(&stat) == SFlag::S_IFREG && link_there {
            let flags = OFlag::O_WRONLY | OFlag::O_TRUNC;
            let to = guest.open_regular(&target, flags)?;
            let from = reopen(&source, OFlag::O_RDONLY).context(src)?;
            data::copy_all(&from, &to, &stat).context(&target)?;
            return copier.keep(&from, &stat, &to).context(&target);
        }
        return copier.item(&source, &stat, &name).context(&target);
    }
    copier.item(&source, &stat, &name).context(&target)?;
    copier.below(&source, &name, src)
}

struct Copier {
    how: How,
    /// The directory that holds the target.
    top: OwnedFd,
    /// The directory of the target that gets entries at present.
    target: Descent,
    /// Its path below the top.
    path: Vec<u8>,
    /// The directories down to there, the outermost first.
    levels: Vec<Level>,
    /// The first copies of files that have several names.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// The directory of the last of them that got another name.
    linked_in: Option<(Vec<u8>, OwnedFd)>,
    /// The memory of these, and of what the levels are given.
    kept: Kept,
    /// What could not be copied, while the rest was.
    first_error: Option<Error>,
}

/// A directory of the target that may still get entries.
struct Level {
    /// Length of the path of the directory that holds it.
    above: usize,
    /// What it is given at the end.
    metadata: Option<Metadata>,
}

impl Copier {
    fn new(how: How, top: OwnedFd) -> Result<Self> {
        Ok(Self {
            how,
            target: Descent::new(top.try_clone()?),
            top,
            path: Vec::new(),
            levels: Vec::new(),
            linked: HashMap::new(),
            linked_in: None,
            kept: Kept::new("to keep links and attributes of such a tree"),
            first_error: None,
        })
    }

    /// Copies everything below a directory whose copy is at `base`.
    fn below(&mut self, source: &OwnedFd, base: &[u8], src: &GuestPath) -> Result<()> {
        let mut walk = Walk::new(source).context(src)?;
        let mut path = Vec::new();
        while let Some(entry) = walk.next().context(src)? {
            path.clear();
            path.extend_from_slice(base);
            path.push(b'/');
            path.extend_from_slice(entry.path);
            self.leave_directories(&path)?;
            let copied = self.entry(&entry, &path);
            if let Err(error) = copied.with_context(|| src.join(entry.path)) {
                // The others can be copied all the same.
                self.first_error.get_or_insert(error);
                walk.skip();
            }
        }
        self.leave_directories(b"")?;
        self.first_error.take().map_or(Ok(()), Err)
    }

    /// Copies what the walk found; of a directory, itself alone.
    fn entry(&mut self, entry: &Entry<'_>, path: &[u8]) -> Result<()> {
        let stat = entry.stat()?;
        if file_type(&stat) != SFlag::S_IFREG {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let source = openat(entry.dir, entry.name, flags, Mode::empty())?;
            let stat = fstat(&source)?;
            return self.item(&source, &stat, path);
        }
        if self.linked_to_first(&stat, path)? {
            return Ok(());
        }
        let (from, stat) = entry.open_regular()?;
        self.regular(&from, &stat, path)?;
        self.remember(&stat, path)
    }

    /// Copies one file, of any kind, to `path`; of a directory, itself alone.
    fn item(&mut self, source: &OwnedFd, stat: &FileStat, path: &[u8]) -> Result<()> {
        let kind = file_type(stat);
        if kind == SFlag::S_IFDIR {
            return self.directory(source, stat, path);
        }
        if self.linked_to_first(stat, path)? {
            return Ok(());
        }
        if kind == SFlag::S_IFREG {
            let from = reopen(source, OFlag::O_RDONLY)?;
            self.regular(&from, stat, path)?;
        } else {
            self.special(source, stat, path)?;
        }
        self.remember(stat, path)
    }

    /// Whether hard links are kept, and this file has several.
    fn keeps_links(&self, stat: &FileStat) -> bool {
        self.how == How::Archive && stat.st_nlink > 1
    }

    /// Makes `path` a further name of the copy that this file has already;
    /// `false` if it has none.
    fn linked_to_first(&mut self, stat: &FileStat, path: &[u8]) -> Result<bool> {
        if !self.keeps_links(stat) {
            return Ok(false);
        }
        let Some(first) = self.linked.get(&identity(stat)).cloned() else {
            return Ok(false);
        };
        self.link(&first, path).map(|()| true)
    }

    fn remember(&mut self, stat: &FileStat, path: &[u8]) -> Result<()> {
        if self.keeps_links(stat) {
            self.kept
                .take(size_of::<((u64, u64), Vec<u8>)>() + path.len())?;
            self.linked.insert(identity(stat), path.to_vec());
        }
        Ok(())
    }

    fn directory(&mut self, source: &OwnedFd, stat: &FileStat, path: &[u8]) -> Result<()> {
        let name = split(path).1;
        let parent = self.target.here();
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o1777);
        match mkdirat(parent, name, mode) {
            Ok(()) => {}
            Err(Errno::EEXIST) => {
                let there = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
                if file_type(&there) != SFlag::S_IFDIR {
                    return Err(Error::with_errno(
                        Errno::ENOTDIR,
                        "a directory cannot overwrite what is no directory",
                    ));
                }
            }
            Err(errno) => return Err(errno.into()),
        }
        let metadata = match self.how {
            How::Archive => Some(Metadata::of(source, stat)?),
            How::File | How::Recursive => None,
        };
        self.kept
            .take(metadata.as_ref().map_or(0, Metadata::memory))?;
        self.target.enter(name)?;
        self.levels.push(Level {
            above: self.path.len(),
            metadata,
        });
        self.path.clear();
        self.path.extend_from_slice(path);
        Ok(())
    }

    fn regular(&mut self, from: &File, stat: &FileStat, path: &[u8]) -> Result<()> {
        let archive = self.how == How::Archive;
        let name = split(path).1;
        let parent = self.target.here();
        // Nobody else gets at the data before the owner is right.
        let mode = Mode::from_bits_truncate(stat.st_mode & if archive { 0o700 } else { 0o777 });
        let to = match create(parent, name, mode) {
            Err(Errno::EEXIST) => match existing(parent, name, stat, archive)? {
                Some(file) => file,
                None => create(parent, name, mode)?,
            },
            result => result?,
        };
        data::copy_all(from, &to, stat)?;
        self.keep(from, stat, &to)
    }

    fn special(&mut self, source: &OwnedFd, stat: &FileStat, path: &[u8]) -> Result<()> {
        let kind = file_type(stat);
        let name = split(path).1;
        let parent = self.target.here();
        if let Ok(there) = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            make_way(parent, name, &there)?;
        }
        if kind == SFlag::S_IFLNK {
            let target = readlinkat(source, "")?;
            symlinkat(target.as_os_str(), parent, name)?;
        } else {
            let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
            mknodat(parent, name, kind, mode, stat.st_rdev)?;
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(parent, name, flags, Mode::empty())?;
        self.keep(source, stat, &made)
    }

    fn link(&mut self, first: &[u8], path: &[u8]) -> Result<()> {
        let (dir, first_name) = split(first);
        let from = match self.linked_in.take() {
            Some((found, fd)) if found == dir => fd,
            _ => open_below(&self.top, dir)?,
        };
        let name = split(path).1;
        let parent = self.target.here();
        if let Ok(there) = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            make_way(parent, name, &there)?;
        }
        linkat(&from, first_name, parent, name, LinkatFlags::empty())?;
        self.linked_in = Some((dir.to_vec(), from));
        Ok(())
    }

    /// Gives a copy the metadata of its original, if that is asked for.
    fn keep(&self, source: &impl AsFd, stat: &FileStat, copy: &impl AsFd) -> Result<()> {
        if self.how == How::Archive {
            Metadata::of(source, stat)?.give(copy)?;
        }
        Ok(())
    }

    /// Goes up to the directory that `path` is in, and sets the metadata of those
    /// that are left.
    fn leave_directories(&mut self, path: &[u8]) -> Result<()> {
        while !is_inside(path, &self.path)
            && let Some(level) = self.levels.pop()
        {
            if let Some(metadata) = level.metadata {
                self.kept.give_back(metadata.memory());
                let given = metadata
                    .give(&self.target.here())
                    .with_context(|| String::from_utf8_lossy(&self.path).into_owned());
                if let Err(error) = given {
                    self.first_error.get_or_insert(error);
                }
            }
            self.target.leave()?;
            self.path.truncate(level.above);
        }
        Ok(())
    }
}

/// A directory by its path below another, without links.
fn open_below(top: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut fd = top.try_clone()?;
    for name in path
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
    {
        fd = openat(&fd, OsStr::from_bytes(name), flags, Mode::empty())?;
    }
    Ok(fd)
}

/// Makes a regular file where nothing is.
fn create(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> nix::Result<File> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, mode).map(File::from)
}

/// Empties the file that gets the data of a copy. `None` once what was there is
/// gone, because it is a link or, for an archive, has other names as well.
fn existing(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    source: &FileStat,
    archive: bool,
) -> Result<Option<File>> {
    // Opened by its handle, so that it is still a regular file then.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = openat(dir, name, flags, Mode::empty())?;
    let there = fstat(&handle)?;
    let kind = file_type(&there);
    if kind == SFlag::S_IFREG && !(archive && there.st_nlink > 1) {
        if identity(&there) == identity(source) {
            return Err(Error::with_errno(
                Errno::EINVAL,
                "the target is another name of the same file",
            ));
        }
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC;
        return Ok(Some(reopen(&handle, flags)?));
    }
    // A device or a pipe is neither written to nor lost.
    if !matches!(kind, SFlag::S_IFREG | SFlag::S_IFLNK | SFlag::S_IFDIR) {
        return Err(not_regular());
    }
    make_way(dir, name, &there)?;
    Ok(None)
}

/// Removes what a copy replaces.
fn make_way(dir: BorrowedFd<'_>, name: &OsStr, there: &FileStat) -> Result<()> {
    if file_type(there) == SFlag::S_IFDIR {
        return Err(Error::with_errno(
            Errno::EISDIR,
            "what is no directory cannot overwrite a directory",
        ));
    }
    Ok(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?)
}

fn not_regular() -> Error {
    Error::with_errno(Errno::EINVAL, "not a regular file")
}
