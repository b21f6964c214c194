//! What there is to pack.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag};
use protocol::{Context, Result};

use super::PackOptions;
use super::ahead::Find;
use crate::guest::file_type;
use crate::logging;
use crate::walk::{Entry, HardLinks, Walk};

/// A file that is to be packed.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name in the archive.
    pub(super) name: Vec<u8>,
    /// Of what was opened, so that the size is that of the data.
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

impl Find for Found {
    fn memory(&self) -> usize {
        let target = match &self.content {
            Content::HardLink(target) | Content::SymbolicLink(target) => target.len(),
            _ => 0,
        };
        self.name.len() + target
    }
}

/// What of a file goes into the archive besides its metadata.
#[derive(Debug)]
pub(super) enum Content {
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
    linked: HardLinks,
}

impl<'o> Finder<'o> {
    pub(super) fn new(top: &impl AsFd, options: &'o PackOptions) -> Result<Self> {
        Ok(Self {
            walk: Walk::new(top)?,
            options,
            linked: HardLinks::default(),
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
    linked: &mut HardLinks,
) -> Result<Option<Found>> {
    // Before anything is opened: a forged directory can call a device a file,
    // and to open one may be enough for it to do something.
    let mut stat = entry.stat()?;
    let kind = file_type(&stat);
    // As GNU tar does: other kinds have no data to be stored twice.
    if matches!(kind, SFlag::S_IFREG | SFlag::S_IFLNK)
        && let Some(first) = linked.met_as(&stat, &name)?
    {
        return Ok(Some(Found {
            name,
            stat,
            content: Content::HardLink(first.to_vec()),
            handle: None,
        }));
    }
    let content = match kind {
        SFlag::S_IFREG => {
            let (file, opened) = entry.open_regular()?;
            stat = opened;
            Content::Regular(file)
        }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;
    use crate::archive::{Excludes, Wanted};

    /// By name, for a directory has no order.
    fn all(top: &Path, options: &PackOptions) -> Vec<(String, Found)> {
        let top = File::open(top).unwrap();
        let mut finder = Finder::new(&top, options).unwrap();
        let mut found = Vec::new();
        while let Some(file) = finder.next().unwrap() {
            found.push((String::from_utf8(file.name.clone()).unwrap(), file));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    fn names(found: &[(String, Found)]) -> Vec<&str> {
        found.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn each_kind_is_told_and_only_files_are_opened() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("d")).unwrap();
        fs::write(top.path().join("d/f"), "data").unwrap();
        symlink("/etc", top.path().join("link")).unwrap();
        let _socket = UnixListener::bind(top.path().join("socket")).unwrap();
        nix::unistd::mkfifo(&top.path().join("pipe"), Mode::S_IRWXU).unwrap();
        let found = all(top.path(), &PackOptions::default());
        assert_eq!(names(&found), ["./d/", "./d/f", "./link", "./pipe"]);
        let [(_, d), (_, f), (_, link), (_, pipe)] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert!(matches!(d.content, Content::Directory) && d.path() == b"d");
        assert!(matches!(f.content, Content::Regular(_)) && f.path() == b"d/f");
        assert!(matches!(&link.content, Content::SymbolicLink(to) if to == b"/etc"));
        assert_eq!(link.memory(), "./link/etc".len());
        assert!(matches!(pipe.content, Content::Fifo));
        assert!(found.iter().all(|(_, file)| file.handle.is_none()));
    }

    #[test]
    fn what_is_not_opened_has_a_handle_if_attributes_are_wanted() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("d")).unwrap();
        fs::write(top.path().join("f"), "").unwrap();
        symlink("d", top.path().join("link")).unwrap();
        let options = PackOptions {
            attributes: Wanted {
                xattrs: true,
                ..Wanted::default()
            },
            ..PackOptions::default()
        };
        for (name, file) in all(top.path(), &options) {
            let opened = matches!(file.content, Content::Regular(_));
            assert_ne!(file.handle.is_some(), opened, "{name}");
        }
    }

    #[test]
    fn excluded_directories_are_not_entered() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("keep/out/below")).unwrap();
        fs::write(top.path().join("keep/out/f"), "").unwrap();
        fs::write(top.path().join("keep/g"), "").unwrap();
        let options = PackOptions {
            excludes: Excludes::new("tar-out", &[b"out"]).unwrap(),
            ..PackOptions::default()
        };
        let found = all(top.path(), &options);
        assert_eq!(names(&found), ["./keep/", "./keep/g"]);
    }

    #[test]
    fn a_second_name_is_a_link_to_the_first() {
        let top = tempfile::tempdir().unwrap();
        fs::write(top.path().join("a"), "").unwrap();
        fs::hard_link(top.path().join("a"), top.path().join("b")).unwrap();
        let found = all(top.path(), &PackOptions::default());
        let [(_, a), (_, b)] = found.as_slice() else {
            panic!("{found:?}");
        };
        // Whichever of them the directory has first.
        match (&a.content, &b.content) {
            (Content::Regular(_), Content::HardLink(first)) => assert_eq!(first, b"./a"),
            (Content::HardLink(first), Content::Regular(_)) => assert_eq!(first, b"./b"),
            other => panic!("{other:?}"),
        }
    }
}
