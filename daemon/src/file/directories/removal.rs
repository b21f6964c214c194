//! Removing a tree, whatever a guest has put into it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Type;
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::{Error, GuestPath, Result};

use crate::guest::Place;
use crate::walk::Descent;

/// How many subdirectories of one directory to note in one pass over it.
const NOTED: usize = 64 * 1024;

/// How many of all directories on the way down, of which a guest can have any number. With more to
/// come back to than this, no deeper one is emptied.
const NOTED_IN_ALL: usize = 4 * NOTED;

/// One directory on the way down.
#[derive(Default)]
struct Level {
    /// Subdirectories that are still to be emptied.
    subdirectories: Vec<OsString>,
    /// Whether this pass has removed anything, so that another may find more.
    progress: bool,
    /// Whether it cannot be emptied anyway.
    given_up: bool,
}

struct Removal<'a> {
    descent: Descent,
    top: &'a GuestPath,
    levels: Vec<Level>,
    /// How many more subdirectories can be noted.
    room: usize,
    first_error: Option<Error>,
}

/// Removes what is at `place`, with everything below it. Nothing there is no
/// error. What cannot be removed does not keep the rest from being removed.
pub(crate) fn remove_tree(place: Place, path: &GuestPath) -> Result<()> {
    let name = place.name.as_os_str();
    match unlinkat(&place.dir, name, UnlinkatFlags::NoRemoveDir) {
        // The last is said of a name that the filesystem cannot have.
        Ok(()) | Err(Errno::ENOENT | Errno::EILSEQ) => return Ok(()),
        // Said before the name is looked up.
        Err(Errno::EROFS) if place.stat() == Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR) => {}
        Err(errno) => return Err(Error::os(errno, path)),
    }
    let mut removal = Removal::new(place, path);
    removal.run().map_err(|errno| Error::os(errno, path))?;
    removal.first_error.map_or(Ok(()), Err)
}

impl<'a> Removal<'a> {
    fn new(place: Place, top: &'a GuestPath) -> Self {
        Self {
            descent: Descent::new(place.dir),
            top,
            levels: vec![Level {
                subdirectories: vec![place.name],
                ..Level::default()
            }],
            room: NOTED_IN_ALL,
            first_error: None,
        }
    }

    fn run(&mut self) -> nix::Result<()> {
        while let Some(level) = self.levels.last_mut() {
            if let Some(name) = level.subdirectories.pop() {
                self.room += 1;
                match self.descent.enter(&name) {
                    Ok(_) => self.empty(),
                    Err(errno) => self.note(errno, &name),
                }
                continue;
            }
            let Some(left) = self.levels.pop() else { break };
            let Some(name) = self.descent.leave()? else {
                break;
            };
            match unlinkat(
                self.descent.here(),
                name.as_os_str(),
                UnlinkatFlags::RemoveDir,
            ) {
                Ok(()) | Err(Errno::ENOENT) => {
                    if let Some(above) = self.levels.last_mut() {
                        above.progress = true;
                    }
                }
                // Removing entries while reading them can hide others.
                Err(Errno::ENOTEMPTY | Errno::EEXIST) if left.progress && !left.given_up => {
                    if let Some(above) = self.levels.last_mut() {
                        above.subdirectories.push(name);
                        self.room = self.room.saturating_sub(1);
                    }
                }
                Err(errno) => self.note(errno, &name),
            }
        }
        Ok(())
    }

    /// Removes what can be removed from the directory that was just entered,
    /// and notes its subdirectories.
    fn empty(&mut self) {
        let mut level = Level::default();
        let mut failed = None;
        let read = self.remove_entries(&mut level, &mut failed);
        if let Err(errno) = read {
            self.note(errno, OsStr::new("."));
        }
        if let Some((errno, name)) = failed {
            self.note(errno, &name);
        }
        self.room = self.room.saturating_sub(level.subdirectories.len());
        self.levels.push(level);
    }

    /// Tells of the first that cannot be removed; fails if the rest cannot be read.
    fn remove_entries(
        &self,
        level: &mut Level,
        failed: &mut Option<(Errno, OsString)>,
    ) -> nix::Result<()> {
        for entry in self.descent.names()? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let removed = match entry.file_type() {
                Some(Type::Directory) => Err(Errno::EISDIR),
                _ => unlinkat(self.descent.here(), name, UnlinkatFlags::NoRemoveDir),
            };
            let name = OsStr::from_bytes(name.to_bytes());
            match removed {
                Ok(()) => level.progress = true,
                Err(Errno::EISDIR) if level.subdirectories.len() >= self.room => {
                    level.given_up = true;
                    return Err(Errno::E2BIG);
                }
                Err(Errno::EISDIR) if level.subdirectories.len() < NOTED => {
                    level.subdirectories.push(name.to_owned());
                }
                // Left for the next pass.
                Err(Errno::EISDIR | Errno::ENOENT) => {}
                Err(errno) if failed.is_none() => *failed = Some((errno, name.to_owned())),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn note(&mut self, errno: Errno, name: &OsStr) {
        if self.first_error.is_none() {
            let subject = self.descent.describe(self.top, name);
            self.first_error = Some(Error::os(errno, subject));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn run(directory: &Path, room: usize) -> Option<Errno> {
        let dir = fs::File::open(directory).unwrap().into();
        let name = OsString::from("top");
        let path = GuestPath::root();
        let mut removal = Removal::new(Place { dir, name }, &path);
        removal.room = room;
        removal.run().unwrap();
        // The top itself was not counted.
        assert_eq!(removal.room, room + 1);
        removal.first_error.map(|error| error.errno().unwrap())
    }

    #[test]
    fn what_is_noted_is_bounded() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("top");
        for name in ["x", "y"] {
            for number in 0..4 {
                fs::create_dir_all(top.join(name).join(number.to_string())).unwrap();
            }
        }
        assert_eq!(run(scratch.path(), 2), Some(Errno::E2BIG));
        // There was room for two, and then, with the top's own done, for three.
        let left = ["x", "y"].map(|name| fs::read_dir(top.join(name)).unwrap().count());
        assert_eq!(left.into_iter().sum::<usize>(), 2 + 1);
        assert_eq!(run(scratch.path(), 5), None);
        assert!(!top.exists());
    }
}
