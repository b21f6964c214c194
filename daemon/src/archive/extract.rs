//! Unpacking an archive into the guest.
//!
//! Every member is made relative to the descriptor of its directory, which the
//! guest's resolver found, and never through a link of its own name. Symbolic
//! links that could lead later members elsewhere are held back to the end;
//! until then an empty file stands in their place.

mod deferred;
mod members;
mod names;
mod places;

use std::io::Read;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};
use protocol::{Error, GuestPath, Result};

use super::attributes::Wanted;
use super::member::{Kind, Member};
use super::reader::Reader;
use crate::guest::Guest;
use deferred::{Directory, HeldLink};
use names::clean;
use places::Places;

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
        places: Places::new(guest, directory)?,
        options,
        directories: Vec::new(),
        held: Vec::new(),
        late: Vec::new(),
        owners: true,
        problems: Vec::new(),
        failed: 0,
    };
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
    places: Places<'g>,
    options: ExtractOptions,
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
