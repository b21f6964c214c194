//! Reading files at positions, past their holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Where the next data is at or after a position; `None` if there is none. It
/// moves the file's position.
///
/// # Errors
///
/// The errno of the system call.
pub(crate) fn next_data(file: &File, position: u64) -> io::Result<Option<u64>> {
    let Ok(offset) = i64::try_from(position) else {
        return Ok(None);
    };
    match lseek(file, offset, Whence::SeekData) {
        Ok(data) => Ok(u64::try_from(data).ok()),
        Err(Errno::ENXIO) => Ok(None),
        // Devices, and filesystems that know no holes.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ESPIPE) => Ok(Some(position)),
        Err(errno) => Err(errno.into()),
    }
}

/// How far to look back for the beginning of a hole at first.
const HOLE_STEP: u64 = 64 << 10;

/// A position before `end` with nothing but a hole between the two: half of the hole before `end`
/// or more, but for a little. It is `end` if there is none.
///
/// # Errors
///
/// The errno of the system call.
pub(crate) fn hole_before(file: &File, end: u64) -> io::Result<u64> {
    let (mut start, mut step) = (end, HOLE_STEP);
    while start > 0 {
        let before = start.saturating_sub(step);
        if next_data(file, before)?.is_some_and(|data| data < start) {
            break;
        }
        start = before;
        step = step.saturating_mul(2);
    }
    Ok(start)
}

/// A part of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'b> {
    /// What was read; not empty.
    Data(&'b [u8]),
    /// So many zeroes that are not stored.
    Hole(u64),
}

/// Calls `visit` with all of a file from its beginning, `size` bytes at a time or a
/// hole.
///
/// # Errors
///
/// Those of the system calls, and those of `visit`.
pub(crate) fn for_each_piece<E: From<io::Error>>(
    file: &File,
    size: usize,
    visit: impl FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for_each_piece_from(file, 0, size, visit)
}

/// As [`for_each_piece`], from a position on.
///
/// # Errors
///
/// Those of [`for_each_piece`].
pub(crate) fn for_each_piece_from<E: From<io::Error>>(
    file: &File,
    start: u64,
    size: usize,
    mut visit: impl FnMut(Piece<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut block = vec![0; size];
    let mut position = start;
    loop {
        // The kernel refuses to read beyond the largest position, even at the end.
        let left = i64::MAX.cast_unsigned().saturating_sub(position);
        let room = usize::try_from(left).unwrap_or(size).min(size);
        let room = block.get_mut(..room).unwrap_or_default();
        let read = match file.read_at(room, position) {
            Ok(0) => return Ok(()),
            Ok(read) => block.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        position += read.len() as u64;
        visit(Piece::Data(read))?;
        // Data costs no question about holes.
        if read.iter().all(|&byte| byte == 0) {
            let data = match next_data(file, position)? {
                Some(data) => data,
                None => file.metadata()?.len(),
            };
            if data > position {
                visit(Piece::Hole(data - position))?;
                position = data;
            }
        }
    }
}

/// Reads at a position until the buffer is full or the file ends, and gives back
/// what was read.
///
/// # Errors
///
/// The errno of the system call.
pub(crate) fn fill_at<'b>(
    file: &File,
    buffer: &'b mut [u8],
    position: u64,
) -> io::Result<&'b [u8]> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, position + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_all_of_a_file() {
        const SIZE: u64 = 1 << 40;
        let file = tempfile::tempfile().expect("file");
        file.set_len(SIZE).expect("size");
        file.write_all_at(b"in the middle", 5 << 30).expect("write");
        let (mut total, mut stored, mut holes) = (0, 0, 0);
        for_each_piece::<io::Error>(&file, 64 << 10, |piece| {
            match piece {
                Piece::Data(bytes) => {
                    total += bytes.len() as u64;
                    stored += bytes.iter().filter(|&&byte| byte != 0).count();
                }
                Piece::Hole(len) => {
                    total += len;
                    holes += 1;
                }
            }
            Ok(())
        })
        .expect("read");
        assert_eq!((total, stored, holes), (SIZE, 13, 2));
    }
}
