//! Links and special files.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, makedev, mknodat};
use nix::unistd::{linkat, symlinkat};
use protocol::api::LinksActions;
use protocol::{Context, Error, Filename, GuestPath, Result};

use super::{fresh, last_component, mode_bits, unslashed};
use crate::Daemon;
use crate::guest::{Guest, Place, file_type};
use crate::room::Strings;

/// The bits of a mode that are not the kind of the file.
const PERMISSIONS: i32 = 0o7777;

impl LinksActions for Daemon {
    fn mknod(&mut self, mode: i32, devmajor: i32, devminor: i32, path: GuestPath) -> Result<()> {
        let mode = mode_bits(mode, &path)?;
        let kind = SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits());
        make_node(&self.guest, &path, kind, mode, devmajor, devminor)
    }

    fn mkfifo(&mut self, mode: i32, path: GuestPath) -> Result<()> {
        let mode = permissions(mode)?;
        make_node(&self.guest, &path, SFlag::S_IFIFO, mode, 0, 0)
    }

    fn mknod_b(&mut self, mode: i32, devmajor: i32, devminor: i32, path: GuestPath) -> Result<()> {
        let mode = permissions(mode)?;
        make_node(&self.guest, &path, SFlag::S_IFBLK, mode, devmajor, devminor)
    }

    fn mknod_c(&mut self, mode: i32, devmajor: i32, devminor: i32, path: GuestPath) -> Result<()> {
        let mode = permissions(mode)?;
        make_node(&self.guest, &path, SFlag::S_IFCHR, mode, devmajor, devminor)
    }

    fn realpath(&mut self, path: GuestPath) -> Result<Vec<u8>> {
        Ok(self.guest.resolve(&path)?.into_bytes())
    }

    fn ln(&mut self, target: &[u8], linkname: GuestPath) -> Result<()> {
        let source = hard_link_target(&self.guest, target)?;
        let place = new_entry(&self.guest, &linkname)?;
        hard_link(&source, &place).with_context(|| subject(target, &linkname))
    }

    fn ln_f(&mut self, target: &[u8], linkname: GuestPath) -> Result<()> {
        let source = hard_link_target(&self.guest, target)?;
        let place = new_entry(&self.guest, &linkname)?;
        replace_by_hard_link(&source, &place).with_context(|| subject(target, &linkname))
    }

    fn ln_s(&mut self, target: &[u8], linkname: GuestPath) -> Result<()> {
        let place = symbolic_link_place(&self.guest, target, &linkname)?;
        symlinkat(
            OsStr::from_bytes(target),
            &place.dir,
            place.name.as_os_str(),
        )
        .with_context(|| subject(target, &linkname))
    }

    fn ln_sf(&mut self, target: &[u8], linkname: GuestPath) -> Result<()> {
        let place = symbolic_link_place(&self.guest, target, &linkname)
            .map_err(|error| not_to_replace(&self.guest, error, &linkname))?;
        let target_name = OsStr::from_bytes(target);
        let result = match symlinkat(target_name, &place.dir, place.name.as_os_str()) {
            Err(Errno::EEXIST) => fresh::replace(place.dir.as_fd(), &place.name, |name| {
                symlinkat(target_name, &place.dir, name)
            }),
            result => result,
        };
        match result {
            Err(Errno::EISDIR | Errno::EBUSY) => Err(Error::with_errno(
                Errno::EISDIR,
                format!("{}: cannot overwrite directory", subject(target, &linkname)),
            )),
            result => result.with_context(|| subject(target, &linkname)),
        }
    }

    fn readlink(&mut self, path: GuestPath) -> Result<Vec<u8>> {
        self.guest.read_link(&path)
    }

    fn internal_readlinklist(
        &mut self,
        path: GuestPath,
        names: Vec<Filename>,
    ) -> Result<Vec<Vec<u8>>> {
        let dir = self.guest.open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let mut links = Strings::default();
        for name in names {
            let link = readlinkat(&dir, name.as_os_str()).unwrap_or_default();
            links.push(link.into_vec()).context(&path)?;
        }
        Ok(links.into_vec())
    }
}

