//! Finding zeroes, and filling a filesystem with them.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::statvfs::{Statvfs, fstatvfs};
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::{Context, GuestPath, Progress, Result};
use rustix::fs::FallocateFlags;

use crate::file::fresh::with_random_name;
use crate::guest::{Guest, Place};
use crate::reading::next_data;

/// How much is read or written at a time.
const BLOCK: usize = 256 << 10;

/// The smallest block of a filesystem.
const SMALLEST: usize = 512;

/// To compare with, and to write.
static ZEROES: [u8; BLOCK] = [0; BLOCK];

/// Whether there is nothing but zeroes in `bytes`.
fn all_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(BLOCK)
        .all(|chunk| ZEROES.get(..chunk.len()) == Some(chunk))
}

/// Whether a file or device has zeroes only. Holes are not read.
pub(super) fn is_zero(file: File) -> io::Result<bool> {
    let mut block = vec![0; BLOCK];
    let mut position = next_data(&file, 0)?;
    while let Some(at) = position {
        let n = match file.read_at(&mut block, at) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if !all_zero(block.get(..n).unwrap_or_default()) {
            return Ok(false);
        }
        let read_to = at + u64::try_from(n).unwrap_or_default();
        position = next_data(&file, read_to)?;
    }
    Ok(true)
}

/// What is zero already in units of this size is not made so again.
const UNIT: usize = 4096;

/// From this length on the device is asked to make its own zeroes, which for less
/// is no faster than to write them.
const LONG: u64 = 256 << 10;

/// And up to this, so that it can be seen to go on.
const LONGEST: u64 = 64 << 20;

/// Makes a device zero where it is not so already.
pub(super) struct Zeroing<'f> {
    file: &'f File,
    /// What is known not to be zero, and its end.
    run: (u64, u64),
    /// The device makes no zeroes.
    by_hand: bool,
}

impl<'f> Zeroing<'f> {
    pub(super) fn new(file: &'f File) -> Self {
        Self {
            file,
            run: (0, 0),
            by_hand: false,
        }
    }

    /// Takes what was read from `position`, which is after all that it was given
    /// before.
    pub(super) fn look_at(&mut self, part: &[u8], position: u64) -> io::Result<()> {
        let mut at = position;
        for unit in part.chunks(UNIT) {
            let end = at + unit.len() as u64;
            if !all_zero(unit) {
                if at != self.run.1 || at - self.run.0 >= LONGEST {
                    self.overwrite()?;
                    self.run.0 = at;
                }
                self.run.1 = end;
            }
            at = end;
        }
        Ok(())
    }

    /// Overwrites the rest.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.overwrite()
    }

    fn overwrite(&mut self) -> io::Result<()> {
        let (mut at, end) = self.run;
        let len = end - at;
        if len >= LONG && !self.by_hand {
            // Nothing is unmapped: what was allocated in an image stays so.
            let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(self.file, flags, at, len) {
                Ok(()) => return Ok(()),
                // Writing says better what is wrong, if anything is.
                Err(_) => self.by_hand = true,
            }
        }
        while at < end {
            let len = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
            let zeroes = ZEROES.get(..len).unwrap_or_default();
            self.file.write_all_at(zeroes, at)?;
            at += len as u64;
        }
        Ok(())
    }
}

/// Fills the free space of the filesystem at `directory` with zeroes, and frees
/// it again.
pub(super) fn fill(
    guest: &Guest,
    directory: &GuestPath,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let before = free(guest, directory)?;
    let mut files = Fillers {
        guest,
        directory,
        places: Vec::new(),
    };
    // One file is enough, unless the filesystem's files are smaller than it is.
    while files.add(|file| {
        let free = fstatvfs(file).as_ref().map_or(0, Statvfs::blocks_free);
        progress.update(before.saturating_sub(free), before);
    })? {}
    progress.update(before, before);
    files.remove()
}

fn free(guest: &Guest, directory: &GuestPath) -> Result<u64> {
    let handle = guest.directory(directory)?;
    let before = fstatvfs(handle.as_fd()).context(directory)?;
    Ok(before.blocks_free())
}

/// The files that hold the zeroes; gone at the end, also after an error.
struct Fillers<'a> {
    guest: &'a Guest,
    directory: &'a GuestPath,
    places: Vec<Place>,
}

