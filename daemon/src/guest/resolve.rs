//! Path resolution inside a root directory: by the kernel where it can
//! (`openat2`, Linux 5.6), by the `pathrs` crate where it cannot.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;
use pathrs::RootRef;
use pathrs::error::ErrorKind;
use pathrs::flags::OpenFlags;
use protocol::GuestPath;

use super::tree::kind;

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// How often a resolution is tried again that a rename elsewhere in the tree
/// disturbed (EAGAIN), before it is done step by step.
const DISTURBED: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Resolver {
    /// The kernel has no `openat2`.
    emulate: Cell<bool>,
}

impl Resolver {
    /// Resolves without `openat2`, whatever the kernel has.
    #[cfg(test)]
    pub(super) fn emulated() -> Self {
        Self {
            emulate: Cell::new(true),
        }
    }

    /// Opens `path` with `root` as `/`. Never leaves `root`, whatever links
    /// and `..` are on the way.
    pub(super) fn open(
        &self,
        root: BorrowedFd<'_>,
        path: &GuestPath,
        flags: OFlag,
        mode: Mode,
    ) -> nix::Result<OwnedFd> {
        let flags = flags | OFlag::O_CLOEXEC;
        if !self.emulate.get() {
            let how = OpenHow::new()
                .flags(flags)
                .mode(if flags.contains(OFlag::O_CREAT) {
                    mode
                } else {
                    Mode::empty()
                })
                .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
            for _ in 0..DISTURBED {
                match openat2(root, path.as_path(), how) {
                    Err(Errno::ENOSYS) => {
                        self.emulate.set(true);
                        break;
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    result => return result,
                }
            }
        }
        if flags.contains(OFlag::O_CREAT) {
            create_in_steps(root, path, flags, mode)
        } else {
            open_in_steps(root, path.as_path(), flags)
        }
    }
}

fn open_in_steps(root: BorrowedFd<'_>, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let root = RootRef::from_fd(root);
    let result = if flags.contains(OFlag::O_PATH) {
        let nofollow = flags.contains(OFlag::O_NOFOLLOW) && !ends_with_slash(path);
        let handle = if nofollow {
            root.resolve_nofollow(path)
        } else {
            root.resolve(path)
        };
        handle.map(OwnedFd::from)
    } else {
        // The flags are a bit field: no sign to extend.
        let flags = u64::from(flags.bits().cast_unsigned());
        root.open_subpath(path, OpenFlags::from_bits_retain(flags))
            .map(OwnedFd::from)
    };
    let fd = result.map_err(|error| match error.kind() {
        ErrorKind::OsError(Some(code)) => Errno::from_raw(code),
        ErrorKind::InvalidArgument => Errno::EINVAL,
        ErrorKind::NotImplemented | ErrorKind::NotSupported => Errno::ENOSYS,
        ErrorKind::SafetyViolation => Errno::EXDEV,
        _ => Errno::EIO,
    })?;
    if flags.contains(OFlag::O_PATH | OFlag::O_DIRECTORY)
        && kind(&fd)? != nix::sys::stat::SFlag::S_IFDIR
    {
        return Err(Errno::ENOTDIR);
    }
    Ok(fd)
}

/// `O_CREAT` follows a final link, which must not lead out of the guest: so
/// each step opens the parent and looks at the name in it.
fn create_in_steps(
    root: BorrowedFd<'_>,
    path: &GuestPath,
    flags: OFlag,
    mode: Mode,
) -> nix::Result<OwnedFd> {
    let mut path = path.as_bytes().to_vec();
    for _ in 0..=MAX_LINKS {
        let end = path.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
        let (whole, slashes) = path.split_at(end);
        let start = whole
            .iter()
            .rposition(|&b| b == b'/')
            .map_or(0, |at| at + 1);
        let (dir, name) = match whole.split_at(start) {
            // The root, of which only slashes are left.
            (b"", name) => (b"/".as_slice(), name),
            split => split,
        };
        let parent = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let parent = open_in_steps(root, Path::new(OsStr::from_bytes(dir)), parent)?;
        // Only a directory could be there, which is not what is made.
        if !slashes.is_empty() || matches!(name, b"" | b"." | b"..") {
            return Err(Errno::EISDIR);
        }
        let name = OsStr::from_bytes(name);
        match readlinkat(parent.as_fd(), name) {
            Ok(_) if flags.contains(OFlag::O_EXCL) => return Err(Errno::EEXIST),
            Ok(target) => {
                let target = target.into_vec();
                if target.first() == Some(&b'/') {
                    path = target;
                } else {
                    path.truncate(start);
                    path.extend(target);
                }
            }
            Err(Errno::EINVAL | Errno::ENOENT) => {
                return openat(parent, name, flags | OFlag::O_NOFOLLOW, mode);
            }
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::ELOOP)
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}
