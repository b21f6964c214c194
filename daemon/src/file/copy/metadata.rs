//! Giving copies the metadata of their originals.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};

use crate::acl;
use crate::guest::{descriptor_path, file_type};
use crate::xattr::{self, Attribute};

/// Names and beginnings of names that the attr library's configuration tells programs not to copy:
/// XFS shows its own form of ACLs as attributes, and others are tied to the file that has them.
const NOT_COPIED: [&[u8]; 8] = [
    b"trusted.SGI_ACL_DEFAULT",
    b"trusted.SGI_ACL_FILE",
    b"trusted.SGI_CAP_FILE",
    b"trusted.SGI_DMI_*",
    b"trusted.SGI_MAC_FILE",
    b"user.Beagle.*",
    b"security.evm",
    b"afs.*",
];

/// What is known of an original.
pub(super) struct Metadata {
    pub(super) stat: FileStat,
    pub(super) xattrs: Vec<Attribute>,
}

/// The attributes of a file that mean something elsewhere.
///
/// # Errors
///
/// E2BIG if there are more than anybody needs.
fn own_attributes(file: &impl AsFd) -> nix::Result<Vec<Attribute>> {
    let mut attributes = match xattr::all(file) {
        Err(Errno::E2BIG) => return Err(Errno::E2BIG),
        all => all.unwrap_or_default(),
    };
    attributes.retain(|(name, _)| {
        !NOT_COPIED
            .iter()
            .any(|pattern| match pattern.strip_suffix(b"*") {
                Some(start) => name.starts_with(start),
                None => name == pattern,
            })
    });
    Ok(attributes)
}

impl Metadata {
    /// That of a file that is held by a descriptor of any kind, and whose status
    /// is known. Attributes that cannot be read are left out, like those that
    /// cannot be written.
    ///
    /// # Errors
    ///
    /// Those of [`own_attributes`].
    pub(super) fn of(file: &impl AsFd, stat: &FileStat) -> nix::Result<Self> {
        Ok(Self {
            stat: *stat,
            xattrs: own_attributes(file)?,
        })
    }

    /// What its attributes take.
    pub(super) fn memory(&self) -> usize {
        let attribute = |(name, value): &Attribute| name.len() + value.len();
        self.xattrs.iter().map(attribute).sum()
    }

    /// Gives it to a copy: owner, mode, attributes and times. ACLs that the copy inherited from
    /// its directory go. Regular files and directories must be held by more than a handle.
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
        let kind = file_type(stat);
        let is_open = matches!(kind, SFlag::S_IFREG | SFlag::S_IFDIR);
        // Of a handle, this path leads to the file itself, whatever it is.
        let path = descriptor_path(file);
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
        if is_open {
            fchmod(file, mode)?;
        } else if kind != SFlag::S_IFLNK {
            fchmodat(AT_FDCWD, &path, mode, FchmodatFlags::FollowSymlink)?;
        }
        for (name, value) in &self.xattrs {
            // The other filesystem may not have such attributes.
            let _ = xattr::set(file, name, value);
        }
        if kind != SFlag::S_IFLNK {
            acl::remove_others(file, |name| {
                let own = |(own, _): &Attribute| own == name.as_bytes();
                self.xattrs.iter().any(own)
            });
        }
        let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
        let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
        if is_open {
            return futimens(file, &accessed, &modified);
        }
        let follow = UtimensatFlags::FollowSymlink;
        utimensat(AT_FDCWD, &path, &accessed, &modified, follow)
    }
}
