//! What there is to pack.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag};
use protocol::{Context, Result};

use super::PackOptions;
use crate::guest::file_type;
use crate::logging;
use crate::walk::{Entry, Walk};

/// A file that is to be packed.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name in the archive.
    pub(super) name: Vec<u8>,
    pub(super) stat: FileStat,
    pub(super) content: Content,
    /// If attributes are asked for, what to ask for them when the content is not open.
    pub(super) handle: Option<OwnedFd>,
}

impl Found {
    /// Its path below the top, for a message.
    pub(super) fn path(&self) -> &[u8] {
        let name = self.name.strip_prefix(b"./").unwrap_or(&self.name);
        name.strip_suffix(b"/").unwrap_or(name)
    }
}

/// What of a file goes into the archive besides its metadata.
#[derive(Debug)]
pub(super) enum Content {
    /// Opened by a name that was a regular file's: whether this one is, it has to be asked.
    Regular(File),
    /// An earlier name of the same file.
    HardLink(Vec<u8>),
    SymbolicLink(Vec<u8>),
    Directory,
    CharacterDevice,
    BlockDevice,
    Fifo,
}

/// Finds what is below a directory, one after the other.
pub(super) struct Finder<'o> {
    walk: Walk,
    options: &'o PackOptions,
    /// Names of files that have several.
    linked: HashMap<(u64, u64), Vec<u8>>,
}

impl<'o> Finder<'o> {
    pub(super) fn new(top: &impl AsFd, options: &'o PackOptions) -> Result<Self> {
        Ok(Self {
            walk: Walk::new(top)?,
            options,
            linked: HashMap::new(),
        })
    }

    /// The next file; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Found>> {
        while let Some(entry) = self.walk.next()? {
            let name = [b"./", entry.path].concat();
            if self.options.excludes.matches(&name) {
                self.walk.skip();
                continue;
            }
            let found = look(&entry, name, self.options, &mut self.linked)
                .with_context(|| String::from_utf8_lossy(entry.path).into_owned())?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// What an entry is, or `None` if no archive can hold it.
fn look(
    entry: &Entry<'_>,
    mut name: Vec<u8>,
    options: &PackOptions,
    linked: &mut HashMap<(u64, u64), Vec<u8>>,
) -> Result<Option<Found>> {
    // Before anything is opened: a forged directory can call a device a file,
    // and to open one may be enough for it to do something.
    let stat = entry.stat()?;
    let kind = file_type(&stat);
    // As GNU tar does: other kinds have no data to be stored twice.
    if stat.st_nlink > 1 && matches!(kind, SFlag::S_IFREG | SFlag::S_IFLNK) {
        let id = (stat.st_dev, stat.st_ino);
        if let Some(first) = linked.get(&id) {
            return Ok(Some(Found {
                name,
                stat,
                content: Content::HardLink(first.clone()),
                handle: None,
            }));
        }
        linked.insert(id, name.clone());
    }
    let content = match kind {
        SFlag::S_IFREG => Content::Regular(open(entry)?),
        SFlag::S_IFLNK => Content::SymbolicLink(readlinkat(entry.dir, entry.name)?.into_vec()),
        SFlag::S_IFDIR => {
            name.push(b'/');
            Content::Directory
        }
        SFlag::S_IFCHR => Content::CharacterDevice,
        SFlag::S_IFBLK => Content::BlockDevice,
        SFlag::S_IFSOCK => {
            logging::debug(format_args!(
                "{}: socket ignored",
                String::from_utf8_lossy(&name)
            ));
            return Ok(None);
        }
        _ => Content::Fifo,
    };
    let handle = match content {
        Content::Regular(_) => None,
        _ if options.attributes.any() => {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            Some(openat(entry.dir, entry.name, flags, Mode::empty())?)
        }
        _ => None,
    };
    Ok(Some(Found {
        name,
        stat,
        content,
        handle,
    }))
}

fn open(entry: &Entry<'_>) -> nix::Result<File> {
    // Should something else have taken the file's place: no waiting for whoever
    // writes to a pipe, and no terminal of our own.
    let flags = OFlag::O_RDONLY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    openat(entry.dir, entry.name, flags, Mode::empty()).map(File::from)
}