fn permissions(mode: i32) -> Result<u32> {
    match u32::try_from(mode) {
        Ok(bits) if mode & !PERMISSIONS == 0 => Ok(bits),
        _ => Err(Error::with_errno(
            Errno::EINVAL,
            format!("{mode:o}: mode must specify only file permission bits"),
        )),
    }
}

fn make_node(
    guest: &Guest,
    path: &GuestPath,
    kind: SFlag,
    mode: u32,
    devmajor: i32,
    devminor: i32,
) -> Result<()> {
    let place = new_entry(guest, path)?;
    let number = |value: i32| u64::from(value.cast_unsigned());
    let device = makedev(number(devmajor), number(devminor));
    let mode = Mode::from_bits_truncate(mode);
    mknodat(&place.dir, place.name.as_os_str(), kind, mode, device).context(path)
}

/// Where to make something that is not a directory, and so has no slash at its end.
fn new_entry(guest: &Guest, path: &GuestPath) -> Result<Place> {
    let place = guest.parent(&unslashed(path)?)?;
    if path.as_bytes().ends_with(b"/") {
        let errno = place.stat().err().unwrap_or(Errno::EEXIST);
        return Err(Error::os(errno, path));
    }
    Ok(place)
}

fn hard_link_target(guest: &Guest, target: &[u8]) -> Result<Place> {
    let path = GuestPath::new(target)?;
    if !target.ends_with(b"/") {
        return guest.parent(&path);
    }
    // A directory, which the system call will refuse.
    let dir = guest.open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    Ok(Place {
        dir: dir.into(),
        name: OsString::from("."),
    })
}

fn hard_link(source: &Place, place: &Place) -> nix::Result<()> {
    link_as(source, place, &place.name)
}

fn link_as(source: &Place, place: &Place, name: &OsStr) -> nix::Result<()> {
    linkat(
        &source.dir,
        source.name.as_os_str(),
        &place.dir,
        name,
        AtFlags::empty(),
    )
}

fn replace_by_hard_link(source: &Place, place: &Place) -> nix::Result<()> {
    match hard_link(source, place) {
        Err(Errno::EEXIST) => {}
        result => return result,
    }
    let (from, to) = (source.stat()?, place.stat()?);
    if file_type(&to) == SFlag::S_IFDIR {
        return Err(Errno::EEXIST);
    }
    // Two names of one file: a rename would do nothing, and leave the temporary name.
    if (from.st_dev, from.st_ino) == (to.st_dev, to.st_ino) {
        return Ok(());
    }
    fresh::replace(place.dir.as_fd(), &place.name, |name| {
        link_as(source, place, name)
    })
}

/// Where a symbolic link goes: into `linkname`, if that is a directory or leads
/// to one, under the last component of what it points to.
fn symbolic_link_place(guest: &Guest, target: &[u8], linkname: &GuestPath) -> Result<Place> {
    let is_directory = guest
        .stat(linkname)
        .is_ok_and(|stat| file_type(&stat) == SFlag::S_IFDIR);
    if !is_directory {
        return new_entry(guest, linkname);
    }
    let dir = guest.open(linkname, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let name = last_component(target).unwrap_or(b".");
    Ok(Place {
        dir: dir.into(),
        name: OsString::from_vec(name.to_vec()),
    })
}

/// Why a path that ends in a slash names nothing that could be replaced.
fn not_to_replace(guest: &Guest, error: Error, linkname: &GuestPath) -> Error {
    match guest.stat(linkname) {
        Err(other) if other.errno() == Some(Errno::ENOTDIR) => other,
        _ => error,
    }
}

fn subject(target: &[u8], linkname: &GuestPath) -> String {
    format!("{}: {linkname}", String::from_utf8_lossy(target))
}
