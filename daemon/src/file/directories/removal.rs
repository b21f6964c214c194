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

/// One directory on the way down.
#[derive(Default)]
struct Level {
    /// Subdirectories that are still to be emptied.
    subdirectories: Vec<OsString>,
    /// Whether this pass has removed anything, so that another may find more.
    progress: bool,
}

struct Removal<'a> {
    descent: Descent,
    top: &'a GuestPath,
    levels: Vec<Level>,
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
    let mut removal = Removal {
        descent: Descent::new(place.dir),
        top: path,
        levels: vec![Level {
            subdirectories: vec![place.name],
            progress: false,
        }],
        first_error: None,
    };
    removal.run().map_err(|errno| Error::os(errno, path))?;
    removal.first_error.map_or(Ok(()), Err)
}

impl Removal<'_> {
    fn run(&mut self) -> nix::Result<()> {
        while let Some(level) = self.levels.last_mut() {
            if let Some(name) = level.subdirectories.pop() {
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
                Err(Errno::ENOTEMPTY | Errno::EEXIST) if left.progress => {
                    if let Some(above) = self.levels.last_mut() {
                        above.subdirectories.push(name);
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
