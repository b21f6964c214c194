//! Giving copies the metadata of their originals.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

use crate::guest::{descriptor_path, file_type};
use crate::xattr::{self, Attribute};

/// What is known of an original.
pub(super) struct Metadata {
    pub(super) stat: FileStat,
    pub(super) xattrs: Vec<Attribute>,
}

impl Metadata {
    /// That of a file that is held by a descriptor of any kind. Attributes
    /// that cannot be read are left out, like those that cannot be written.
    pub(super) fn of(file: &impl AsFd) -> nix::Result<Self> {
        let stat = nix::sys::stat::fstat(file)?;
        let xattrs = xattr::all(file).unwrap_or_default();
        Ok(Self { stat, xattrs })
    }

    /// Gives it to a copy: owner, mode, attributes and times.
    pub(super) fn give(&self, file: &impl AsFd) -> nix::Result<()> {
        let stat = &self.stat;
        let owner = fchownat(
            file,
            "",
            Some(Uid::from_raw(stat.st_uid)),
            Some(Gid::from_raw(stat.st_gid)),
            AtFlags::AT_EMPTY_PATH,
        );
        match owner {
            // A filesystem without owners.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
        let path = descriptor_path(file);
        if file_type(stat) != SFlag::S_IFLNK {
            // The path leads to the file itself, whatever it is.
            nix::sys::stat::fchmodat(
                nix::fcntl::AT_FDCWD,
                &path,
                Mode::from_bits_truncate(stat.st_mode & 0o7777),
                nix::sys::stat::FchmodatFlags::FollowSymlink,
            )?;
        }
        for (name, value) in &self.xattrs {
            // The other filesystem may not have such attributes.
            let _ = xattr::set(file, name, value);
        }
        utimensat(
            nix::fcntl::AT_FDCWD,
            &path,
            &TimeSpec::new(stat.st_atime, stat.st_atime_nsec),
            &TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
            UtimensatFlags::FollowSymlink,
        )
    }
}
