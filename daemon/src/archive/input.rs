//! Files that may be compressed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use nix::errno::Errno;
use protocol::{Error, Result};

use crate::command::{Child, Command};
use crate::reading::fill_at;

/// How much memory a decompressor may use: the file says how much it wants.
pub(crate) const DECOMPRESSOR_MEMORY: u64 = 512 << 20;

/// How much of a file is read when it is decompressed.
const DECOMPRESSED_MAX: u64 = 4 << 30;

/// The bytes of a file, decompressed by a program if its first bytes ask for that.
pub(crate) enum Input {
    Plain(File),
    Compressed {
        child: Child,
        /// How much more of it is read.
        left: u64,
        ended: bool,
    },
}

impl Input {
    /// The file from `start` on.
    pub(crate) fn open(mut file: File, start: u64) -> Result<Self> {
        let mut magic = [0; 6];
        let magic = fill_at(&file, &mut magic, start)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(match decompressor(magic) {
            None => Self::Plain(file),
            Some(program) => {
                let command = Command::new(program)
                    .args(["-d", "-c"])
                    .memory_limit(DECOMPRESSOR_MEMORY);
                Self::Compressed {
                    child: command.stdin_file(file).spawn()?,
                    left: DECOMPRESSED_MAX,
                    ended: false,
                }
            }
        })
    }

    /// The error to report when reading went wrong: what the program says, if
    /// it failed.
    pub(crate) fn failure(self, error: Error) -> Error {
        match self {
            Self::Compressed {
                child, ended: true, ..
            } => child.failure(error),
            // It is not the fault of a program that has more to give.
            _ => error,
        }
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buf),
            Self::Compressed { child, left, ended } => {
                let read = child.read(buf)?;
                *ended = read == 0 && !buf.is_empty();
                *left = left
                    .checked_sub(read as u64)
                    .ok_or_else(|| io::Error::from(too_large()))?;
                Ok(read)
            }
        }
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
    let message = format!("it has more than {DECOMPRESSED_MAX} bytes when decompressed");
    Error::with_errno(Errno::E2BIG, message)
}
