//! Reading tar archives: old, ustar, GNU and pax, with the extensions of each.
//!
//! The archive is hostile until proven otherwise. Sizes in headers bound what
//! is read, never what is allocated.

mod pax;
mod sparse;

use std::io::Read;

use nix::errno::Errno;
use protocol::{Error, Result};
use tar::{EntryType, Header};

use super::member::{Kind, Member, Sparse};
use pax::{PaxSparse, apply, parse_records};
use sparse::check_sparse;

const BLOCK: usize = 512;
const BUFFER: usize = 256 << 10;
/// Longest long name and longest extended header that are read. An extended
/// header holds a member's attributes, each at most 64 KiB.
const EXTENSION_MAX: u64 = 4 << 20;
/// How many records of global extended headers are kept; each member gets them all.
const GLOBAL_MAX: usize = 1024;

/// A tar archive that is being read.
pub(crate) struct Reader<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Data and padding of the current member that nobody has read.
    data: u64,
    padding: u64,
    /// Extended header that holds for all members that follow.
    global: Vec<(Vec<u8>, Vec<u8>)>,
    begun: bool,
    /// Blocks that were no header had to be passed over.
    damaged: bool,
}

/// What headers that precede a member say about it.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            data: 0,
            padding: 0,
            global: Vec::new(),
            begun: false,
            damaged: false,
        }
    }

    /// Whether parts of the archive were no archive.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The input, with all that was not read.
    pub(crate) fn into_input(self) -> R {
        self.input
    }

    /// The next member; what is left of the last one's data is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_data()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header.entry_size().map_err(bad_header)?;
            self.begin_data(size);
            match header.entry_type() {
                EntryType::GNULongName => extensions.name = Some(self.long_name()?),
                EntryType::GNULongLink => extensions.link = Some(self.long_name()?),
                EntryType::XHeader => extensions.records = self.records()?,
                EntryType::XGlobalHeader => {
                    let records = self.records()?;
                    self.global.extend(records);
                    let bytes = self
                        .global
                        .iter()
                        .map(|(key, value)| key.len() + value.len());
                    if self.global.len() > GLOBAL_MAX || bytes.sum::<usize>() as u64 > EXTENSION_MAX
                    {
                        return Err(damaged("its global extended headers are too long"));
                    }
                }
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    /// The next piece of the current member's data, empty at its end.
    pub(crate) fn piece(&mut self, limit: u64) -> Result<&[u8]> {
        let limit = limit.min(self.data);
        if limit == 0 {
            return Ok(&[]);
        }
        if self.start == self.end {
            self.fill()?;
            if self.start == self.end {
                return Err(truncated());
            }
        }
        let take = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .min(self.end - self.start);
        let from = self.start;
        self.start += take;
        self.data -= take as u64;
        Ok(self.buffer.get(from..from + take).unwrap_or_default())
    }

    fn begin_data(&mut self, size: u64) {
        self.data = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn skip_data(&mut self) -> Result<()> {
        // A size near the end of the range must not wrap around.
        self.data = self.data.saturating_add(std::mem::take(&mut self.padding));
        while self.data > 0 {
            self.piece(u64::MAX)?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let read = self.input.read(&mut self.buffer)?;
        self.start = 0;
        self.end = read;
        Ok(())
    }

    /// A whole block; `None` at the very end of the input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            if self.start == self.end {
                self.fill()?;
                if self.start == self.end {
                    return if filled == 0 {
                        Ok(None)
                    } else {
                        Err(truncated())
                    };
                }
            }
            let take = (BLOCK - filled).min(self.end - self.start);
            block[filled..filled + take]
                .copy_from_slice(&self.buffer[self.start..self.start + take]);
            filled += take;
            self.start += take;
        }
        Ok(Some(block))
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        loop {
            let Some(block) = self.block()? else {
                return if self.begun {
                    Ok(None)
                } else {
                    Err(no_archive())
                };
            };
            if block.iter().all(|&byte| byte == 0) {
                self.begun = true;
                return Ok(None);
            }
            if checksum_is_right(&block) {
                self.begun = true;
                return Ok(Some(Header::from_byte_slice(&block).clone()));
            }
            if !self.begun {
                return Err(no_archive());
            }
            self.damaged = true;
        }
    }

    fn extension(&mut self) -> Result<Vec<u8>> {
        if self.data > EXTENSION_MAX {
            return Err(damaged("an extended header is too long"));
        }
        let mut bytes = Vec::new();
        while self.data > 0 {
            bytes.extend_from_slice(self.piece(u64::MAX)?);
        }
        Ok(bytes)
    }

    fn long_name(&mut self) -> Result<Vec<u8>> {
        let mut name = self.extension()?;
        let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
        name.truncate(end);
        Ok(name)
    }

    fn records(&mut self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let bytes = self.extension()?;
        parse_records(&bytes).ok_or_else(|| damaged("an extended header is malformed"))
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Member> {
        let mut member = Member {
            name: extensions
                .name
                .unwrap_or_else(|| header.path_bytes().into_owned()),
            link: extensions
                .link
                .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            kind: kind(header.entry_type()),
            mode: header.mode().map_err(bad_header)? & 0o7777,
            uid: number(header.uid()).unwrap_or(0),
            gid: number(header.gid()).unwrap_or(0),
            // The crate hands negative numbers over as their complement.
            mtime: (header.mtime().map_err(bad_header)?.cast_signed(), 0),
            device: (
                header.device_major().unwrap_or_default().unwrap_or(0),
                header.device_minor().unwrap_or_default().unwrap_or(0),
            ),
            stored: self.data,
            ..Member::default()
        };
        if header.entry_type() == EntryType::GNUSparse {
            member.sparse = Some(self.old_sparse(header)?);
        }
        let mut pax = PaxSparse::default();
        let global = std::mem::take(&mut self.global);
        for (key, value) in global.iter().chain(&extensions.records) {
            apply(&mut member, &mut pax, key, value)?;
        }
        self.global = global;
        if member.kind == Kind::HardLink {
            // Whatever the header says, a link has no data of its own here.
            member.stored = 0;
        }
        self.begin_data(member.stored);
        if member.kind == Kind::Regular && member.name.ends_with(b"/") {
            // Before there was a type for directories.
            member.kind = Kind::Directory;
        }
        if let Some(name) = pax.name.take() {
            member.name = name;
        }
        if pax.in_data {
            pax.pieces = self.sparse_map()?;
            member.stored = self.data;
        }
        if let Some(size) = pax.size {
            let pieces = pax.pieces;
            member.sparse = Some(Sparse { size, pieces });
        }
        if let Some(sparse) = &member.sparse {
            check_sparse(sparse, member.stored)?;
        }
        Ok(member)
    }
}