impl Fillers<'_> {
    /// Fills one more file; whether there may be room for another.
    fn add(&mut self, mut filled: impl FnMut(&File)) -> Result<bool> {
        let flags = OFlag::O_WRONLY | OFlag::O_EXCL;
        let mode = Mode::from_bits_truncate(0o600);
        // A name that every filesystem can have.
        let made = with_random_name(|random| {
            let path = self.directory.join(&[random.as_slice(), b".tmp"].concat());
            match self.guest.create(&path, flags, mode) {
                Ok(file) => Ok((path, file)),
                Err(error) => Err(error.errno().unwrap_or(Errno::EIO)),
            }
        });
        let (path, mut file) = match made {
            Ok(made) => made,
            // Full at the first byte, or of the files that a directory can hold.
            Err(Errno::ENOSPC) if !self.places.is_empty() => return Ok(false),
            Err(errno) => return Err(errno).context(self.directory),
        };
        self.places.push(self.guest.parent(&path)?);
        let mut wrote = false;
        let mut length = BLOCK;
        let more = loop {
            match file.write(ZEROES.get(..length).unwrap_or_default()) {
                Ok(0) => break false,
                Ok(_) => {
                    wrote = true;
                    filled(&file);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    // The kernel takes room for a large piece as a whole: what is left may be
                    // enough for a smaller one.
                    Some(Errno::ENOSPC | Errno::EDQUOT) if length > SMALLEST => length /= 2,
                    Some(Errno::ENOSPC | Errno::EDQUOT) => break false,
                    Some(Errno::EFBIG) => break wrote,
                    _ => return Err(error).context(&path),
                },
            }
        };
        // The zeroes must be on the disk before their space is free again. On a
        // full filesystem some may find no room, which does not matter.
        let _ = file.sync_all();
        Ok(more)
    }

    fn remove(mut self) -> Result<()> {
        let directory = self.directory;
        for place in std::mem::take(&mut self.places) {
            remove(&place).context(directory)?;
        }
        Ok(())
    }
}

impl Drop for Fillers<'_> {
    fn drop(&mut self) {
        for place in &self.places {
            // The error that led here is the one to report.
            let _ = remove(place);
        }
    }
}

fn remove(place: &Place) -> nix::Result<()> {
    unlinkat(
        &place.dir,
        place.name.as_os_str(),
        UnlinkatFlags::NoRemoveDir,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_and_holes() {
        let file = tempfile::tempfile().expect("file");
        let is = || is_zero(file.try_clone().expect("clone")).expect("read");
        assert!(is(), "empty");
        file.set_len(10 << 20).expect("size");
        assert!(is(), "a hole");
        file.write_all_at(&[0; 8192], 5 << 20).expect("write");
        assert!(is(), "zeroes that were written");
        file.write_all_at(&[1], (10 << 20) - 1).expect("write");
        assert!(!is(), "the last byte");
    }

    #[test]
    fn whatever_is_not_zero_becomes_so() {
        const SIZE: u64 = 3 << 20;
        for by_hand in [false, true] {
            let file = tempfile::tempfile().expect("file");
            file.set_len(SIZE).expect("size");
            // Long, short, one byte in a unit, and up to an end within a unit.
            for (at, len) in [(0, 600 << 10), (1 << 20, 8192), ((1 << 20) + 20_000, 1)] {
                file.write_all_at(&vec![7; len], at).expect("write");
            }
            file.write_all_at(&[7; 300 << 10], SIZE - (300 << 10) + 5)
                .expect("write");
            let mut content = Vec::new();
            let mut zeroing = Zeroing::new(&file);
            zeroing.by_hand = by_hand;
            let mut position = 0;
            for len in [1 << 20, 1 << 20, (1 << 20) + 5] {
                content.resize(len, 0);
                file.read_exact_at(&mut content, position).expect("read");
                zeroing.look_at(&content, position).expect("zero");
                position += len as u64;
            }
            zeroing.finish().expect("zero");
            assert_eq!(file.metadata().expect("size").len(), SIZE + 5);
            assert!(is_zero(file).expect("read"), "by hand: {by_hand}");
        }
    }

    #[test]
    fn all_of_a_long_slice() {
        let mut bytes = vec![0; 2 * BLOCK + 5];
        assert!(all_zero(&bytes) && all_zero(&[]));
        bytes[2 * BLOCK + 4] = 1;
        assert!(!all_zero(&bytes));
    }
}
