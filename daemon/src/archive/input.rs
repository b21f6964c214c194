//! Files that may be compressed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use nix::errno::Errno;
use protocol::{Error, Result};

use crate::command::{Child, Command};
use crate::reading::fill_at;

/// How much memory a decompressor may use: the file says how much it wants.
pub(crate) const DECOMPRESSOR_MEMORY: u64 = 512 << 20;

/// How much of a file is read, decompressed if it is compressed: with holes, a
/// small disk can hold files that nobody would see the end of.
const READ_MAX: u64 = 4 << 30;

/// The bytes of a file, decompressed by a program if its first bytes ask for that.
pub(crate) struct Input {
    source: Source,
    /// How much more of it is read.
    left: u64,
}

enum Source {
    Plain(File),
    Compressed { child: Child, ended: bool },
}

impl Input {
    /// The file from `start` on.
    pub(crate) fn open(file: File, start: u64) -> Result<Self> {
        let mut magic = [0; 6];
        let program = decompressor(fill_at(&file, &mut magic, start)?);
        let mut input = Self::plain(file, start)?;
        if let (Some(program), Source::Plain(file)) = (program, &input.source) {
            // A program can read zeroes without end and have nothing to say.
            if file.metadata()?.len().saturating_sub(start) > READ_MAX {
                return Err(too_large());
            }
            let command = Command::new(program)
                .args(["-d", "-c"])
                .memory_limit(DECOMPRESSOR_MEMORY);
            input.source = Source::Compressed {
                child: command.stdin_file(file.try_clone()?).spawn()?,
                ended: false,
            };
        }
        Ok(input)
    }

    /// The file from `start` on as it is.
    pub(crate) fn plain(mut file: File, start: u64) -> Result<Self> {
        file.seek(SeekFrom::Start(start))?;
        Ok(Self {
            source: Source::Plain(file),
            left: READ_MAX,
        })
    }

    /// The error to report when reading went wrong: what the program says, if
    /// it failed.
    pub(crate) fn failure(self, error: Error) -> Error {
        match self.source {
            Source::Compressed { child, ended: true } => child.failure(error),
            // It is not the fault of a program that has more to give.
            _ => error,
        }
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Plain(file) => file.read(buf)?,
            Source::Compressed { child, ended } => {
                let read = child.read(buf)?;
                *ended = read == 0 && !buf.is_empty();
                read
            }
        };
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::from(too_large()))?;
        Ok(read)
    }
}

fn decompressor(magic: &[u8]) -> Option<&'static str> {
    match magic {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        [0xfd, b'7', b'z', b'X', ..] => Some("xz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    }
}

fn too_large() -> Error {
    let message = format!("it has more than {READ_MAX} bytes");
    Error::with_errno(Errno::E2BIG, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_the_limit() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        let mut input = Input::open(file.try_clone().unwrap(), 40).unwrap();
        assert_eq!(input.left, READ_MAX);
        input.left = 60;
        assert_eq!(input.read_to_end(&mut Vec::new()).unwrap(), 60);
        let mut input = Input::open(file, 40).unwrap();
        input.left = 59;
        let error = Error::from(input.read_to_end(&mut Vec::new()).unwrap_err());
        assert_eq!(error.errno(), Some(Errno::E2BIG));
    }
}
