//! Unpacking an archive into the guest.
//!
//! Every member is made relative to the descriptor of its directory, which the
//! guest's resolver found, and never through a link of its own name. Symbolic
//! links that could lead later members elsewhere are held back to the end;
//! until then an empty file stands in their place.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens,
    makedev, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{
    Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, ftruncate, linkat, symlinkat, unlinkat,
};
use protocol::{Context, Error, GuestPath, Result};

use super::attributes::{self, Wanted};
use super::member::{Kind, Member};
use super::reader::Reader;
use crate::guest::{Guest, file_type};

/// Directories whose descriptors are kept for the members that follow.
const OPEN_DIRECTORIES: usize = 64;
/// Members that failed which the error names.
const PROBLEMS_NAMED: usize = 10;

/// How to unpack.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ExtractOptions {
    pub(crate) attributes: Wanted,
    /// Where the archive has a directory and the guest a link to one, keep the link.
    pub(crate) keep_directory_links: bool,
}

/// Unpacks `reader`'s archive into `directory`. A member that cannot be made
/// does not keep the others from it; the error comes at the end.
pub(crate) fn extract<R: Read>(
    guest: &Guest,
    directory: &GuestPath,
    options: ExtractOptions,
    reader: &mut Reader<R>,
) -> Result<()> {
    let mut extractor = Extractor {
        guest,
        base: guest.resolve(directory)?,
        options,
        open: HashMap::new(),
        directories: Vec::new(),
        held: Vec::new(),
        late: Vec::new(),
        owners: true,
        problems: Vec::new(),
        failed: 0,
    };
    // Members are made below it: see to it that it is a directory even if there are none.
    extractor.directory(b"")?;
    let read = loop {
        match reader.next() {
            Ok(Some(member)) => {
                if let Err(error) = extractor.member(&member, reader) {
                    break Err(error);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    extractor.finish();
    read?;
    if reader.is_damaged() {
        let error = Error::with_errno(Errno::EINVAL, "damaged archive: parts were passed over");
        extractor.problem(error);
    }
    extractor.result()
}

struct Extractor<'g> {
    guest: &'g Guest,
    /// The directory, without links.
    base: GuestPath,
    options: ExtractOptions,
    /// Directories by their path below the base.
    open: HashMap<Vec<u8>, OwnedFd>,
    /// Directories that may still get entries, the outermost first.
    directories: Vec<Directory>,
    /// Links that are made at the end.
    held: Vec<HeldLink>,
    /// Directories that hold such links.
    late: Vec<Directory>,
    /// Whether the filesystem has owners.
    owners: bool,
    problems: Vec<Error>,
    failed: usize,
}

/// A directory whose metadata is set once nothing more is put into it.
struct Directory {
    path: Vec<u8>,
    identity: (u64, u64),
    member: Member,
    holds_links: bool,
}

/// A symbolic link that is not made yet.
struct HeldLink {
    /// Its name, and those that hard links gave it.
    paths: Vec<Vec<u8>>,
    identity: (u64, u64),
    member: Member,
}

/// How a member failed: its own fault, or the whole archive's.
enum Failure {
    Member(Error),
    Archive(Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Member(errno.into())
    }
}

impl Extractor<'_> {
    /// Makes one member. Fails only if the archive cannot be read on.
    fn member<R: Read>(&mut self, member: &Member, reader: &mut Reader<R>) -> Result<()> {
        match self.make(member, reader) {
            Ok(()) => Ok(()),
            Err(Failure::Archive(error)) => Err(error),
            Err(Failure::Member(error)) => {
                self.problem(about(&member.name, &error));
                Ok(())
            }
        }
    }

    fn make<R: Read>(&mut self, member: &Member, reader: &mut Reader<R>) -> Result<(), Failure> {
        let path = clean(&member.name).map_err(Failure::Member)?;
        if member.kind == Kind::Note {
            return Ok(());
        }
        self.leave_directories(&path);
        if path.is_empty() && member.kind != Kind::Directory {
            let error = Error::with_errno(Errno::EEXIST, "it would replace the directory itself");
            return Err(Failure::Member(error));
        }
        match member.kind {
            Kind::Regular => self.regular(&path, member, reader),
            Kind::Directory => self.make_directory(&path, member),
            Kind::SymbolicLink => self.symbolic_link(&path, member),
            Kind::HardLink => self.hard_link(&path, member),
            Kind::CharacterDevice => self.node(&path, member, SFlag::S_IFCHR),
            Kind::BlockDevice => self.node(&path, member, SFlag::S_IFBLK),
            Kind::Fifo => self.node(&path, member, SFlag::S_IFIFO),
            Kind::Note => Ok(()),
            Kind::Continuation => Err(Failure::Member(Error::with_errno(
                Errno::EINVAL,
                "it is continued from another archive",
            ))),
        }
    }

    fn regular<R: Read>(
        &mut self,
        path: &[u8],
        member: &Member,
        reader: &mut Reader<R>,
    ) -> Result<(), Failure> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Nobody else gets at the data before the owner is right.
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let file = self.replace(path, |dir, name| openat(dir, name, flags, mode))?;
        write_data(&file, member, reader)?;
        if self.owners {
            let owner = fchown(
                &file,
                Some(Uid::from_raw(member.uid)),
                Some(Gid::from_raw(member.gid)),
            );
            self.tolerate_missing_owners(owner)?;
        }
        fchmod(&file, mode_of(member))?;
        attributes::restore(&file, member, self.options.attributes);
        futimens(&file, &TimeSpec::UTIME_OMIT, &mtime(member))?;
        Ok(())
    }

    fn make_directory(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        if !path.is_empty() {
            let (dir, name) = split(path);
            let fd = self.directory(dir).map_err(Failure::Member)?;
            // Not open for others before its owner is right.
            match mkdirat(fd, name, Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) if self.is_directory(path)? => {}
                Err(Errno::EEXIST) => {
                    self.replace(path, |dir, name| mkdirat(dir, name, Mode::S_IRWXU))?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        let made = nix::sys::stat::fstat(self.directory(path).map_err(Failure::Member)?)?;
        self.directories.push(Directory {
            path: path.to_vec(),
            identity: identity(&made),
            member: member.clone(),
            holds_links: false,
        });
        Ok(())
    }

    /// Whether a member's directory is there already.
    fn is_directory(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let (dir, name) = split(path);
        let fd = self.directory(dir).map_err(Failure::Member)?;
        let stat = fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        match file_type(&stat) {
            SFlag::S_IFDIR => Ok(true),
            SFlag::S_IFLNK if self.options.keep_directory_links => Ok(self
                .guest
                .stat(&self.base.join(path))
                .is_ok_and(|stat| file_type(&stat) == SFlag::S_IFDIR)),
            _ => Ok(false),
        }
    }

    fn symbolic_link(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        if is_harmless(&member.link) {
            return self.make_link(path, member);
        }
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = self.replace(path, |dir, name| openat(dir, name, flags, Mode::empty()))?;
        let stat = nix::sys::stat::fstat(&file)?;
        for directory in &mut self.directories {
            directory.holds_links = true;
        }
        self.held.push(HeldLink {
            paths: vec![path.to_vec()],
            identity: (stat.st_dev, stat.st_ino),
            member: member.clone(),
        });
        Ok(())
    }

    fn make_link(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        let target = OsStr::from_bytes(&member.link);
        self.replace(path, |dir, name| symlinkat(target, dir, name))?;
        self.set_metadata(path, member)
    }

    fn node(&mut self, path: &[u8], member: &Member, kind: SFlag) -> Result<(), Failure> {
        let (major, minor) = member.device;
        let device = makedev(major.into(), minor.into());
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        self.replace(path, |dir, name| mknodat(dir, name, kind, mode, device))?;
        self.set_metadata(path, member)
    }

    fn hard_link(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        let target = clean_target(&member.link);
        let (dir, name) = split(&target);
        let subject = || {
            format!(
                "cannot be linked to {}",
                String::from_utf8_lossy(&member.link)
            )
        };
        // Not made if it is missing: there is nothing in it to link to.
        let from = self
            .find_directory(dir)
            .with_context(subject)
            .map_err(Failure::Member)?;
        let stat = fstatat(&from, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(subject)
            .map_err(Failure::Member)?;
        if let Ok(there) = self.lstat(path)
            && identity(&there) == identity(&stat)
        {
            return Ok(());
        }
        self.replace(path, |dir, to| {
            linkat(&from, name, dir, to, LinkatFlags::empty())
        })?;
        if let Some(held) = self
            .held
            .iter_mut()
            .find(|held| held.identity == identity(&stat))
        {
            held.paths.push(path.to_vec());
        }
        Ok(())
    }

    /// Makes something under a name; what is there under that name gives way,
    /// unless it is a directory with something in it.
    fn replace<T>(
        &mut self,
        path: &[u8],
        mut make: impl FnMut(&OwnedFd, &OsStr) -> nix::Result<T>,
    ) -> Result<T, Failure> {
        let (dir, name) = split(path);
        let fd = self.directory(dir).map_err(Failure::Member)?;
        match make(fd, name) {
            Err(Errno::EEXIST) => {}
            result => return Ok(result?),
        }
        let mut gone = false;
        match unlinkat(fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {
                unlinkat(fd, name, UnlinkatFlags::RemoveDir)?;
                gone = true;
            }
            result => result?,
        }
        let made = make(fd, name)?;
        if gone {
            self.directories.retain(|directory| directory.path != path);
        }
        // It may have been a directory, or a link to one, on the way to others.
        self.open.clear();
        Ok(made)
    }

    fn lstat(&mut self, path: &[u8]) -> Result<FileStat> {
        let (dir, name) = split(path);
        let fd = self.directory(dir)?;
        Ok(fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// The directory at `path` below the base, with all that lead to it made
    /// if they are missing.
    fn directory(&mut self, path: &[u8]) -> Result<&OwnedFd> {
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

    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd> {
        match self.find_directory(path) {
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
            let parent = self.find_directory(dir)?;
            match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::os(errno, String::from_utf8_lossy(part))),
            }
            if next >= path.len() {
                return self.find_directory(path);
            }
            end = next;
        }
    }

    fn find_directory(&self, path: &[u8]) -> Result<OwnedFd> {
        let handle = self.guest.handle(&self.base.join(path))?;
        let stat = nix::sys::stat::fstat(&handle)?;
        if file_type(&stat) != SFlag::S_IFDIR {
            return Err(Error::os(Errno::ENOTDIR, self.base.join(path)));
        }
        Ok(handle)
    }

    /// Owner, mode, attributes and times of what is no regular file.
    fn set_metadata(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        let link = member.kind == Kind::SymbolicLink;
        let (dir, name) = split(path);
        let (owners, wanted) = (self.owners, self.options.attributes);
        let fd = self.directory(dir).map_err(Failure::Member)?;
        let owner = if owners {
            fchownat(
                fd,
                name,
                Some(Uid::from_raw(member.uid)),
                Some(Gid::from_raw(member.gid)),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )
        } else {
            Ok(())
        };
        // Links have no mode of their own.
        let changed = if link {
            Ok(())
        } else {
            fchmodat(fd, name, mode_of(member), FchmodatFlags::FollowSymlink)
        };
        if wanted.any() {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let handle = openat(fd, name, flags, Mode::empty())?;
            attributes::restore(&handle, member, wanted);
        }
        let time = utimensat(
            fd,
            name,
            &TimeSpec::UTIME_OMIT,
            &mtime(member),
            UtimensatFlags::NoFollowSymlink,
        );
        self.tolerate_missing_owners(owner)?;
        changed?;
        Ok(time?)
    }

    /// Filesystems without owners say EPERM; their files are everybody's.
    fn tolerate_missing_owners(&mut self, result: nix::Result<()>) -> nix::Result<()> {
        match result {
            Err(Errno::EPERM) => {
                self.owners = false;
                Ok(())
            }
            result => result,
        }
    }

    /// Sets the metadata of the directories that `path` is not in.
    fn leave_directories(&mut self, path: &[u8]) {
        while let Some(directory) = self
            .directories
            .pop_if(|directory| !is_inside(path, &directory.path))
        {
            if directory.holds_links {
                self.late.push(directory);
            } else {
                self.complete(&directory);
            }
        }
    }

    fn complete(&mut self, directory: &Directory) {
        if let Err(Failure::Member(error) | Failure::Archive(error)) = self.set_directory(directory)
        {
            self.problem(about(&directory.member.name, &error));
        }
    }

    fn set_directory(&mut self, directory: &Directory) -> Result<(), Failure> {
        let member = &directory.member;
        let owners = self.owners;
        let wanted = self.options.attributes;
        let handle = self
            .find_directory(&directory.path)
            .map_err(Failure::Member)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat(&handle, ".", flags, Mode::empty())?;
        if identity(&nix::sys::stat::fstat(&fd)?) != directory.identity {
            let message = "a later member took its place before its metadata was set";
            return Err(Failure::Member(Error::new(message)));
        }
        if owners {
            let owner = fchown(
                &fd,
                Some(Uid::from_raw(member.uid)),
                Some(Gid::from_raw(member.gid)),
            );
            self.tolerate_missing_owners(owner)?;
        }
        fchmod(&fd, mode_of(member))?;
        attributes::restore(&fd, member, wanted);
        futimens(&fd, &TimeSpec::UTIME_OMIT, &mtime(member))?;
        Ok(())
    }

    /// Makes the links that were held back, then sets the metadata of all
    /// directories that are left.
    fn finish(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.release(&held);
        }
        let mut directories = std::mem::take(&mut self.late);
        directories.extend(std::mem::take(&mut self.directories).into_iter().rev());
        for directory in &directories {
            self.complete(directory);
        }
    }

    fn release(&mut self, held: &HeldLink) {
        let mut first: Option<&[u8]> = None;
        for path in &held.paths {
            // Later members may have taken its place.
            match self.lstat(path) {
                Ok(stat) if identity(&stat) == held.identity => {}
                _ => continue,
            }
            let made = match first {
                None => self.make_link(path, &held.member),
                Some(target) => {
                    let link = Member {
                        link: target.to_vec(),
                        kind: Kind::HardLink,
                        ..Member::default()
                    };
                    self.hard_link(path, &link)
                }
            };
            match made {
                Ok(()) => first = first.or(Some(path)),
                Err(Failure::Member(error) | Failure::Archive(error)) => {
                    self.problem(about(path, &error));
                }
            }
        }
    }

    fn problem(&mut self, error: Error) {
        self.failed += 1;
        if self.problems.len() < PROBLEMS_NAMED {
            self.problems.push(error);
        }
    }

    /// One error for all members that failed, with the errno of the first.
    fn result(self) -> Result<()> {
        let Some(first) = self.problems.first() else {
            return Ok(());
        };
        let mut message = self
            .problems
            .iter()
            .map(Error::message)
            .collect::<Vec<_>>()
            .join("\n");
        if self.failed > self.problems.len() {
            message.push_str(&format!("\nand {} more", self.failed - self.problems.len()));
        }
        Err(match first.errno() {
            Some(errno) => Error::with_errno(errno, message),
            None => Error::new(message),
        })
    }
}

/// Writes a member's data, leaving the holes of a file that has some.
fn write_data<R: Read>(
    file: &OwnedFd,
    member: &Member,
    reader: &mut Reader<R>,
) -> Result<(), Failure> {
    let whole = [(0, member.stored)];
    let pieces = match &member.sparse {
        Some(sparse) => sparse.pieces.as_slice(),
        None => &whole,
    };
    for &(offset, len) in pieces {
        let (mut offset, mut left) = (offset, len);
        while left > 0 {
            let mut bytes = reader.piece(left).map_err(Failure::Archive)?;
            left -= bytes.len() as u64;
            while !bytes.is_empty() {
                let at = i64::try_from(offset).map_err(|_| Errno::EFBIG)?;
                match nix::sys::uio::pwrite(file, bytes, at) {
                    Ok(n) => {
                        offset += n as u64;
                        bytes = bytes.get(n..).unwrap_or_default();
                    }
                    Err(Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
    }
    if let Some(sparse) = &member.sparse {
        let size = i64::try_from(sparse.size).map_err(|_| Errno::EFBIG)?;
        ftruncate(file, size)?;
    }
    Ok(())
}

/// A member's name as a path below the base: no leading slash, no `.`.
fn clean(name: &[u8]) -> Result<Vec<u8>> {
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(Error::with_errno(
                    Errno::EINVAL,
                    "the member's name contains '..'",
                ));
            }
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// The target of a hard link, without anything up to its last `..`.
fn clean_target(name: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = name.split(|&byte| byte == b'/').collect();
    let start = parts
        .iter()
        .rposition(|&part| part == b"..")
        .map_or(0, |at| at + 1);
    parts
        .get(start..)
        .unwrap_or_default()
        .iter()
        .filter(|part| !matches!(**part, b"" | b"."))
        .copied()
        .collect::<Vec<_>>()
        .join(&b'/')
}

/// Whether a link's target is below the link's own directory.
fn is_harmless(target: &[u8]) -> bool {
    !target.starts_with(b"/") && target.split(|&byte| byte == b'/').all(|part| part != b"..")
}

fn split(path: &[u8]) -> (&[u8], &OsStr) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => {
            let (dir, name) = path.split_at(at);
            (dir, OsStr::from_bytes(name.get(1..).unwrap_or_default()))
        }
        None => (b"", OsStr::from_bytes(path)),
    }
}

fn is_inside(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn about(name: &[u8], error: &Error) -> Error {
    let message = format!("{}: {}", String::from_utf8_lossy(name), error.message());
    match error.errno() {
        Some(errno) => Error::with_errno(errno, message),
        None => Error::new(message),
    }
}

fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn mode_of(member: &Member) -> Mode {
    Mode::from_bits_truncate(member.mode)
}

fn mtime(member: &Member) -> TimeSpec {
    TimeSpec::new(member.mtime.0, member.mtime.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_directory() {
        assert_eq!(clean(b"./a//b/./c/").unwrap(), b"a/b/c");
        assert_eq!(clean(b"/etc/passwd").unwrap(), b"etc/passwd");
        assert_eq!(clean(b"./").unwrap(), b"");
        assert!(clean(b"a/../../b").is_err());
        assert!(clean(b"..").is_err());
        assert_eq!(clean(b"..a/b..").unwrap(), b"..a/b..");
        assert_eq!(clean_target(b"../../etc/passwd"), b"etc/passwd");
        assert_eq!(clean_target(b"/a/b/../c"), b"c");
        assert!(is_harmless(b"a/b") && !is_harmless(b"a/../b") && !is_harmless(b"/a"));
    }

    #[test]
    fn insides_and_parents() {
        assert!(is_inside(b"a/b", b"a") && is_inside(b"a", b"a") && is_inside(b"x", b""));
        assert!(!is_inside(b"ab", b"a"));
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], OsStr::new("c")));
        assert_eq!(split(b"a"), (&b""[..], OsStr::new("a")));
    }
}
