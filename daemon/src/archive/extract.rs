//! Unpacking an archive into the guest.
//!
//! Every member is made relative to the descriptor of its directory, which the
//! guest's resolver found, and never through a link of its own name. Symbolic
//! links that could lead later members elsewhere are held back to the end;
//! until then an empty file stands in their place.

mod deferred;
mod finisher;
mod members;
mod names;
mod places;
mod problems;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};
use protocol::{Error, GuestPath, Result};

use super::attributes::Wanted;
use super::member::{Attributes, Kind, Member};
use super::reader::Reader;
use crate::guest::Guest;
use crate::memory::Kept;
use deferred::{Directory, HeldLink};
use finisher::Finisher;
use names::clean;
use places::Places;
use problems::{Problems, about};

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
    let mut extractor = Extractor::new(guest, directory, options)?;
    let read = loop {
        match reader.next() {
            Ok(Some(mut member)) => {
                if let Err(error) = extractor.member(&mut member, reader) {
                    break Err(error);
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    extractor.finish();
    let mut problems = extractor.problems;
    problems.append(extractor.finisher.wait());
    read?;
    if reader.is_damaged() {
        let error = Error::with_errno(Errno::EINVAL, "damaged archive: parts were passed over");
        problems.add(u64::MAX, error);
    }
    problems.result()
}

struct Extractor<'g> {
    places: Places<'g>,
    options: ExtractOptions,
    /// Directories that may still get entries, the outermost first.
    directories: Vec<Directory>,
    /// Links that are made at the end, by the identity of the file in their place.
    held: HashMap<(u64, u64), HeldLink>,
    /// Directories that hold such links, by their paths.
    late: BTreeMap<Vec<u8>, Directory>,
    /// The memory of all these.
    kept: Kept,
    finisher: Finisher,
    /// How many members there were so far.
    place: u64,
    problems: Problems,
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

impl<'g> Extractor<'g> {
    fn new(guest: &'g Guest, directory: &GuestPath, options: ExtractOptions) -> Result<Self> {
        Ok(Self {
            places: Places::new(guest, directory)?,
            options,
            directories: Vec::new(),
            held: HashMap::new(),
            late: BTreeMap::new(),
            kept: Kept::new("to hold back links and directories of such an archive"),
            finisher: Finisher::new(options.attributes),
            place: 0,
            problems: Problems::default(),
        })
    }

    /// Makes one member. Fails only if the archive cannot be read on.
    fn member<R: Read>(&mut self, member: &mut Member, reader: &mut Reader<R>) -> Result<()> {
        self.place += 1;
        match self.make(member, reader) {
            Ok(()) => Ok(()),
            Err(Failure::Archive(error)) => Err(error),
            Err(Failure::Member(error)) => {
                self.problem(about(&member.name, &error));
                Ok(())
            }
        }
    }

    fn make<R: Read>(
        &mut self,
        member: &mut Member,
        reader: &mut Reader<R>,
    ) -> Result<(), Failure> {
        let path = clean(&member.name).map_err(Failure::Member)?;
        if member.kind == Kind::Note {
            return Ok(());
        }
        if !self.options.attributes.any() {
            member.attributes = Attributes::default();
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
        self.problems.add(self.place, error);
    }
}

fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
