//! Copying files and trees within the guest.
//!
//! Both sides are walked by descriptors: neither a link in the source nor one
//! that is in the target already leads anywhere else.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat, mknodat};
use nix::unistd::{LinkatFlags, UnlinkatFlags, linkat, symlinkat, unlinkat};
use protocol::{Context, Error, GuestPath, Result};

use super::data;
use super::metadata::Metadata;
use crate::guest::{Guest, Place, file_type, reopen};
use crate::relative::{is_inside, split};
use crate::walk::{Entry, Walk};

/// Directories of the target that are kept open for the files that follow.
const OPEN_DIRECTORIES: usize = 64;

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
    let target = match guest.stat(dest) {
        Ok(there) if file_type(&there) == SFlag::S_IFDIR => match last_component(src) {
            Some(name) => dest.join(name),
            None => dest.clone(),
        },
        _ => dest.clone(),
    };
    if !is_dir {
        require_no_slash(&target)?;
    }
    let place = refuse_itself(guest, src, &source, &stat, &target)?;
    let mut copier = Copier {
        how,
        top: place.dir,
        open: HashMap::new(),
        directories: Vec::new(),
        linked: HashMap::new(),
    };
    let name = place.name.as_bytes().to_vec();
    if !is_dir {
        // A link to a file stays, and the file gets the data.
        if file_type(&stat) == SFlag::S_IFREG
            && let Ok(link) = fstatat(
                &copier.top,
                place.name.as_os_str(),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )
            && file_type(&link) == SFlag::S_IFLNK
        {
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
    /// Directories by their path below it.
    open: HashMap<Vec<u8>, OwnedFd>,
    /// Directories that may still get entries, the outermost first.
    directories: Vec<(Vec<u8>, Metadata)>,
    /// The first copies of files that have several names.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

impl Copier {
    /// Copies everything below a directory whose copy is at `base`.
    fn below(&mut self, source: &OwnedFd, base: &[u8], src: &GuestPath) -> Result<()> {
        let mut walk = Walk::new(source).context(src)?;
        let mut first_error = None;
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
                first_error.get_or_insert(error);
                walk.skip();
            }
        }
        self.leave_directories(b"")?;
        first_error.map_or(Ok(()), Err)
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
        self.remember(&stat, path);
        Ok(())
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
        self.remember(stat, path);
        Ok(())
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

    fn remember(&mut self, stat: &FileStat, path: &[u8]) {
        if self.keeps_links(stat) {
            self.linked.insert(identity(stat), path.to_vec());
        }
    }

    fn directory(&mut self, source: &OwnedFd, stat: &FileStat, path: &[u8]) -> Result<()> {
        let (dir, name) = split(path);
        let parent = self.parent(dir)?;
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
        if self.how == How::Archive {
            self.directories
                .push((path.to_vec(), Metadata::of(source, stat)));
        }
        Ok(())
    }

    fn regular(&mut self, from: &File, stat: &FileStat, path: &[u8]) -> Result<()> {
        let archive = self.how == How::Archive;
        let (dir, name) = split(path);
        let parent = self.parent(dir)?;
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
        if self.how == How::File {
            return Err(Error::with_errno(Errno::EINVAL, "not a regular file"));
        }
        let (dir, name) = split(path);
        let parent = self.parent(dir)?;
        if let Ok(there) = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            make_way(parent, name, &there)?;
        }
        if kind == SFlag::S_IFLNK {
            let target = readlinkat(source, "")?;
            symlinkat(target.as_os_str(), parent, name)?;
        } else {
            let mode = Mode::from_bits_truncate(stat.st_mode & 0o777);
            mknodat(parent, name, kind, mode, stat.st_rdev)?;
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(parent, name, flags, Mode::empty())?;
        self.keep(source, stat, &made)
    }

    fn link(&mut self, first: &[u8], path: &[u8]) -> Result<()> {
        let (dir, first_name) = split(first);
        let from = self.parent(dir)?.try_clone()?;
        let (dir, name) = split(path);
        let parent = self.parent(dir)?;
        if let Ok(there) = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            make_way(parent, name, &there)?;
        }
        Ok(linkat(
            &from,
            first_name,
            parent,
            name,
            LinkatFlags::empty(),
        )?)
    }

    /// Gives a copy the metadata of its original, if that is asked for.
    fn keep(&self, source: &impl AsFd, stat: &FileStat, copy: &impl AsFd) -> Result<()> {
        if self.how == How::Archive {
            Metadata::of(source, stat).give(copy)?;
        }
        Ok(())
    }

    /// Sets the metadata of the directories that `path` is not in.
    fn leave_directories(&mut self, path: &[u8]) -> Result<()> {
        while let Some((directory, metadata)) = self
            .directories
            .pop_if(|(directory, _)| !is_inside(path, directory))
        {
            let fd = self.parent(&directory)?;
            metadata
                .give(fd)
                .with_context(|| String::from_utf8_lossy(&directory).into_owned())?;
        }
        Ok(())
    }

    /// The copy of a directory, by its path below the top.
    fn parent(&mut self, path: &[u8]) -> Result<&OwnedFd> {
        if path.is_empty() {
            return Ok(&self.top);
        }
        if !self.open.contains_key(path) {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            // Mostly the one above was needed to make this one.
            let (above, name) = split(path);
            let mut fd = match self.open.get(above) {
                Some(above) => Some(openat(above, name, flags, Mode::empty())?),
                None => None,
            };
            if fd.is_none() {
                for part in path.split(|&byte| byte == b'/') {
                    let name = CString::new(part).map_err(|_| Errno::EINVAL)?;
                    let at = fd.as_ref().unwrap_or(&self.top);
                    fd = Some(openat(at, name.as_c_str(), flags, Mode::empty())?);
                }
            }
            if self.open.len() >= OPEN_DIRECTORIES {
                self.open.clear();
            }
            if let Some(fd) = fd {
                self.open.insert(path.to_vec(), fd);
            }
        }
        self.open
            .get(path)
            .ok_or_else(|| Error::from(Errno::ENOENT))
    }
}

