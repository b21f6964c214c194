//! Links, and what has to wait: links that lead elsewhere until all members are
//! there, and the metadata of directories until nothing more is put into them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc::PATH_MAX;
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{LinkatFlags, linkat, symlinkat};
use protocol::{Context, Error, Result};

use super::names::{clean_target, is_harmless};
use super::problems::about;
use super::{Extractor, Failure, identity};
use crate::archive::member::{Attributes, Kind, Member};
use crate::relative::{is_inside, split};

/// A directory whose metadata is set once nothing more is put into it.
pub(super) struct Directory {
    pub(super) path: Vec<u8>,
    pub(super) identity: (u64, u64),
    pub(super) member: Member,
    pub(super) holds_links: bool,
}

impl Directory {
    pub(super) fn memory(&self) -> usize {
        // Its path has to be known twice.
        size_of::<Self>() + 2 * self.path.len() + self.member.memory()
    }
}

/// A symbolic link that is not made yet: as little as has to be known of it, for there may be
/// many.
pub(super) struct HeldLink {
    /// Its name, and those that hard links gave it, each with a NUL behind it.
    paths: Vec<u8>,
    target: Vec<u8>,
    owner: (u32, u32),
    mtime: (i64, i64),
    attributes: Option<Box<Attributes>>,
    /// The member's place in the archive.
    place: u64,
}

impl HeldLink {
    fn new(path: &[u8], member: &Member, place: u64) -> Self {
        let attributes = &member.attributes;
        let mut held = Self {
            paths: Vec::new(),
            target: member.link.clone(),
            owner: (member.uid, member.gid),
            mtime: member.mtime,
            attributes: (*attributes != Attributes::default()).then(|| attributes.clone().into()),
            place,
        };
        held.add(path);
        held
    }

    fn add(&mut self, path: &[u8]) {
        self.paths.reserve_exact(Self::memory_of(path));
        self.paths.extend_from_slice(path);
        self.paths.push(0);
    }

    fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let paths = self.paths.strip_suffix(b"\0").unwrap_or_default();
        paths.split(|&byte| byte == 0)
    }

    fn member(&self, path: &[u8]) -> Member {
        Member {
            name: path.to_vec(),
            link: self.target.clone(),
            kind: Kind::SymbolicLink,
            uid: self.owner.0,
            gid: self.owner.1,
            mtime: self.mtime,
            attributes: self.attributes.as_deref().cloned().unwrap_or_default(),
            ..Member::default()
        }
    }

    /// What a further name takes.
    fn memory_of(path: &[u8]) -> usize {
        path.len() + 1
    }

    pub(super) fn memory(&self) -> usize {
        let attributes = self.attributes.as_deref();
        let attributes = attributes.map_or(0, |all| size_of::<Attributes>() + all.memory());
        size_of::<((u64, u64), Self)>() + self.paths.len() + self.target.len() + attributes
    }
}

impl Extractor<'_> {
    pub(super) fn symbolic_link(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        if is_harmless(&member.link) {
            return self.make_link(path, member);
        }
        if member.link.len() >= PATH_MAX as usize {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let held = HeldLink::new(path, member, self.place);
        let stand_in = self.keeping(held.memory(), |this| {
            let file = this.replace(path, |dir, name| openat(dir, name, flags, Mode::empty()))?;
            Ok(identity(&fstat(&file)?))
        })?;
        for directory in &mut self.directories {
            directory.holds_links = true;
        }
        self.held.insert(stand_in, held);
        Ok(())
    }

    /// Does something for which so much is kept in memory if it succeeds.
    fn keeping<T>(
        &mut self,
        memory: usize,
        make: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // All that follow would fail, too.
        self.kept.take(memory).map_err(Failure::Archive)?;
        make(self).inspect_err(|_| self.kept.give_back(memory))
    }

    /// Forgets the link whose stand-in is gone.
    pub(super) fn forget_link(&mut self, stand_in: (u64, u64)) {
        if let Some(held) = self.held.remove(&stand_in) {
            self.kept.give_back(held.memory());
        }
    }

    /// Has the metadata of a directory set once nothing more is put into it.
    pub(super) fn enter_directory(&mut self, directory: Directory) -> Result<(), Failure> {
        self.keeping(directory.memory(), |_| Ok(()))?;
        self.directories.push(directory);
        Ok(())
    }

    /// Forgets the directory that was at this path until now; whether it holds links.
    pub(super) fn forget_directory(&mut self, path: &[u8]) -> bool {
        let entered = self.directories.iter().rposition(|each| each.path == path);
        let known = match entered {
            Some(at) => Some(self.directories.remove(at)),
            None => self.late.remove(path),
        };
        let Some(known) = known else {
            return false;
        };
        self.kept.give_back(known.memory());
        known.holds_links
    }

    fn make_link(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        let target = OsStr::from_bytes(&member.link);
        self.replace(path, |dir, name| symlinkat(target, dir, name))?;
        self.set_metadata(path, member)
    }

    pub(super) fn hard_link(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
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
            .places
            .find(dir)
            .with_context(subject)
            .map_err(Failure::Member)?;
        let stat = fstatat(&from, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(subject)
            .map_err(Failure::Member)?;
        if let Ok(there) = self.places.lstat(path)
            && identity(&there) == identity(&stat)
        {
            return Ok(());
        }
        let memory = match self.held.contains_key(&identity(&stat)) {
            true => HeldLink::memory_of(path),
            false => 0,
        };
        self.keeping(memory, |this| {
            this.replace(path, |dir, to| {
                linkat(&from, name, dir, to, LinkatFlags::empty())
            })
        })?;
        if let Some(held) = self.held.get_mut(&identity(&stat)) {
            held.add(path);
        }
        Ok(())
    }

    /// Sets the metadata of the directories that `path` is not in.
    pub(super) fn leave_directories(&mut self, path: &[u8]) {
        while let Some(directory) = self
            .directories
            .pop_if(|directory| !is_inside(path, &directory.path))
        {
            if directory.holds_links {
                self.late.insert(directory.path.clone(), directory);
            } else {
                self.complete(&directory);
                self.kept.give_back(directory.memory());
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
        let handle = self.places.find(&directory.path).map_err(Failure::Member)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = openat(&handle, ".", flags, Mode::empty())?;
        if identity(&fstat(&fd)?) != directory.identity {
            let message = "a later member took its place before its metadata was set";
            return Err(Failure::Member(Error::new(message)));
        }
        Ok(self.finisher.rules.set_metadata(&fd, member)?)
    }

    /// Makes the links that were held back, then sets the metadata of all
    /// directories that are left.
    pub(super) fn finish(&mut self) {
        let mut held: Vec<_> = std::mem::take(&mut self.held).into_iter().collect();
        held.sort_by_key(|(_, link)| link.place);
        for (stand_in, link) in held {
            self.release(stand_in, &link);
        }
        let late = std::mem::take(&mut self.late).into_values();
        let directories = std::mem::take(&mut self.directories);
        for directory in late.chain(directories) {
            self.complete(&directory);
        }
    }

    fn release(&mut self, stand_in: (u64, u64), held: &HeldLink) {
        let mut first: Option<&[u8]> = None;
        for path in held.paths() {
            // Later members may have taken its place.
            match self.places.lstat(path) {
                Ok(stat) if identity(&stat) == stand_in => {}
                _ => continue,
            }
            let made = match first {
                None => self.make_link(path, &held.member(path)),
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
                    self.problems.add(held.place, about(path, &error));
                }
            }
        }
    }
}
