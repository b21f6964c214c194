//! Making members: their data and their metadata.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, fchmodat, fstat, fstatat, makedev, mkdirat, mknodat,
};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, ftruncate, unlinkat};
use protocol::Result;

use super::deferred::Directory;
use super::finisher::{Made, SMALL, mode_of, set_time, write_at};
use super::{Extractor, Failure, identity};
use crate::archive::attributes;
use crate::archive::member::{Kind, Member};
use crate::archive::reader::Reader;
use crate::guest::{descriptor_path, file_type};
use crate::relative::split;

impl Extractor<'_> {
    pub(super) fn regular<R: Read>(
        &mut self,
        path: &[u8],
        member: &mut Member,
        reader: &mut Reader<R>,
    ) -> Result<(), Failure> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Nobody else gets at the data before the owner is right; ours is root.
        let mode = if (member.uid, member.gid) == (0, 0) {
            mode_of(member) & (Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO)
        } else {
            Mode::S_IRUSR | Mode::S_IWUSR
        };
        let file = self.replace(path, |dir, name| openat(dir, name, flags, mode))?;
        if member.sparse.is_none() && member.stored <= SMALL {
            let data = small_data(member, reader)?;
            self.finisher.add(Made {
                file,
                data,
                member: std::mem::take(member),
                place: self.place,
            });
            return Ok(());
        }
        write_data(&file, member, reader)?;
        Ok(self.finisher.rules.set_metadata(&file, member)?)
    }

    pub(super) fn make_directory(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        if !path.is_empty() {
            let (dir, name) = split(path);
            let fd = self.places.directory(dir).map_err(Failure::Member)?;
            // Not open for others before its owner is right.
            match mkdirat(fd, name, Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) if self.is_directory(path)? => {}
                Err(Errno::EEXIST) => {
                    self.replace(path, |dir, name| mkdirat(dir, name, Mode::S_IRWXU))?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        let made = fstat(self.places.directory(path).map_err(Failure::Member)?)?;
        // Of several members for one directory the last counts.
        let holds_links = self.forget_directory(path);
        self.enter_directory(Directory {
            path: path.to_vec(),
            identity: identity(&made),
            member: member.clone(),
            holds_links,
        })
    }

    /// Whether a member's directory is there already.
    fn is_directory(&mut self, path: &[u8]) -> Result<bool, Failure> {
        let (dir, name) = split(path);
        let fd = self.places.directory(dir).map_err(Failure::Member)?;
        let stat = fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        match file_type(&stat) {
            SFlag::S_IFDIR => Ok(true),
            SFlag::S_IFLNK if self.options.keep_directory_links => {
                Ok(self.places.leads_to_directory(path))
            }
            _ => Ok(false),
        }
    }

    pub(super) fn node(
        &mut self,
        path: &[u8],
        member: &Member,
        kind: SFlag,
    ) -> Result<(), Failure> {
        let (major, minor) = member.device;
        let device = makedev(major.into(), minor.into());
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        self.replace(path, |dir, name| mknodat(dir, name, kind, mode, device))?;
        self.set_metadata(path, member)
    }

    /// Makes something under a name; what is there under that name gives way,
    /// unless it is a directory with something in it.
    pub(super) fn replace<T>(
        &mut self,
        path: &[u8],
        mut make: impl FnMut(&OwnedFd, &OsStr) -> nix::Result<T>,
    ) -> Result<T, Failure> {
        let (dir, name) = split(path);
        let fd = self.places.directory(dir).map_err(Failure::Member)?;
        match make(fd, name) {
            Err(Errno::EEXIST) => {}
            result => return Ok(result?),
        }
        // What is made next can get the number of a file whose last name this is, and would be
        // taken for it.
        let last = if self.held.is_empty() {
            None
        } else {
            Some(fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)
                .filter(|there| there.st_nlink == 1)
        };
        let mut gone = false;
        match unlinkat(fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {
                unlinkat(fd, name, UnlinkatFlags::RemoveDir)?;
                gone = true;
            }
            result => result?,
        }
        let made = make(fd, name);
        if let Some(there) = last {
            self.forget_link(identity(&there));
        }
        let made = made?;
        if gone {
            self.forget_directory(path);
        }
        // It may have been a directory, or a link to one, on the way to others.
        self.places.forget();
        Ok(made)
    }

    /// Owner, mode, attributes and times of links and special files, by name.
    pub(super) fn set_metadata(&mut self, path: &[u8], member: &Member) -> Result<(), Failure> {
        let link = member.kind == Kind::SymbolicLink;
        let (dir, name) = split(path);
        let (owners, wanted) = (self.finisher.rules.owners(), self.options.attributes);
        let fd = self.places.directory(dir).map_err(Failure::Member)?;
        let owner = if owners {
            fchownat(
                fd,
                name,
                Some(Uid::from_raw(member.uid)),
                Some(Gid::from_raw(member.gid)),
                AtFlags::AT_SYMLINK_NOFOLLOW,
            )
        } else {
            Ok(())
        };
        let mut changed = Ok(());
        // Links have no mode of their own.
        if !link || wanted.any() {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let handle = openat(fd, name, flags, Mode::empty())?;
            if !link {
                // By a name it would follow what took its place.
                let path = descriptor_path(&handle);
                let follow = FchmodatFlags::FollowSymlink;
                changed = fchmodat(AT_FDCWD, &path, mode_of(member), follow);
            }
            attributes::restore(&handle, member, wanted);
        }
        let time = set_time(fd, name, member);
        self.finisher.rules.tolerate_missing_owners(owner)?;
        changed?;
        Ok(time?)
    }
}

/// Writes a member's data, leaving the holes of a file that has some.
fn write_data<R: Read>(
    file: &OwnedFd,
    member: &Member,
    reader: &mut Reader<R>,
) -> Result<(), Failure> {
    let whole = [(0, member.stored)];
    let pieces = match &member.sparse {
        Some(sparse) => sparse.pieces.as_slice(),
        None => &whole,
    };
    for &(offset, len) in pieces {
        let (mut offset, mut left) = (offset, len);
        while left > 0 {
            let bytes = reader.piece(left).map_err(Failure::Archive)?;
            left -= bytes.len() as u64;
            write_at(file, bytes, offset)?;
            offset += bytes.len() as u64;
        }
    }
    if let Some(sparse) = &member.sparse {
        let size = i64::try_from(sparse.size).map_err(|_| Errno::EFBIG)?;
        ftruncate(file, size)?;
    }
    Ok(())
}

/// The data of a member that has few.
fn small_data<R: Read>(member: &Member, reader: &mut Reader<R>) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::with_capacity(usize::try_from(member.stored).unwrap_or_default());
    let mut left = member.stored;
    while left > 0 {
        let bytes = reader.piece(left).map_err(Failure::Archive)?;
        left -= bytes.len() as u64;
        data.extend_from_slice(bytes);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use nix::unistd::mkfifo;
    use protocol::GuestPath;

    use super::*;
    use crate::archive::attributes::Wanted;
    use crate::archive::extract::ExtractOptions;
    use crate::guest::Guest;

    /// A pipe as an archive has it, with an attribute.
    fn pipe() -> Member {
        let mut member = Member {
            kind: Kind::Fifo,
            mode: 0o4751,
            uid: 7,
            gid: 8,
            mtime: (1, 2),
            ..Member::default()
        };
        let attribute = (b"trusted.mark".to_vec(), b"x".to_vec());
        member.attributes.xattrs.push(attribute);
        member
    }

    #[test]
    fn what_took_the_place_of_a_special_file_is_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let outside = scratch.path().join("outside");
        fs::write(&outside, "the appliance's").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).unwrap();
        let root = scratch.path().join("root");
        fs::create_dir_all(root.join("in")).unwrap();
        mkfifo(&root.join("in/pipe"), Mode::S_IRUSR).unwrap();
        symlink(&outside, root.join("in/link")).unwrap();

        let guest = Guest::new(&root);
        let into = GuestPath::new("/in").unwrap();
        let attributes = Wanted {
            xattrs: true,
            ..Wanted::default()
        };
        let options = ExtractOptions {
            attributes,
            ..ExtractOptions::default()
        };
        let mut extractor = Extractor::new(&guest, &into, options).unwrap();
        assert!(extractor.set_metadata(b"pipe", &pipe()).is_ok());
        let made = fs::symlink_metadata(root.join("in/pipe")).unwrap();
        assert_eq!(made.mode(), 0o01_4751);
        assert_eq!((made.uid(), made.gid()), (7, 8));
        assert_eq!((made.mtime(), made.mtime_nsec()), (1, 2));

        // As if it were there since the pipe was made. Whether the kernel changes the link's
        // own mode or refuses to is up to the filesystem.
        let before = fs::metadata(&outside).unwrap();
        let _ = extractor.set_metadata(b"link", &pipe());
        let after = fs::metadata(&outside).unwrap();
        assert_eq!(after.mode(), before.mode());
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_eq!(after.mtime(), before.mtime());
        let marked = crate::xattr::all(&fs::File::open(&outside).unwrap()).unwrap();
        assert_eq!(marked, []);
        let link = fs::symlink_metadata(root.join("in/link")).unwrap();
        assert_eq!((link.uid(), link.gid()), (7, 8));
    }
}
