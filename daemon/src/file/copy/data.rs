//! Copying bytes from one open file to another.

use std::fmt;
use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{Whence, ftruncate, lseek, read, write};
use protocol::{Error, Result};

use super::not_negative;
use crate::guest::file_type;

/// How much is read at a time.
const BLOCK: usize = 1 << 20;
/// How much is read at first, and up to what size a file is read and written
/// instead of copied by the kernel, which takes longer for so little.
const FIRST_BLOCK: usize = 16 << 10;
/// How much the kernel copies at a time; the caller hears of progress between.
const KERNEL_BLOCK: u64 = 16 << 20;
/// The unit in which zeroes are looked for.
const SPARSE_BLOCK: usize = 4 << 10;

/// Which zeroes of the source are written to the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Zeroes {
    /// All of them.
    #[default]
    Written,
    /// Those that are stored: holes stay holes.
    Kept,
    /// None of them.
    Skipped,
}

/// Which part of a file to copy, and where to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Range {
    /// Where to start in the source.
    pub(super) from: u64,
    /// Where to start in the target.
    pub(super) to: u64,
    /// How much; `None` for all that there is.
    pub(super) size: Option<u64>,
    /// How much of it is enough, if there is so much: the end need not be looked for.
    pub(super) enough: Option<u64>,
    pub(super) zeroes: Zeroes,
}

impl Range {
    pub(super) fn new(from: Option<i64>, to: Option<i64>, size: Option<i64>) -> Result<Self> {
        Ok(Self {
            from: not_negative(from.unwrap_or(0), "srcoffset")?,
            to: not_negative(to.unwrap_or(0), "destoffset")?,
            size: size.map(|size| not_negative(size, "size")).transpose()?,
            enough: None,
            zeroes: Zeroes::Written,
        })
    }

    pub(super) fn sparse(self, sparse: Option<bool>) -> Self {
        let zeroes = match sparse {
            Some(true) => Zeroes::Skipped,
            _ => Zeroes::Written,
        };
        Self { zeroes, ..self }
    }
}

/// Copies from the one file's position to the other's. `progress` is told how
/// much is done.
pub(super) fn copy(
    from: &File,
    from_name: &impl fmt::Display,
    to: &File,
    to_name: &impl fmt::Display,
    range: &Range,
    progress: impl FnMut(u64),
) -> Result<()> {
    move_bytes(from, to, range, progress).map_err(|failure| match failure {
        Failure::Reading(errno) => Error::os(errno, format!("read: {from_name}")),
        Failure::Writing(errno) => Error::os(errno, format!("{to_name}: write")),
        Failure::TooShort => {
            Error::with_errno(Errno::EINVAL, format!("{from_name}: input too short"))
        }
    })
}

/// Copies all of a file, of which `stat` is known, into an empty one, and its
/// holes as holes.
pub(super) fn copy_all(from: &File, to: &File, stat: &FileStat) -> nix::Result<()> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let stored = u64::try_from(stat.st_blocks)
        .unwrap_or(0)
        .saturating_mul(512);
    let range = Range {
        // Some filesystems say 0 of a file that has something to read.
        enough: (size > 0).then_some(size),
        zeroes: if stored < size {
            Zeroes::Kept
        } else {
            Zeroes::Written
        },
        ..Range::default()
    };
    move_bytes(from, to, &range, |_| {}).map_err(|failure| match failure {
        Failure::Reading(errno) | Failure::Writing(errno) => errno,
        Failure::TooShort => Errno::EINVAL,
    })
}

enum Failure {
    Reading(Errno),
    Writing(Errno),
    TooShort,
}

