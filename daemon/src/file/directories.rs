//! Directories: making, listing and removing.

pub(super) mod removal;

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::api::{DirectoriesActions, Dirent, MktempOptions};
use protocol::wire::MESSAGE_MAX;
use protocol::{Context, EncodedList, Error, FileOut, GuestPath, List, Result, Sent};
use rustix::fs::{FileType, RawDirEntry};

use super::fresh::{self, RANDOM};
use super::{last_component, mode_bits, unslashed};
use crate::Daemon;
use crate::command::Command;
use crate::entries::{self, is_dots};
use crate::guest::{Guest, file_type};
use removal::remove_tree;

/// How much of a listing is sent at once: what has been read goes out while the
/// kernel is still reading the rest of the directory.
const PART: usize = 64 << 10;

/// How a directory is opened for its entries.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY);

/// The mode of a new directory, before the umask.
const NEW_DIRECTORY: Mode = Mode::from_bits_truncate(0o777);

impl DirectoriesActions for Daemon {
    fn ll(&mut self, directory: GuestPath) -> Result<Vec<u8>> {
        long_listing(&self.guest, &directory, "-la")
    }

    fn rm(&mut self, path: GuestPath) -> Result<()> {
        let place = self.guest.parent(&path)?;
        unlinkat(
            &place.dir,
            place.name.as_os_str(),
            UnlinkatFlags::NoRemoveDir,
        )
        .context(&path)
    }

    fn rmdir(&mut self, path: GuestPath) -> Result<()> {
        let place = self.guest.parent(&path)?;
        let result = unlinkat(&place.dir, place.name.as_os_str(), UnlinkatFlags::RemoveDir);
        // What the path names by its dots is never empty, or in use.
        let result = match (result, last_component(path.as_bytes())) {
            (Err(Errno::EINVAL), None) => Err(Errno::EBUSY),
            (Err(Errno::EINVAL), Some(b"..")) => Err(Errno::ENOTEMPTY),
            (result, _) => result,
        };
        result.context(&path)
    }

    fn rm_rf(&mut self, path: GuestPath) -> Result<()> {
        match last_component(path.as_bytes()) {
            None => {
                return Err(Error::with_errno(
                    Errno::EBUSY,
                    "cannot remove root directory",
                ));
            }
            Some(b"." | b"..") => {
                return match self.guest.handle(&path) {
                    Err(error) if is_missing(&error) => Ok(()),
                    _ => Err(Error::with_errno(
                        Errno::EINVAL,
                        format!("{path}: a path that ends in '.' or '..' cannot be removed"),
                    )),
                };
            }
            Some(_) => {}
        }
        match self.guest.parent(&path) {
            Ok(place) => remove_tree(place, &path),
            // A link to a directory, with a slash behind it, is there all the same.
            Err(error) if is_missing(&error) && self.guest.handle(&path).is_err() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn mkdir(&mut self, path: GuestPath) -> Result<()> {
        make_directory(&self.guest, &path, NEW_DIRECTORY)
    }

    fn mkdir_p(&mut self, path: GuestPath) -> Result<()> {
        make_with_parents(&self.guest, &path)
    }

    fn mkdtemp(&mut self, tmpl: GuestPath) -> Result<Vec<u8>> {
        make_temporary(&self.guest, &tmpl, b"", |dir, name| {
            mkdirat(dir, name, Mode::S_IRWXU)
        })
    }

    fn readdir(&mut self, dir: GuestPath) -> Result<List<Dirent>> {
        let handle = self.guest.open(&dir, READ)?;
        let mut all = EncodedList::default();
        entries::read(&handle, add, |part| all.append(&part)).context(&dir)?;
        Ok(all.into())
    }

    fn mkdir_mode(&mut self, path: GuestPath, mode: i32) -> Result<()> {
        let mode = mode_bits(mode, &path)?;
        make_directory(&self.guest, &path, Mode::from_bits_truncate(mode))
    }

    fn llz(&mut self, directory: GuestPath) -> Result<Vec<u8>> {
        long_listing(&self.guest, &directory, "-laZ")
    }

    fn ls0(&mut self, dir: GuestPath, filenames: FileOut<'_>) -> Result<Sent> {
        let add = |entry: &RawDirEntry<'_>, part: &mut Vec<u8>| {
            if !is_dots(entry) {
                part.extend_from_slice(entry.file_name().to_bytes_with_nul());
            }
        };
        send_entries(&self.guest, &dir, filenames, add, Vec::as_slice)
    }

    fn rm_f(&mut self, path: GuestPath) -> Result<()> {
        match self.rm(path) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(()),
            result => result,
        }
    }

    fn mktemp(&mut self, tmpl: GuestPath, options: MktempOptions<'_>) -> Result<Vec<u8>> {
        if options.suffix.is_some() && !tmpl.as_bytes().ends_with(b"X") {
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!("template {tmpl} must end in XXXXXX"),
            ));
        }
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let suffix = options.suffix.unwrap_or_default();
        if suffix.ends_with(b"/") {
            // What is made is a file, whatever its name says.
            return Err(Error::os(Errno::EISDIR, &tmpl));
        }
        make_temporary(&self.guest, &tmpl, suffix, |dir, name| {
            openat(dir, name, flags, mode).map(drop)
        })
    }

    fn internal_readdir(&mut self, dir: GuestPath, filename: FileOut<'_>) -> Result<Sent> {
        send_entries(&self.guest, &dir, filename, add, EncodedList::bytes)
    }
}

