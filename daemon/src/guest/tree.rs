//! The guest's file tree.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, readlink, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use protocol::{Context, Error, GuestPath, Result};

use super::resolve::Resolver;
use crate::mounts;

/// The tree of filesystems that is mounted below the sysroot.
#[derive(Debug)]
pub struct Guest {
    sysroot: PathBuf,
    resolver: Resolver,
    /// The filesystem that holds the sysroot directory when nothing is mounted on it.
    below: OnceCell<Option<u64>>,
}

/// A name in a directory of the guest, for the `*at` system calls.
///
/// The directory is resolved; the name is a single component, so that
/// system calls that do not follow links cannot leave the directory.
#[derive(Debug)]
pub struct Place {
    /// The directory (an `O_PATH` descriptor).
    pub dir: OwnedFd,
    /// The last component; `.` for the root and for paths that end in `.` or `..`.
    pub name: OsString,
}

impl Place {
    /// What is there, without following a link.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    pub fn stat(&self) -> nix::Result<FileStat> {
        fstatat(
            &self.dir,
            self.name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )
    }

    /// What the caller of a path that has been resolved to this calls the directory.
    pub(crate) fn directory<'p>(&self, path: &'p GuestPath) -> &'p Path {
        let path = path.as_path();
        match path.parent() {
            Some(parent) if self.name != "." => parent,
            _ => path,
        }
    }
}

