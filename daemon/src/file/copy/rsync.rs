//! Running rsync on directories of the guest.
//!
//! rsync is given the directory that an operand is in as a descriptor of a view without links, and
//! only the last name as a name. It does not follow links below that: a link is copied as one, or
//! left out, and a link that is in the way at the destination is replaced.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::{SFlag, fstat, fstatat};
use protocol::{Context, Error, GuestPath, Result};

use crate::command::Command;
use crate::file::directories::removal::remove_tree;
use crate::file::{fresh, open_directory};
use crate::guest::{Guest, Place, View, file_type};

/// How rsync names computers by a prefix; otherwise there is a colon after the computer's name.
const SCHEME: &[u8] = b"rsync://";

/// One end of the copying.
pub(super) enum End<'a> {
    /// In the guest.
    Guest(&'a GuestPath),
    /// On another computer, in rsync's notation.
    Remote(&'a [u8]),
}

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(path) => path.fmt(f),
            Self::Remote(remote) => String::from_utf8_lossy(remote).fmt(f),
        }
    }
}

/// What callers may ask for.
pub(super) struct How {
    pub(super) archive: bool,
    pub(super) delete: bool,
}

impl How {
    pub(super) fn new(archive: Option<bool>, delete: Option<bool>) -> Self {
        Self {
            archive: archive.unwrap_or_default(),
            delete: delete.unwrap_or_default(),
        }
    }
}

/// Copies what is new at `src` to `dest`.
pub(super) fn copy(guest: &Guest, src: &End<'_>, dest: &End<'_>, how: &How) -> Result<()> {
    let mut command = Command::new("rsync").arg("--quiet");
    if how.archive {
        // The users of the appliance, whose names it would go by, are not the guest's.
        command = command.args(["--archive", "--numeric-ids"]);
    }
    if how.delete {
        command = command.arg("--delete");
    }
    let from = match src {
        End::Guest(path) => source(guest, path, &mut command)?,
        End::Remote(remote) => Operand::remote(remote)?,
    };
    let to = match dest {
        End::Guest(path) => destination(guest, path, &mut command)?,
        End::Remote(remote) => Operand::remote(remote)?,
    };
    let copied = command
        .operands([&from.name, &to.name])
        .run()
        .with_context(|| format!("'{src}' to '{dest}'"));
    match to.replaces {
        Some(link) => link.replace(copied.map(drop)),
        None => copied.map(drop),
    }
}

/// What rsync is told, and what must be there until it has ended.
struct Operand {
    name: OsString,
    _view: Option<View>,
    replaces: Option<Link>,
}

/// A link at the destination that leads to no directory. The copy takes its place, and what it
/// leads to stays as it is. rsync would do that by itself, but first asks where the link leads.
struct Link {
    place: Place,
    path: GuestPath,
    /// The name of the copy until then.
    temporary: OsString,
}

impl Link {
    fn new(place: Place, path: &GuestPath) -> Result<Self> {
        let temporary = fresh::with_random_name(|random| {
            let name = OsStr::from_bytes(&[b".tmp-", random.as_slice()].concat()).to_owned();
            match fstatat(&place.dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => Ok(name),
                found => found.and(Err(Errno::EEXIST)),
            }
        });
        Ok(Self {
            temporary: temporary.context(path)?,
            place,
            path: path.clone(),
        })
    }

    fn replace(self, copied: Result<()>) -> Result<()> {
        let Self {
            place: Place { dir, name },
            path,
            temporary,
        } = self;
        let made = fstatat(&dir, temporary.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let result = copied.and_then(|()| match &made {
            // There was nothing to be copied.
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::os(*errno, &path)),
            Ok(stat) if file_type(stat) == SFlag::S_IFDIR => Err(Error::os(Errno::ENOTDIR, &path)),
            Ok(_) => renameat(&dir, temporary.as_os_str(), &dir, name.as_os_str()).context(&path),
        });
        if result.is_err() {
            let name = temporary;
            // The other error is the one to report.
            let _ = remove_tree(Place { dir, name }, &path);
        }
        result
    }
}

impl Operand {
    fn remote(remote: &[u8]) -> Result<Self> {
        Ok(Self {
            name: checked(remote)?.to_owned(),
            _view: None,
            replaces: None,
        })
    }

    /// What is in the directory that the caller calls `known`.
    fn contents(command: &mut Command, view: View, known: &GuestPath) -> Self {
        Self::inside(command, view, known.as_path(), OsStr::new(""))
    }

    /// What has that name in the directory.
    fn inside(command: &mut Command, view: View, known: &Path, name: &OsStr) -> Self {
        let directory = command.view(&view, &known.display());
        Self {
            // Joining "" leaves a slash at the end.
            name: directory.join(name).into_os_string(),
            _view: Some(view),
            replaces: None,
        }
    }
}