/// Whether a path leads nowhere, as one through a file does, one with a slash after a file, or one
/// that its filesystem cannot have (EILSEQ of NTFS).
fn is_missing(error: &Error) -> bool {
    matches!(
        error.errno(),
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::EILSEQ)
    )
}

fn make_directory(guest: &Guest, path: &GuestPath, mode: Mode) -> Result<()> {
    let place = guest.parent(&unslashed(path)?)?;
    mkdirat(&place.dir, place.name.as_os_str(), mode).context(path)
}

/// Makes a directory and those above it that are missing. Tries the whole path
/// first, since most of the time at most one is missing.
fn make_with_parents(guest: &Guest, path: &GuestPath) -> Result<()> {
    let bytes = path.as_bytes();
    let mut missing = Vec::new();
    let mut end = bytes.len();
    loop {
        let prefix = GuestPath::new(bytes.get(..end.max(1)).unwrap_or_default())?;
        match make_directory(guest, &prefix, NEW_DIRECTORY) {
            Ok(()) => break,
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                require_directory(guest, &prefix)?;
                break;
            }
            Err(error) if error.errno() == Some(Errno::ENOENT) && end > 1 => {
                missing.push(prefix);
                end = bytes
                    .get(..end)
                    .and_then(|prefix| prefix.iter().rposition(|&byte| byte == b'/'))
                    .unwrap_or(0);
            }
            Err(error) => return Err(error),
        }
    }
    for prefix in missing.into_iter().rev() {
        match make_directory(guest, &prefix, NEW_DIRECTORY) {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                require_directory(guest, &prefix)?;
            }
            result => result?,
        }
    }
    Ok(())
}

fn require_directory(guest: &Guest, path: &GuestPath) -> Result<()> {
    if file_type(&guest.lstat(path)?) == SFlag::S_IFDIR {
        return Ok(());
    }
    Err(Error::with_errno(
        Errno::ENOTDIR,
        format!("{path}: a path element was not a directory"),
    ))
}

/// Calls `make` for names that have random characters where the template has
/// its last six `X`, until it makes one; returns the path.
fn make_temporary(
    guest: &Guest,
    template: &GuestPath,
    suffix: &[u8],
    make: impl Fn(&OwnedFd, &OsStr) -> nix::Result<()>,
) -> Result<Vec<u8>> {
    let Some(stem) = template.as_bytes().strip_suffix(&[b'X'; RANDOM]) else {
        let subject = format!("template {template} must end in {}", "X".repeat(RANDOM));
        return Err(Error::os(Errno::EINVAL, subject));
    };
    let made = fresh::with_random_name(|random| {
        let path = GuestPath::new([stem, random, suffix].concat()).map_err(|_| Errno::EINVAL)?;
        // The error names the template, which is what the caller knows.
        let place = guest
            .parent(&path)
            .map_err(|error| error.errno().unwrap_or(Errno::EIO))?;
        make(&place.dir, place.name.as_os_str())?;
        Ok(path)
    });
    made.map(GuestPath::into_bytes).context(template)
}

fn add(entry: &RawDirEntry<'_>, part: &mut EncodedList<Dirent>) {
    let dirent = Dirent {
        ino: entry.ino().cast_signed(),
        ftyp: letter(entry),
        name: entry.file_name().to_bytes().to_vec(),
    };
    // A part is what one system call gives: small, whatever the directory holds.
    let _ = part.push(&dirent);
}

/// The letter for what kind of file an entry is.
fn letter(entry: &RawDirEntry<'_>) -> u8 {
    match entry.file_type() {
        FileType::BlockDevice => b'b',
        FileType::CharacterDevice => b'c',
        FileType::Directory => b'd',
        FileType::Fifo => b'f',
        FileType::Symlink => b'l',
        FileType::RegularFile => b'r',
        FileType::Socket => b's',
        FileType::Unknown => b'u',
    }
}

/// Sends the entries of a directory in parts, to which `render` adds them.
fn send_entries<P: Default + Send>(
    guest: &Guest,
    path: &GuestPath,
    out: FileOut<'_>,
    render: impl Fn(&RawDirEntry<'_>, &mut P) + Sync,
    bytes: impl Fn(&P) -> &[u8],
) -> Result<Sent> {
    let directory = guest.open(path, READ)?;
    let mut out = out.start()?;
    entries::read(&directory, render, |part| {
        out.send(bytes(&part))?;
        if out.pending() >= PART {
            out.push()?;
        }
        Ok::<(), Error>(())
    })
    .context(path)?;
    out.finish()
}

/// What `ls` prints. It runs in the directory, so that it needs no path: one can
/// be longer than the kernel takes.
fn long_listing(guest: &Guest, path: &GuestPath, flags: &str) -> Result<Vec<u8>> {
    let handle = guest.handle(path)?;
    let command = Command::new("ls").arg(flags).stdout_limit(MESSAGE_MAX);
    let out = if file_type(&fstat(&handle).context(path)?) == SFlag::S_IFDIR {
        command.cwd(&handle).run()?
    } else {
        let place = guest.parent(&guest.path_of(&handle, path)?)?;
        command.cwd(&place.dir).operands([&place.name]).run()?
    };
    Ok(out.stdout)
}