fn move_bytes(
    from: &File,
    to: &File,
    range: &Range,
    mut progress: impl FnMut(u64),
) -> Result<(), Failure> {
    let mut copying = Copying {
        from,
        to,
        zeroes: range.zeroes,
        data: 0,
        in_kernel: range.zeroes != Zeroes::Skipped
            && range.enough.is_none_or(|size| size > FIRST_BLOCK as u64),
        block: Vec::new(),
        ends_in_hole: false,
    };
    let mut done = 0;
    while range.size != Some(done) && range.enough != Some(done) {
        let left = range
            .size
            .or(range.enough)
            .map_or(u64::MAX, |size| size - done);
        match copying.step(left)? {
            0 if range.size.is_some() => return Err(Failure::TooShort),
            0 => break,
            moved => done += moved,
        }
        progress(done);
    }
    if copying.ends_in_hole {
        // The end of the file must be there, even if nothing was written to it.
        extend(to).map_err(Failure::Writing)?;
    }
    Ok(())
}

struct Copying<'f> {
    from: &'f File,
    to: &'f File,
    zeroes: Zeroes,
    /// How much of the source is known to be data, from its position on.
    data: u64,
    /// The kernel copies, and shares the data if the filesystem can.
    in_kernel: bool,
    block: Vec<u8>,
    /// What came last was not written.
    ends_in_hole: bool,
}

impl Copying<'_> {
    /// Copies some bytes, at most `limit`; 0 at the end of the source.
    fn step(&mut self, limit: u64) -> Result<u64, Failure> {
        if self.zeroes == Zeroes::Written {
            self.data = limit;
        } else if self.data == 0 {
            let hole = self.find_data().map_err(Failure::Reading)?.min(limit);
            if hole > 0 {
                return self.skip(hole);
            }
        }
        let limit = limit.min(self.data);
        let moved = match self.by_kernel(limit) {
            0 => self.by_hand(limit)?,
            moved => moved,
        };
        self.data = self.data.saturating_sub(moved);
        Ok(moved)
    }

    /// The length of the hole at the source's position; 0 before data, and where
    /// nobody knows of holes.
    fn find_data(&mut self) -> nix::Result<u64> {
        self.data = u64::MAX;
        let here = lseek(self.from, 0, Whence::SeekCur)?;
        let data = match lseek(self.from, here, Whence::SeekData) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => fstat(self.from)?.st_size.max(here),
            Err(_) => return Ok(0),
        };
        if data == here
            && let Ok(hole) = lseek(self.from, here, Whence::SeekHole)
            && let Some(len @ 1..) = length(here, hole)
        {
            self.data = len;
        }
        lseek(self.from, here, Whence::SeekSet)?;
        Ok(length(here, data).unwrap_or(0))
    }

    fn skip(&mut self, hole: u64) -> Result<u64, Failure> {
        let len = i64::try_from(hole).map_err(|_| Failure::Reading(Errno::EOVERFLOW))?;
        lseek(self.from, len, Whence::SeekCur).map_err(Failure::Reading)?;
        lseek(self.to, len, Whence::SeekCur).map_err(Failure::Writing)?;
        self.data = 0;
        self.ends_in_hole = true;
        Ok(hole)
    }

    /// 0 if the kernel cannot copy these files. Whatever the reason is, copying
    /// by hand works, or says it better.
    fn by_kernel(&mut self, limit: u64) -> u64 {
        while self.in_kernel {
            let want = usize::try_from(limit.min(KERNEL_BLOCK)).unwrap_or(BLOCK);
            match copy_file_range(self.from, None, self.to, None, want) {
                Ok(0) => self.in_kernel = false,
                Ok(copied) => {
                    self.ends_in_hole = false;
                    return copied as u64;
                }
                Err(Errno::EINTR) => {}
                Err(_) => self.in_kernel = false,
            }
        }
        0
    }

    fn by_hand(&mut self, limit: u64) -> Result<u64, Failure> {
        let size = if self.block.is_empty() {
            FIRST_BLOCK
        } else {
            BLOCK
        };
        let want = usize::try_from(limit).unwrap_or(size).min(size);
        if self.block.len() < want {
            self.block.resize(want, 0);
        }
        let room = self.block.get_mut(..want).unwrap_or_default();
        let got = loop {
            match read(self.from, &mut *room) {
                Err(Errno::EINTR) => {}
                result => break result.map_err(Failure::Reading)?,
            }
        };
        let bytes = room.get(..got).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.zeroes == Zeroes::Skipped {
            self.ends_in_hole = write_sparsely(self.to, bytes).map_err(Failure::Writing)?;
        } else {
            write_all(self.to, bytes).map_err(Failure::Writing)?;
            self.ends_in_hole = false;
        }
        Ok(got as u64)
    }
}

