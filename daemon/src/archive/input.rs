//! Files that may be compressed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use protocol::{Error, Result};

use crate::command::{Child, Command};

/// The bytes of a file, decompressed by a program if its first bytes ask for that.
pub(crate) enum Input {
    Plain(File),
    Compressed(Child),
}

impl Input {
    /// The file from `start` on.
    pub(crate) fn open(mut file: File, start: u64) -> Result<Self> {
        let mut magic = [0; 6];
        let len = read_at(&file, &mut magic, start)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(match decompressor(magic.get(..len).unwrap_or_default()) {
            None => Self::Plain(file),
            Some(program) => {
                let command = Command::new(program).args(["-d", "-c"]);
                Self::Compressed(command.stdin_file(file).spawn()?)
            }
        })
    }

    /// The error to report when reading went wrong: what the program says, if
    /// it failed.
    pub(crate) fn failure(self, error: Error) -> Error {
        match self {
            Self::Plain(_) => error,
            Self::Compressed(child) => child.failure(error),
        }
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buf),
            Self::Compressed(child) => child.read(buf),
        }
    }
}

/// Fills the buffer from a position of the file, as far as the file goes.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
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
