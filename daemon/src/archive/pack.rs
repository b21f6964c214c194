//! Packing a directory of the guest into a tar archive.
//!
//! The format is that of GNU tar, which all readers know. Attributes, which it
//! has no place for, go into extended headers of the pax format.

mod ahead;
mod fields;
mod find;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat, major, minor};
use protocol::{Context, Error, Result};
use tar::{EntryType, Header};

use super::Sink;
use super::attributes::{self, Wanted};
use super::exclude::Excludes;
use crate::accounts::Accounts;
use fields::{NAME_MAX, decimal, put, put_negative, put_record};
use find::{Content, Finder, Found};

const BLOCK: usize = 512;
/// Archives end on a multiple of this many bytes.
const RECORD: u64 = 20 * BLOCK as u64;
/// How much of a file is read at a time.
const BUFFER: usize = 256 << 10;

/// How to pack.
#[derive(Debug, Default)]
pub(crate) struct PackOptions {
    pub(crate) numeric_owner: bool,
    pub(crate) excludes: Excludes,
    pub(crate) attributes: Wanted,
}

/// Packs what is in `top`, a directory, and the directory itself as `./`.
pub(crate) fn pack(top: &OwnedFd, options: &PackOptions, out: &mut dyn Sink) -> Result<()> {
    let mut packer = Packer {
        out,
        written: 0,
        options,
        users: Accounts::default(),
        groups: Accounts::default(),
        buffer: vec![0; BUFFER],
        shrunk: None,
    };
    if !options.numeric_owner {
        packer.users = Accounts::users();
        packer.groups = Accounts::groups();
    }
    if !options.excludes.matches(b".") {
        packer.top(top)?;
        let mut finder = Finder::new(top, options)?;
        ahead::each(
            || finder.next(),
            |found| {
                packer
                    .file(&found)
                    .with_context(|| String::from_utf8_lossy(found.path()).into_owned())
            },
        )?;
    }
    packer.finish()
}

struct Packer<'o> {
    out: &'o mut dyn Sink,
    written: u64,
    options: &'o PackOptions,
    users: Accounts,
    groups: Accounts,
    buffer: Vec<u8>,
    /// A file that had less data than its size promised.
    shrunk: Option<Vec<u8>>,
}