fn length(from: i64, to: i64) -> Option<u64> {
    to.checked_sub(from).and_then(|len| u64::try_from(len).ok())
}

/// Gives back whether the last part was skipped.
fn write_sparsely(to: &File, bytes: &[u8]) -> nix::Result<bool> {
    let mut skipped = false;
    for part in bytes.chunks(SPARSE_BLOCK) {
        skipped = part.iter().all(|&byte| byte == 0);
        if skipped {
            let len = i64::try_from(part.len()).map_err(|_| Errno::EOVERFLOW)?;
            lseek(to, len, Whence::SeekCur)?;
        } else {
            write_all(to, part)?;
        }
    }
    Ok(skipped)
}

fn extend(file: &File) -> nix::Result<()> {
    let stat = fstat(file)?;
    let position = lseek(file, 0, Whence::SeekCur)?;
    if file_type(&stat) == SFlag::S_IFREG && position > stat.st_size {
        ftruncate(file, position)?;
    }
    Ok(())
}

fn write_all(file: &File, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// A file with `MiB` of a hole before and after each of the pieces.
    fn with_holes(pieces: &[&[u8]]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        for piece in pieces {
            file.seek(SeekFrom::Current(1 << 20)).unwrap();
            file.write_all(piece).unwrap();
        }
        let end = file.stream_position().unwrap();
        file.set_len(end + (1 << 20)).unwrap();
        file.rewind().unwrap();
        file
    }

    fn content(mut file: &File) -> Vec<u8> {
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn holes_are_kept_skipped_or_filled() {
        let stored_zeroes = [&[0; 300_000][..], b"data"].concat();
        let from = with_holes(&[b"begin", &stored_zeroes, &[7; 2 << 20]]);
        let expected = content(&from);
        for (zeroes, at_most) in [
            (Zeroes::Written, 7 << 20),
            (Zeroes::Kept, 3 << 20),
            (Zeroes::Skipped, (2 << 20) + (64 << 10)),
        ] {
            (&from).rewind().unwrap();
            let to = tempfile::tempfile().unwrap();
            let range = Range {
                zeroes,
                ..Range::default()
            };
            let mut last = 0;
            copy(&from, &"a", &to, &"b", &range, |done| last = done).unwrap();
            assert_eq!(last, expected.len() as u64, "{zeroes:?}");
            assert!(content(&to) == expected, "{zeroes:?}");
            let used = to.metadata().unwrap().blocks() * 512;
            assert!(used <= at_most + (64 << 10), "{zeroes:?}: {used}");
        }
    }

    #[test]
    fn a_part_ends_where_it_is_asked_to() {
        let from = with_holes(&[b"0123456789"]);
        let whole = content(&from);
        for zeroes in [Zeroes::Written, Zeroes::Kept, Zeroes::Skipped] {
            for (start, size) in [(0, 10), (0, 1 << 20), (1 << 20, 5), (1_048_570, 20)] {
                (&from).seek(SeekFrom::Start(start)).unwrap();
                let to = tempfile::tempfile().unwrap();
                let range = Range {
                    size: Some(size),
                    zeroes,
                    ..Range::default()
                };
                copy(&from, &"a", &to, &"b", &range, |_| {}).unwrap();
                let part = &whole[start as usize..(start + size) as usize];
                assert!(content(&to) == part, "{zeroes:?} {start} {size}");
            }
            (&from).seek(SeekFrom::End(-4)).unwrap();
            let to = tempfile::tempfile().unwrap();
            let range = Range {
                size: Some(5),
                zeroes,
                ..Range::default()
            };
            let error = copy(&from, &"a", &to, &"b", &range, |_| {}).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINVAL), "{zeroes:?}");
        }
    }
}
