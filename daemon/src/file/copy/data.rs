//! Copying bytes from one open file to another.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::sys::stat::fstat;
use nix::unistd::{Whence, ftruncate, lseek, read, write};
use protocol::{Context, Error, Result};

use super::not_negative;

/// How much is copied at a time.
const BLOCK: usize = 1 << 20;
/// The unit in which zeroes are looked for.
const SPARSE_BLOCK: usize = 4 << 10;

/// Which part of a file to copy, and where to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Range {
    /// Where to start in the source.
    pub(super) from: u64,
    /// Where to start in the target.
    pub(super) to: u64,
    /// How much; `None` for all that there is.
    pub(super) size: Option<u64>,
    /// Do not write zeroes.
    pub(super) sparse: bool,
}

impl Range {
    pub(super) fn new(from: Option<i64>, to: Option<i64>, size: Option<i64>) -> Result<Self> {
        Ok(Self {
            from: not_negative(from.unwrap_or(0), "srcoffset")?,
            to: not_negative(to.unwrap_or(0), "destoffset")?,
            size: size.map(|size| not_negative(size, "size")).transpose()?,
            sparse: false,
        })
    }

    pub(super) fn sparse(self, sparse: Option<bool>) -> Self {
        Self {
            sparse: sparse.unwrap_or(false),
            ..self
        }
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
    mut progress: impl FnMut(u64),
) -> Result<()> {
    let mut block = vec![0; BLOCK];
    let mut done = 0;
    let mut skipped = false;
    while range.size != Some(done) {
        let left = range.size.map_or(u64::MAX, |size| size - done);
        let want = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let room = block.get_mut(..want).unwrap_or_default();
        let n = match read(from, room) {
            Err(Errno::EINTR) => continue,
            result => result.context(from_name).context("read")?,
        };
        if n == 0 {
            if range.size.is_some() {
                return Err(Error::with_errno(
                    Errno::EINVAL,
                    format!("{from_name}: input too short"),
                ));
            }
            break;
        }
        let bytes = room.get(..n).unwrap_or_default();
        if range.sparse {
            skipped = write_sparsely(to, bytes).with_context(|| format!("{to_name}: write"))?;
        } else {
            write_all(to, bytes).with_context(|| format!("{to_name}: write"))?;
        }
        done += n as u64;
        progress(done);
    }
    if skipped {
        // The end of the file must be there, even if nothing was written to it.
        extend(to).with_context(|| to_name.to_string())?;
    }
    Ok(())
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
    if stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFREG && position > stat.st_size {
        ftruncate(file, position)?;
    }
    Ok(())
}

fn write_all(file: &impl AsFd, mut bytes: &[u8]) -> nix::Result<()> {
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

/// Copies all of a file into an empty one, and its holes as holes.
pub(super) fn copy_all(from: &File, to: &File) -> nix::Result<()> {
    let size = fstat(from)?.st_size;
    let mut position = 0;
    while position < size {
        let data = match lseek(from, position, Whence::SeekData) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::ENXIO) => break,
            Err(_) => position,
        };
        let hole = match lseek(from, data, Whence::SeekHole) {
            Ok(hole) if hole > data => hole,
            _ => size,
        };
        copy_piece(from, to, data, hole)?;
        position = hole;
    }
    ftruncate(to, size)
}

fn copy_piece(from: &File, to: &File, start: i64, end: i64) -> nix::Result<()> {
    let (mut source, mut target) = (start, start);
    while source < end {
        let len = usize::try_from(end - source)
            .unwrap_or(usize::MAX)
            .min(1 << 30);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), len) {
            Ok(0) => break,
            Ok(_) | Err(Errno::EINTR) => {}
            // Filesystems that cannot do it among themselves.
            Err(_) => break,
        }
    }
    if source >= end {
        return Ok(());
    }
    lseek(from, source, Whence::SeekSet)?;
    lseek(to, source, Whence::SeekSet)?;
    let mut block = vec![0; BLOCK];
    while source < end {
        let want = usize::try_from(end - source).unwrap_or(BLOCK).min(BLOCK);
        let room = block.get_mut(..want).unwrap_or_default();
        match read(from, room) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                write_all(to, room.get(..n).unwrap_or_default())?;
                source += n as i64;
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
