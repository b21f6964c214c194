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