/// Makes a regular file where nothing is.
fn create(dir: &OwnedFd, name: &OsStr, mode: Mode) -> nix::Result<File> {
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name, flags, mode).map(File::from)
}

/// Empties the file that gets the data of a copy. `None` once what was there is
/// gone, because it is no regular file or, for an archive, has other names as well.
fn existing(dir: &OwnedFd, name: &OsStr, source: &FileStat, archive: bool) -> Result<Option<File>> {
    // Opened by its handle, so that it is still a regular file then.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let handle = openat(dir, name, flags, Mode::empty())?;
    let there = fstat(&handle)?;
    if file_type(&there) == SFlag::S_IFREG && !(archive && there.st_nlink > 1) {
        if identity(&there) == identity(source) {
            return Err(Error::with_errno(
                Errno::EINVAL,
                "the target is another name of the same file",
            ));
        }
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC;
        return Ok(Some(reopen(&handle, flags)?));
    }
    make_way(dir, name, &there)?;
    Ok(None)
}

/// Removes what a copy replaces.
fn make_way(dir: &OwnedFd, name: &OsStr, there: &FileStat) -> Result<()> {
    if file_type(there) == SFlag::S_IFDIR {
        return Err(Error::with_errno(
            Errno::EISDIR,
            "what is no directory cannot overwrite a directory",
        ));
    }
    Ok(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir)?)
}

/// Refuses to copy a file to itself, and a directory into itself; gives back the
/// place of the target.
fn refuse_itself(
    guest: &Guest,
    src: &GuestPath,
    source: &OwnedFd,
    stat: &FileStat,
    target: &GuestPath,
) -> Result<Place> {
    let there = guest.lstat(target);
    if let Ok(there) = &there {
        refuse_same(guest, src, stat, target, there)?;
    }
    if file_type(stat) == SFlag::S_IFREG
        && there.is_ok()
        && let Ok(there) = guest.stat(target)
        && identity(&there) == identity(stat)
    {
        return Err(same(src, target));
    }
    let place = guest.parent(target)?;
    if file_type(stat) != SFlag::S_IFDIR {
        return Ok(place);
    }
    let whole = guest.path_of(source, src)?.into_bytes();
    let inside = there
        .and_then(|_| guest.resolve(target))
        .or_else(|_| guest.path_of(&place.dir, target))
        .is_ok_and(|path| whole == b"/" || is_inside(path.as_bytes(), &whole));
    if inside {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("cannot copy a directory, '{src}', into itself, '{target}'"),
        ));
    }
    Ok(place)
}

/// Refuses what is, or as a link leads to, the very file that it would replace:
/// nothing would be left of that file.
pub(super) fn refuse_same(
    guest: &Guest,
    src: &GuestPath,
    stat: &FileStat,
    target: &GuestPath,
    there: &FileStat,
) -> Result<()> {
    let leads_there = || {
        file_type(stat) == SFlag::S_IFLNK
            && guest
                .stat(src)
                .is_ok_and(|stat| identity(&stat) == identity(there))
    };
    if identity(stat) == identity(there) || leads_there() {
        return Err(same(src, target));
    }
    Ok(())
}

/// Refuses to make anything but a directory under a name with a slash at its
/// end.
pub(super) fn require_no_slash(target: &GuestPath) -> Result<()> {
    if target.as_bytes().ends_with(b"/") {
        return Err(Error::os(Errno::ENOTDIR, target));
    }
    Ok(())
}

fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn same(src: &GuestPath, target: &GuestPath) -> Error {
    Error::with_errno(
        Errno::EINVAL,
        format!("'{src}' and '{target}' are the same file"),
    )
}

/// The name of a copy in a directory; `None` if the path names the directory
/// itself, as `/a/.` does.
fn last_component(path: &GuestPath) -> Option<&[u8]> {
    let name = path
        .as_bytes()
        .rsplit(|&byte| byte == b'/')
        .find(|part| !part.is_empty())?;
    (!matches!(name, b"." | b"..")).then_some(name)
}