fn kind(entry_type: EntryType) -> Kind {
    match entry_type {
        EntryType::Link => Kind::HardLink,
        EntryType::Symlink => Kind::SymbolicLink,
        EntryType::Char => Kind::CharacterDevice,
        EntryType::Block => Kind::BlockDevice,
        EntryType::Directory => Kind::Directory,
        EntryType::Fifo => Kind::Fifo,
        other => match other.as_byte() {
            // A directory in an incremental archive, a volume's label, and the
            // rest of a file that began in another volume.
            b'D' => Kind::Directory,
            b'V' => Kind::Note,
            b'M' => Kind::Continuation,
            _ => Kind::Regular,
        },
    }
}

/// The sum of the header's bytes, with its own field as spaces. Old programs
/// added signed bytes.
fn checksum_is_right(block: &[u8; BLOCK]) -> bool {
    let digits = block[148..156]
        .iter()
        .skip_while(|&&byte| byte == b' ')
        .take_while(|&&byte| (b'0'..=b'7').contains(&byte));
    let mut stated = 0_i64;
    for digit in digits {
        stated = stated * 8 + i64::from(digit - b'0');
    }
    let fields = || block[..148].iter().chain(&block[156..]);
    let spaces = 8 * i64::from(b' ');
    let unsigned = spaces + fields().map(|&byte| i64::from(byte)).sum::<i64>();
    let signed = spaces
        + fields()
            .map(|&byte| i64::from(byte.cast_signed()))
            .sum::<i64>();
    stated == unsigned || stated == signed
}

fn number(field: std::io::Result<u64>) -> Option<u32> {
    field.ok().and_then(|number| u32::try_from(number).ok())
}

fn damaged(what: &str) -> Error {
    Error::with_errno(Errno::EINVAL, format!("damaged archive: {what}"))
}

fn truncated() -> Error {
    damaged("it ends too early")
}

fn bad_record() -> Error {
    damaged("an extended header has a value that is no number")
}

fn bad_sparse() -> Error {
    damaged("the description of a file's holes is wrong")
}

fn bad_header(error: std::io::Error) -> Error {
    damaged(&error.to_string())
}

fn no_archive() -> Error {
    Error::with_errno(Errno::EINVAL, "this does not look like a tar archive")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of extended headers for all members, each with one attribute of this length.
    fn with_global(lengths: &[usize]) -> Vec<u8> {
        let mut archive = Vec::new();
        for &length in lengths {
            // The record's length is one of seven digits.
            let record = format!(
                "{:07} SCHILY.xattr.user.a={}\n",
                length + 29,
                "x".repeat(length)
            );
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XGlobalHeader);
            header.set_size(record.len() as u64);
            header.set_cksum();
            archive.extend_from_slice(header.as_bytes());
            archive.extend_from_slice(record.as_bytes());
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        archive.resize(archive.len() + 2 * BLOCK, 0);
        archive
    }

    #[test]
    fn what_is_kept_for_all_members_is_bounded() {
        let read = |lengths: &[usize]| {
            let archive = with_global(lengths);
            Reader::new(archive.as_slice()).next().map(|_| ())
        };
        read(&[1 << 20, 2 << 20]).unwrap();
        read(&[10; GLOBAL_MAX]).unwrap();
        for lengths in [&[3 << 20; 2][..], &[10; GLOBAL_MAX + 1]] {
            let error = read(lengths).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINVAL));
            assert!(error.message().contains("global"), "{error}");
        }
    }
}
