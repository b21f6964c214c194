//! Compression programs between an archive and the library.

use std::fs::File;
use std::io::{self, Read};

use nix::errno::Errno;
use protocol::{Error, FileIn, FileSender, Result};

use super::Sink;
use crate::command::{Child, Command};
use crate::features;

/// How much is moved at a time.
const BLOCK: usize = 256 << 10;

/// The compression programs that archives know.
const PROGRAMS: [&str; 7] = ["compress", "gzip", "bzip2", "xz", "lzop", "lzma", "zstd"];

/// The program of a compression type that archives know.
///
/// # Errors
///
/// When there is no such type; ENOTSUP when the appliance lacks its program.
pub(crate) fn program(compress: &str) -> Result<&'static str> {
    let program = PROGRAMS
        .into_iter()
        .find(|&name| name == compress)
        .ok_or_else(|| unknown_type(compress))?;
    require(program)?;
    Ok(program)
}

/// EINVAL, for a compression type that there is not.
pub(crate) fn unknown_type(compress: &str) -> Error {
    Error::invalid(format!("unknown compression type: {compress}"))
}

/// Fails unless the appliance has the program of a compression type.
///
/// # Errors
///
/// ENOTSUP; clients look for "not supported" in the message.
pub(crate) fn require(program: &str) -> Result<()> {
    if features::program_exists(program) {
        return Ok(());
    }
    Err(Error::not_supported(format!(
        "compression type {program} is not supported, because external program '{program}' is \
         not available in the appliance"
    )))
}

/// The file from the library, decompressed.
pub(crate) struct Decompressed<'f, 'c> {
    file: &'f mut FileIn<'c>,
    child: Option<Child>,
    /// Taken from the library, not yet given to the program.
    pending: Vec<u8>,
    given: usize,
    /// The library has sent all.
    complete: bool,
    /// The program prints no more.
    ended: bool,
}

impl<'f, 'c> Decompressed<'f, 'c> {
    pub(crate) fn new(file: &'f mut FileIn<'c>, program: &str) -> Result<Self> {
        Ok(Self {
            file,
            child: Some(Command::new(program).arg("-d").arg("-c").spawn()?),
            pending: Vec::new(),
            given: 0,
            complete: false,
            ended: false,
        })
    }

    /// Waits for the program's end, whose failure is an error.
    pub(crate) fn finish(mut self) -> Result<()> {
        let mut rest = vec![0; BLOCK];
        while self.read(&mut rest)? > 0 {}
        match self.child.take() {
            Some(child) => child.finish(),
            None => Ok(()),
        }
    }

    /// The error to report when reading went wrong: what the program says, if
    /// it failed.
    pub(crate) fn failure(mut self, otherwise: Error) -> Error {
        // Otherwise it may be in the middle of a good archive that is no use to us.
        let has_all = self.complete && self.given == self.pending.len();
        match self.child.take() {
            Some(child) if has_all || self.ended => child.failure(otherwise),
            _ => otherwise,
        }
    }

    fn more_input(&mut self) -> Result<()> {
        self.pending.clear();
        self.given = 0;
        while self.pending.len() < BLOCK {
            match self.file.next_block()? {
                Some(block) => self.pending.extend_from_slice(block),
                None => {
                    self.complete = true;
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Read for Decompressed<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.given == self.pending.len() && !self.complete {
                self.more_input()?;
            }
            let Some(child) = &mut self.child else {
                return Ok(0);
            };
            let input = self.pending.get(self.given..).unwrap_or_default();
            if input.is_empty() {
                child.close_stdin();
                return child.read(out);
            }
            let moved = match child.exchange(input, out) {
                Err(Errno::EPIPE) => {
                    // It ended early; its exit status tells whether that is an error.
                    self.given = self.pending.len();
                    self.complete = true;
                    continue;
                }
                moved => moved?,
            };
            self.given += moved.given;
            if let Some(taken) = moved.taken {
                self.ended = taken == 0;
                return Ok(taken);
            }
        }
    }
}

/// What goes to the library, compressed on its way.
pub(crate) struct Compressed<'o, 'c> {
    out: &'o mut FileSender<'c>,
    child: Option<Child>,
    block: Vec<u8>,
}

impl<'o, 'c> Compressed<'o, 'c> {
    /// Wraps the library's end around a program that was started before the
    /// reply, so that a missing program is an ordinary error.
    pub(crate) fn new(child: Child, out: &'o mut FileSender<'c>) -> Self {
        Self {
            out,
            child: Some(child),
            block: vec![0; BLOCK],
        }
    }

    /// Sends what the program still has.
    pub(crate) fn finish(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Err(ended_early());
        };
        child.close_stdin();
        loop {
            let read = child.read(&mut self.block)?;
            if read == 0 {
                return child.finish();
            }
            self.out.send(self.block.get(..read).unwrap_or_default())?;
        }
    }

    /// Why the program takes no more: what it says, or the signal that killed it.
    fn failure(&mut self) -> Error {
        match self.child.take() {
            Some(child) => child.failure(ended_early()),
            None => ended_early(),
        }
    }
}

fn ended_early() -> Error {
    Error::new("the compression program ended too early")
}

impl Sink for Compressed<'_, '_> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(child) = &mut self.child else {
                return Err(ended_early());
            };
            let moved = match child.exchange(rest, &mut self.block) {
                Err(Errno::EPIPE) => return Err(self.failure()),
                moved => moved?,
            };
            rest = rest.get(moved.given..).unwrap_or_default();
            match moved.taken {
                Some(0) => return Err(self.failure()),
                Some(taken) => self.out.send(self.block.get(..taken).unwrap_or_default())?,
                None => {}
            }
        }
        Ok(())
    }

    fn copy_from(&mut self, file: &File, limit: u64) -> Result<u64> {
        let mut block = vec![0; BLOCK];
        let mut left = limit;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
            let mut file = file;
            let read = file.read(block.get_mut(..want).unwrap_or_default())?;
            if read == 0 {
                break;
            }
            self.send(block.get(..read).unwrap_or_default())?;
            left -= read as u64;
        }
        Ok(limit - left)
    }
}