impl Packer<'_> {
    fn top(&mut self, top: &OwnedFd) -> Result<()> {
        let stat = fstat(top)?;
        self.extended(&stat, b"./", top)?;
        let mut header = self.header(&stat, b"./")?;
        header.set_entry_type(EntryType::Directory);
        self.put_header(header)
    }

    fn file(&mut self, found: &Found) -> Result<()> {
        let Found { name, stat, .. } = found;
        if let Some(handle) = &found.handle {
            self.extended(stat, name, handle)?;
        }
        match &found.content {
            Content::Regular(file) => self.regular(stat, name, file),
            Content::HardLink(first) => self.link(stat, name, first, EntryType::Link),
            Content::SymbolicLink(target) => self.link(stat, name, target, EntryType::Symlink),
            Content::Directory => self.simple(stat, name, EntryType::Directory),
            Content::CharacterDevice => self.device(stat, name, EntryType::Char),
            Content::BlockDevice => self.device(stat, name, EntryType::Block),
            Content::Fifo => self.simple(stat, name, EntryType::Fifo),
        }
    }

    fn regular(&mut self, stat: &FileStat, name: &[u8], file: &File) -> Result<()> {
        self.extended(stat, name, file)?;
        self.long_names(name, b"")?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut header = self.header(stat, name)?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        self.put_header(header)?;
        self.data(file, size, name)
    }

    fn device(&mut self, stat: &FileStat, name: &[u8], kind: EntryType) -> Result<()> {
        self.long_names(name, b"")?;
        let mut header = self.header(stat, name)?;
        header.set_entry_type(kind);
        header.set_device_major(number(major(stat.st_rdev))?)?;
        header.set_device_minor(number(minor(stat.st_rdev))?)?;
        self.put_header(header)
    }

    fn data(&mut self, file: &File, size: u64, name: &[u8]) -> Result<()> {
        let mut left = size;
        if left > BUFFER as u64 {
            left -= self.out.copy_from(file, left)?;
        }
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let room = self.buffer.get_mut(..want).unwrap_or_default();
            let read = match nix::unistd::read(file, room) {
                Ok(read) => read,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if read == 0 {
                // The header has been sent: keep to what it says.
                self.shrunk.get_or_insert_with(|| name.to_vec());
                room.fill(0);
                self.out.send(room)?;
                left -= want as u64;
                continue;
            }
            self.out.send(room.get(..read).unwrap_or_default())?;
            left -= read as u64;
        }
        self.written += size;
        self.pad()
    }

    fn simple(&mut self, stat: &FileStat, name: &[u8], kind: EntryType) -> Result<()> {
        self.long_names(name, b"")?;
        let mut header = self.header(stat, name)?;
        header.set_entry_type(kind);
        self.put_header(header)
    }

    fn link(&mut self, stat: &FileStat, name: &[u8], target: &[u8], kind: EntryType) -> Result<()> {
        self.long_names(name, target)?;
        let mut header = self.header(stat, name)?;
        header.set_entry_type(kind);
        put(&mut header.as_old_mut().linkname, target);
        self.put_header(header)
    }

    /// An extended header with what the plain one cannot hold, if attributes
    /// are asked for.
    fn extended(&mut self, stat: &FileStat, name: &[u8], file: &impl AsFd) -> Result<()> {
        let wanted = self.options.attributes;
        if !wanted.any() {
            return Ok(());
        }
        let mut records = Vec::new();
        if stat.st_mtime_nsec != 0 {
            let time = decimal(stat.st_mtime, stat.st_mtime_nsec);
            put_record(&mut records, b"mtime", time.as_bytes());
        }
        for (key, value) in attributes::records(file, wanted)? {
            put_record(&mut records, &key, &value);
        }
        if records.is_empty() {
            return Ok(());
        }
        let mut base = b"./PaxHeaders/".to_vec();
        base.extend_from_slice(last_component(name));
        self.note(EntryType::XHeader, &base, &records)
    }

    /// The members that precede one whose name or target does not fit.
    fn long_names(&mut self, name: &[u8], target: &[u8]) -> Result<()> {
        for (text, kind) in [
            (target, EntryType::GNULongLink),
            (name, EntryType::GNULongName),
        ] {
            if text.len() > NAME_MAX {
                let mut data = text.to_vec();
                data.push(0);
                self.note(kind, b"././@LongLink", &data)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, kind: EntryType, name: &[u8], data: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        put(&mut header.as_old_mut().name, name);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        self.put_header(header)?;
        self.put(data)?;
        self.pad()
    }

    /// A header with all but the type.
    fn header(&self, stat: &FileStat, name: &[u8]) -> Result<Header> {
        let mut header = Header::new_gnu();
        put(&mut header.as_old_mut().name, name);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(stat.st_uid.into());
        header.set_gid(stat.st_gid.into());
        header.set_size(0);
        match u64::try_from(stat.st_mtime) {
            Ok(mtime) => header.set_mtime(mtime),
            Err(_) => put_negative(&mut header.as_old_mut().mtime, stat.st_mtime),
        }
        // Names that do not fit are left out; the numbers are there.
        if let Some(user) = self.users.name(stat.st_uid).filter(|name| name.len() < 32) {
            header.set_username(user)?;
        }
        if let Some(group) = self.groups.name(stat.st_gid).filter(|name| name.len() < 32) {
            header.set_groupname(group)?;
        }
        Ok(header)
    }

    fn put_header(&mut self, mut header: Header) -> Result<()> {
        header.set_cksum();
        self.put(header.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.send(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<()> {
        let over = (self.written % BLOCK as u64) as usize;
        if over > 0 {
            self.put([0; BLOCK].get(over..).unwrap_or_default())?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.put(&[0; 2 * BLOCK])?;
        while !self.written.is_multiple_of(RECORD) {
            self.put(&[0; BLOCK])?;
        }
        match self.shrunk {
            None => Ok(()),
            Some(name) => Err(Error::with_errno(
                Errno::EIO,
                format!(
                    "{}: the file is shorter than its size",
                    String::from_utf8_lossy(&name)
                ),
            )),
        }
    }
}

fn last_component(name: &[u8]) -> &[u8] {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    name.rsplit(|&byte| byte == b'/').next().unwrap_or(name)
}

fn number(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::from(Errno::EOVERFLOW))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;

    /// Takes so many bytes and no more.
    struct Limited {
        bytes: Vec<u8>,
        limit: usize,
    }

    impl Sink for Limited {
        fn send(&mut self, bytes: &[u8]) -> Result<()> {
            if self.bytes.len() + bytes.len() > self.limit {
                return Err(Error::from(Errno::EINTR));
            }
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }

        fn copy_from(&mut self, file: &File, limit: u64) -> Result<u64> {
            let mut bytes = Vec::new();
            file.take(limit).read_to_end(&mut bytes)?;
            self.send(&bytes)?;
            Ok(bytes.len() as u64)
        }
    }

    /// Directories with files, each of which holds its own path.
    fn tree(directories: usize, files: usize) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for directory in 0..directories {
            let directory = format!("d{directory}");
            fs::create_dir(top.path().join(&directory)).unwrap();
            for file in 0..files {
                let path = format!("{directory}/f{file}");
                fs::write(top.path().join(&path), &path).unwrap();
            }
        }
        top
    }

    fn packed(top: &tempfile::TempDir, limit: usize) -> (Result<()>, Vec<u8>) {
        let top = File::open(top.path()).unwrap().into();
        let bytes = Vec::new();
        let mut sink = Limited { bytes, limit };
        let result = pack(&top, &PackOptions::default(), &mut sink);
        (result, sink.bytes)
    }

    #[test]
    fn each_of_many_files_has_its_own_data() {
        let top = tree(7, 150);
        let big = vec![b'x'; BUFFER + 1000];
        fs::write(top.path().join("d3/big"), &big).unwrap();
        let (result, bytes) = packed(&top, usize::MAX);
        result.unwrap();
        assert_eq!(bytes.len() as u64 % RECORD, 0);
        let mut files = 0;
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type() == EntryType::Directory {
                continue;
            }
            files += 1;
            let path = entry.path_bytes().into_owned();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            match path.strip_prefix(b"./").unwrap() {
                b"d3/big" => assert!(data == big),
                path => assert_eq!(data, path),
            }
        }
        assert_eq!(files, 7 * 150 + 1);
    }

    #[test]
    fn an_archive_that_nobody_takes_ends_at_the_file_that_did_not_fit() {
        let top = tree(1, 500);
        let (_, whole) = packed(&top, usize::MAX);
        for members in [1, 2, 300] {
            let (result, bytes) = packed(&top, 2 * BLOCK * members);
            let error = result.unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINTR));
            assert!(whole.starts_with(&bytes) && bytes.len() < whole.len());
        }
    }
}