impl Guest {
    /// The same as [`Guest::new`], as on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn emulated(sysroot: impl Into<PathBuf>) -> Self {
        Self {
            resolver: Resolver::emulated(),
            ..Self::new(sysroot)
        }
    }

    /// The guest whose root is `sysroot`, an absolute path of the appliance.
    pub fn new(sysroot: impl Into<PathBuf>) -> Self {
        Self {
            sysroot: sysroot.into(),
            resolver: Resolver::default(),
            below: OnceCell::new(),
        }
    }

    /// Where the guest's root is in the appliance. Only for mounting and
    /// unmounting: a path below it must not be made by joining.
    pub fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// Whether the guest's root is the appliance's own (`-r`).
    pub fn is_own_root(&self) -> bool {
        self.sysroot == Path::new("/")
    }

    /// Opens a regular file or a directory.
    ///
    /// # Errors
    ///
    /// EINVAL for devices, pipes and sockets; the errno of the system call.
    pub fn open(&self, path: &GuestPath, flags: OFlag) -> Result<File> {
        if flags.contains(OFlag::O_DIRECTORY) {
            return self
                .open_directory(path, flags)
                .map(File::from)
                .context(path);
        }
        let handle = self.handle(path)?;
        match kind(&handle).context(path)? {
            SFlag::S_IFREG | SFlag::S_IFDIR => reopen(&handle, flags).context(path),
            _ => Err(Error::with_errno(
                Errno::EINVAL,
                format!("{path}: not a regular file or directory"),
            )),
        }
    }

    /// Opens a regular file, and nothing else.
    ///
    /// # Errors
    ///
    /// EISDIR for directories; EINVAL for devices, pipes and sockets; the errno
    /// of the system call.
    pub fn open_regular(&self, path: &GuestPath, flags: OFlag) -> Result<File> {
        let handle = self.handle(path)?;
        require_regular(&handle, path)?;
        reopen(&handle, flags).context(path)
    }

    /// Opens a regular file, which is made if it does not exist. A final link
    /// is followed inside the guest, also to make its target.
    ///
    /// # Errors
    ///
    /// As for [`Guest::open_regular`]; EISDIR if the path ends in `/`; EEXIST if
    /// `flags` has `O_EXCL` and the path exists.
    pub fn create(&self, path: &GuestPath, flags: OFlag, mode: Mode) -> Result<File> {
        let root = self.root()?;
        // What ends in a slash can only be refused, whatever is there.
        if !flags.contains(OFlag::O_EXCL) && !path.as_bytes().ends_with(b"/") {
            match self
                .resolver
                .open(root.as_fd(), path, OFlag::O_PATH, Mode::empty())
            {
                Ok(handle) => {
                    require_regular(&handle, path)?;
                    return reopen(&handle, flags).context(path);
                }
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::os(errno, path)),
            }
        }
        // Something else may have made a pipe there since: do not wait for its other end.
        let flags = flags | OFlag::O_CREAT | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        let fd = self
            .resolver
            .open(root.as_fd(), path, flags, mode)
            .context(path)?;
        require_regular(&fd, path)?;
        Ok(File::from(fd))
    }

    /// Opens a directory for reading its entries.
    ///
    /// # Errors
    ///
    /// ENOTDIR if it is none; the errno of the system call.
    pub fn directory(&self, path: &GuestPath) -> Result<Dir> {
        self.open_directory(path, OFlag::O_RDONLY)
            .and_then(Dir::from_fd)
            .context(path)
    }

    /// A handle (`O_PATH`) of whatever the path leads to.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    pub fn handle(&self, path: &GuestPath) -> Result<OwnedFd> {
        let root = self.root()?;
        self.resolver
            .open(root.as_fd(), path, OFlag::O_PATH, Mode::empty())
            .context(path)
    }

    /// A handle (`O_PATH`) of what the path names; of a final link itself.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    pub fn handle_nofollow(&self, path: &GuestPath) -> Result<OwnedFd> {
        let root = self.root()?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        self.resolver
            .open(root.as_fd(), path, flags, Mode::empty())
            .context(path)
    }

    /// What the path leads to, links followed.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    pub fn stat(&self, path: &GuestPath) -> Result<FileStat> {
        fstat(self.handle(path)?).context(path)
    }

    /// What the path names; a final link itself.
    ///
    /// # Errors
    ///
    /// The errno of the system call.
    pub fn lstat(&self, path: &GuestPath) -> Result<FileStat> {
        fstat(self.handle_nofollow(path)?).context(path)
    }

    /// The directory that holds the path's last component.
    ///
    /// # Errors
    ///
    /// ENOTDIR if the path ends in `/` and names something other than a
    /// directory; the errno of the system call.
    pub fn parent(&self, path: &GuestPath) -> Result<Place> {
        let root = self.root()?;
        let bytes = path.as_bytes();
        let end = bytes
            .iter()
            .rposition(|&b| b != b'/')
            .map_or(0, |at| at + 1);
        let (whole, slashes) = bytes.split_at(end);
        let start = whole
            .iter()
            .rposition(|&b| b == b'/')
            .map_or(0, |at| at + 1);
        let (dir, name) = whole.split_at(start);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        if matches!(name, b"" | b"." | b"..") {
            let dir = self
                .resolver
                .open(root.as_fd(), path, flags, Mode::empty())
                .context(path)?;
            let name = OsString::from(".");
            return Ok(Place { dir, name });
        }
        let parent = GuestPath::new(dir)?;
        let dir = self
            .resolver
            .open(root.as_fd(), &parent, flags, Mode::empty())
            .context(path)?;
        let place = Place {
            dir,
            name: OsString::from_vec(name.to_vec()),
        };
        // A name with its slash would make the system calls follow a link.
        if !slashes.is_empty()
            && let Ok(stat) = place.stat()
            && file_type(&stat) != SFlag::S_IFDIR
        {
            return Err(Error::os(Errno::ENOTDIR, path));
        }
        Ok(place)
    }

    /// Where the path leads, as a path in the guest without links.
    ///
    /// # Errors
    ///
    /// ENOENT if it leads nowhere; the errno of the system call.
    pub fn resolve(&self, path: &GuestPath) -> Result<GuestPath> {
        self.path_of(&self.handle(path)?, path)
    }

    /// Where what the path names is, as a path in the guest without links but a
    /// final one.
    ///
    /// # Errors
    ///
    /// ENOENT if there is nothing; the errno of the system call.
    pub fn resolve_nofollow(&self, path: &GuestPath) -> Result<GuestPath> {
        self.path_of(&self.handle_nofollow(path)?, path)
    }

    /// Where what `path` was opened as is, as a path in the guest.
    ///
    /// # Errors
    ///
    /// ENOENT if it is not in the guest; the errno of the system call.
    pub fn path_of(&self, target: &OwnedFd, path: &GuestPath) -> Result<GuestPath> {
        let root = readlink(&descriptor_path(&self.root()?)).context(path)?;
        let target = readlink(&descriptor_path(target)).context(path)?;
        let below = Path::new(&target)
            .strip_prefix(&root)
            .map_err(|_| Error::os(Errno::ENOENT, path))?;
        Ok(GuestPath::root().join(below.as_os_str().as_bytes()))
    }

    /// The target of a symbolic link, as it is written there.
    ///
    /// # Errors
    ///
    /// EINVAL if it is no symbolic link; the errno of the system call.
    pub fn read_link(&self, path: &GuestPath) -> Result<Vec<u8>> {
        let handle = self.handle_nofollow(path)?;
        match readlinkat(&handle, "") {
            Ok(target) => Ok(target.into_vec()),
            // The kernel's word for "this descriptor is no link".
            Err(Errno::ENOENT) => Err(Error::os(Errno::EINVAL, path)),
            Err(errno) => Err(Error::os(errno, path)),
        }
    }

    /// Whether a filesystem is mounted on the sysroot or below it.
    pub fn is_mounted(&self) -> bool {
        if self.is_own_root() {
            return true;
        }
        let below = self.below.get_or_init(|| {
            let parent = self.sysroot.parent()?;
            std::fs::metadata(parent).ok().map(|meta| meta.dev())
        });
        match (std::fs::metadata(&self.sysroot), below) {
            (Ok(root), Some(below)) if root.dev() != *below => true,
            // Mounted only below it, bound from the same filesystem, or shut down by the kernel
            // over its damage.
            _ => mounts::below(&self.sysroot).is_ok_and(|mounts| !mounts.is_empty()),
        }
    }

    /// Fails unless a filesystem is mounted.
    ///
    /// # Errors
    ///
    /// When none is.
    pub fn require_root(&self) -> Result<()> {
        if self.is_mounted() {
            Ok(())
        } else {
            Err(Error::new(
                "you must call 'mount' first to mount the root filesystem",
            ))
        }
    }

    /// The guest's root. Not kept open: that would keep it from being unmounted.
    fn root(&self) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(&self.sysroot, flags, Mode::empty()).context(self.sysroot.display())
    }

    fn open_directory(&self, path: &GuestPath, flags: OFlag) -> nix::Result<OwnedFd> {
        let flags = flags | OFlag::O_DIRECTORY;
        let root = self
            .root()
            .map_err(|error| error.errno().unwrap_or(Errno::EIO))?;
        self.resolver.open(root.as_fd(), path, flags, Mode::empty())
    }
}

