//! Links, and what has to wait: links that lead elsewhere until all members are
//! there, and the metadata of directories until nothing more is put into them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{LinkatFlags, linkat, symlinkat};
use protocol::{Context, Error, Result};

use super::names::{clean_target, is_harmless};
use super::problems::about;
use super::{Extractor, Failure, identity};
use crate::archive::member::{Kind, Member};
use crate::relative::{is_inside, split};

/// A directory whose metadata is set once nothing more is put into it.
pub(super) struct Directory {
    pub(super) path: Vec<u8>,
    pub(super) identity: (u64, u64),
    pub(super) member: Member,
    pub(super) holds_links: bool,
}

/// A symbolic link that is not made yet.
pub(super) struct HeldLink {
    /// Its name, and those that hard links gave it.
    paths: Vec<Vec<u8>>,
    member: Member,
    /// The member's place in the archive.
    place: u64,
}

impl Extractor<'_> {
    pub(super) fn symbolic_link(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        if is_harmless(&member.link) {
            return self.make_link(path, member);
        }
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = self.replace(path, |dir, name| openat(dir, name, flags, Mode::empty()))?;
        let stat = fstat(&file)?;
        for directory in &mut self.directories {
            directory.holds_links = true;
        }
        let held = HeldLink {
            paths: vec![path.to_vec()],
            member: member.clone(),
            place: self.place,
        };
        self.held.insert(identity(&stat), held);
        Ok(())
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
        self.replace(path, |dir, to| {
            linkat(&from, name, dir, to, LinkatFlags::empty())
        })?;
        if let Some(held) = self.held.get_mut(&identity(&stat)) {
            held.paths.push(path.to_vec());
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
        let mut directories = std::mem::take(&mut self.late);
        directories.extend(std::mem::take(&mut self.directories).into_iter().rev());
        for directory in &directories {
            self.complete(directory);
        }
    }

    fn release(&mut self, stand_in: (u64, u64), held: &HeldLink) {
        let mut first: Option<&[u8]> = None;
        for path in &held.paths {
            // Later members may have taken its place.
            match self.places.lstat(path) {
                Ok(stat) if identity(&stat) == stand_in => {}
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
                    self.problems.add(held.place, about(path, &error));
                }
            }
        }
    }
}