/// What to copy. With a slash at its end it is what the directory holds, and the path is followed
/// to its end; without, it is the directory, file or link of that name.
fn source(guest: &Guest, path: &GuestPath, command: &mut Command) -> Result<Operand> {
    if path.as_bytes().ends_with(b"/") {
        let directory = open_directory(guest, path)?;
        return Ok(Operand::contents(command, View::new(&directory)?, path));
    }
    let place = guest.parent(path)?;
    place.stat().context(path)?;
    let view = View::new(&place.dir)?;
    let directory = place.directory(path);
    Ok(Operand::inside(command, view, directory, &place.name))
}

/// Where to copy it.
fn destination(guest: &Guest, path: &GuestPath, command: &mut Command) -> Result<Operand> {
    match guest.handle(path) {
        Ok(handle) if file_type(&fstat(&handle).context(path)?) == SFlag::S_IFDIR => {
            return Ok(Operand::contents(command, View::writable(&handle)?, path));
        }
        Err(error) if error.errno() != Some(Errno::ENOENT) => return Err(error),
        _ => {}
    }
    let place = guest.parent(path)?;
    let view = View::writable(&place.dir)?;
    let directory = place.directory(path);
    if place
        .stat()
        .is_ok_and(|there| file_type(&there) == SFlag::S_IFLNK)
    {
        let link = Link::new(place, path)?;
        command.known_as(Path::new(&link.temporary), link.place.name.display());
        let mut operand = Operand::inside(command, view, directory, &link.temporary);
        operand.replaces = Some(link);
        return Ok(operand);
    }
    let mut operand = Operand::inside(command, view, directory, &place.name);
    if path.as_bytes().ends_with(b"/") {
        operand.name.push("/");
    }
    Ok(operand)
}

/// Fails unless rsync, and the program that it reaches another computer with, see nothing but a
/// place on another computer in it: what is none would be a path of the appliance.
fn checked(remote: &[u8]) -> Result<&OsStr> {
    if is_remote(remote) {
        Ok(OsStr::from_bytes(remote))
    } else {
        let remote = String::from_utf8_lossy(remote);
        Err(Error::with_errno(
            Errno::EINVAL,
            format!("{remote}: not a place on another computer, such as rsync://HOST/MODULE/DIR"),
        ))
    }
}

fn is_remote(remote: &[u8]) -> bool {
    let url = remote
        .get(..SCHEME.len())
        .filter(|start| start.eq_ignore_ascii_case(SCHEME));
    let rest = url.map_or(remote, |url| remote.get(url.len()..).unwrap_or_default());
    let computer = rest.split(|&byte| byte == b'/').next().unwrap_or_default();
    // After a user's name, if there is one.
    let at = computer.iter().position(|&byte| byte == b'@');
    let host = computer
        .get(at.map_or(0, |at| at + 1)..)
        .unwrap_or_default();
    if remote.starts_with(b"-") || host.starts_with(b"-") || host.contains(&b'@') {
        return false;
    }
    let (name, after) = match host.strip_prefix(b"[") {
        // An address with colons of its own.
        Some(address) => split_at_byte(address, b']'),
        None => (host, None),
    };
    if name.iter().any(|byte| matches!(byte, b'[' | b']')) {
        return false;
    }
    let (name, colon) = match after {
        Some(after) => (name, after.first() == Some(&b':')),
        None if host.starts_with(b"[") => return false,
        None => {
            let (name, after) = split_at_byte(name, b':');
            (name, after.is_some())
        }
    };
    !name.is_empty() && (colon || url.is_some())
}

/// What is before the first such byte and, if there is one, what is after it.
fn split_at_byte(bytes: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|&at| at == byte) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (bytes, None),
    }
}

#[cfg(test)]
mod tests {
    use super::is_remote;

    #[test]
    fn places_on_other_computers_are_known() {
        for remote in [
            "rsync://host/module/dir",
            "RSYNC://host:873/module",
            "rsync://user@host",
            "rsync://[::1]:873/module/",
            "rsync://[::1]/module/",
            "host:dir",
            "host:/dir/a:b",
            "host::module/dir",
            "user@host:/dir with blanks",
            "user@[fe80::1%eth0]:dir",
            "[::1]::module",
            "host:",
            "host:-x",
        ] {
            assert!(is_remote(remote.as_bytes()), "{remote}");
        }
    }

    #[test]
    fn paths_of_the_appliance_and_options_are_not() {
        for remote in [
            "",
            "/etc",
            "etc/passwd",
            "./host:dir",
            "dir/host:dir",
            "/proc/1/root:x",
            ":dir",
            "::module",
            "user@:dir",
            "-e:x",
            "--rsh=touch x:y",
            "-oProxyCommand=x:y",
            "user@-oProxyCommand=x:y",
            "rsync://-oProxyCommand=x/y",
            "rsync:///module",
            "rsync://user@/module",
            "[::1",
            "[::1/dir:x",
            "[::1]dir:x",
            "[]:dir",
            "[::1]",
            "a[b:dir",
            "ab]:dir",
            "a@b@-c:dir",
        ] {
            assert!(!is_remote(remote.as_bytes()), "{remote}");
        }
    }
}