/// The file type in a file's mode.
pub fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// The name under which this process, or a child that inherits the descriptor,
/// reaches an open file again.
pub fn descriptor_path(fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()))
}

/// Opens what a handle (`O_PATH`) stands for.
///
/// # Errors
///
/// The errno of the system call.
pub fn reopen(handle: &impl AsFd, flags: OFlag) -> nix::Result<File> {
    let mut flags = flags - OFlag::O_NOFOLLOW;
    // Alone, O_EXCL means something else: that nobody else uses the block device.
    if flags.contains(OFlag::O_CREAT) {
        flags -= OFlag::O_CREAT | OFlag::O_EXCL;
    }
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    open(&descriptor_path(handle), flags, Mode::empty()).map(File::from)
}

pub(super) fn kind(fd: &impl AsFd) -> nix::Result<SFlag> {
    fstat(fd).map(|stat| file_type(&stat))
}

fn require_regular(fd: &impl AsFd, path: &GuestPath) -> Result<()> {
    match kind(fd).context(path)? {
        SFlag::S_IFREG => Ok(()),
        SFlag::S_IFDIR => Err(Error::os(Errno::EISDIR, path)),
        _ => Err(Error::with_errno(
            Errno::EINVAL,
            format!("{path}: not a regular file"),
        )),
    }
}
