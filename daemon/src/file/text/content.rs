//! What is in a file, in the words of the `file` program.
//!
//! libmagic says it, in its worker; the program does where the appliance has no libmagic.

use std::fs::File;
use std::io::{self, Read, Seek, Take, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use protocol::api::worker_magic::MagicClient;
use protocol::{Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::archive::input::DECOMPRESSOR_MEMORY;
use crate::command::{Child, Command};
use crate::features::program_exists;
use crate::reading::fill_at;
use crate::worker::Workers;

/// How much of a decompressed file is looked at.
const DESCRIBED: u64 = 8 * 1024 * 1024;

/// How much of it is looked at if it is described together with the file; as much as libmagic does.
const INSIDE: u64 = 7 * 1024 * 1024;

/// How much of a compressed file a program is given: what it makes of so much is more than is
/// looked at, unless the file is made to be read without end. A hole can be larger than any disk,
/// and to some formats zeroes mean nothing.
const GIVEN: u64 = 32 * 1024 * 1024;

/// How much a program is given at a time.
const BLOCK: usize = 64 * 1024;

/// Formats that libmagic leaves to a program, by how they begin. The worker can run none, so it is
/// given what the program makes of them.
const BY_PROGRAM: [(&[u8], &str); 9] = [
    (b"\x1f\x9d", "gzip"),
    (b"\x1f\x9e", "gzip"),
    (b"\x1f\xa0", "gzip"),
    (b"\x1f\x1e", "gzip"),
    (b"PK\x03\x04", "gzip"),
    (b"LZIP", "lzip"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"LRZI", "lrzip"),
];

/// What an open file or device is, or what is compressed in it.
///
/// # Errors
///
/// When it cannot be read, or libmagic fails.
pub(super) fn describe(workers: &Workers, file: &File) -> Result<Vec<u8>> {
    let Some(mut worker) = workers.magic()? else {
        // Without its sandbox (-S), which keeps it from running the decompressors (-z).
        let command = program()?.args(["-z", "-S", "-b", "-s", "-L"]);
        return Ok(trimmed(command.fd_arg(file, "the file").run()?.stdout));
    };
    let mut client = MagicClient(&mut *worker);
    let text = match decompressor(file)? {
        None => client.describe(file.as_fd(), true),
        Some(program) => match decompressed(program, file)? {
            Some(content) => client.describe_inside(file.as_fd(), content.as_fd()),
            None => client.describe(file.as_fd(), false),
        },
    };
    text.map(trimmed)
}

/// What it is that `program` decompresses from an open file.
///
/// # Errors
///
/// When it cannot be decompressed, or libmagic fails.
pub(super) fn describe_compressed(workers: &Workers, program: &str, file: File) -> Result<Vec<u8>> {
    let mut beginning = Beginning::new(program, "-cd", &file)?;
    let mut content = Vec::new();
    let read = (&mut beginning).take(DESCRIBED).read_to_end(&mut content)?;
    if read == 0 {
        beginning.child.finish()?;
    }
    match workers.magic()? {
        Some(mut worker) => MagicClient(&mut *worker)
            .describe(in_memory(&content)?.as_fd(), false)
            .map(trimmed),
        None => {
            let command = self::program()?.args(["-S", "-b", "-s", "-L", "-"]);
            Ok(trimmed(command.stdin_bytes(content).run()?.stdout))
        }
    }
}

fn program() -> Result<Command> {
    if program_exists("file") {
        Ok(Command::new("file"))
    } else {
        Err(Error::not_supported(
            "neither libmagic.so.1 with its database nor the program file is in this appliance",
        ))
    }
}

/// The program for what is compressed in a file, if libmagic needs one.
fn decompressor(file: &File) -> Result<Option<&'static str>> {
    let mut start = [0; 4];
    let start = fill_at(file, &mut start, 0)?;
    Ok(BY_PROGRAM
        .iter()
        .find(|(magic, _)| start.starts_with(magic))
        .map(|&(_, program)| program))
}

/// The beginning of what the program makes of a file; `None` if that is nothing.
fn decompressed(program: &str, file: &File) -> Result<Option<OwnedFd>> {
    if !program_exists(program) {
        return Ok(None);
    }
    let mut beginning = Beginning::new(program, "-cdq", file)?;
    let mut content = Vec::new();
    (&mut beginning).take(INSIDE).read_to_end(&mut content)?;
    // It may be still at it, or have failed: what counts is what there was.
    drop(beginning);
    // That has moved the place at which the next reader begins.
    let mut file = file;
    file.rewind()?;
    if content.is_empty() {
        return Ok(None);
    }
    in_memory(&content).map(Some)
}

/// What a program decompresses from the beginning of a file.
struct Beginning<'f> {
    child: Child,
    file: Take<&'f File>,
    /// Read from the file, not yet given to the program.
    pending: Vec<u8>,
    given: usize,
}

impl<'f> Beginning<'f> {
    fn new(program: &str, options: &str, file: &'f File) -> Result<Self> {
        let command = Command::new(program)
            .arg(options)
            .memory_limit(DECOMPRESSOR_MEMORY);
        Ok(Self {
            child: command.spawn()?,
            file: file.take(GIVEN),
            pending: Vec::new(),
            given: 0,
        })
    }
}

impl Read for Beginning<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.given == self.pending.len() {
                self.pending.clear();
                self.given = 0;
                let mut next = (&mut self.file).take(BLOCK as u64);
                next.read_to_end(&mut self.pending)?;
            }
            let rest = self.pending.get(self.given..).unwrap_or_default();
            if rest.is_empty() {
                self.child.close_stdin();
                return self.child.read(out);
            }
            let moved = match self.child.exchange(rest, out) {
                Err(Errno::EPIPE) => {
                    // It wants no more.
                    self.file.set_limit(0);
                    self.given = self.pending.len();
                    continue;
                }
                moved => moved?,
            };
            self.given += moved.given;
            if let Some(taken) = moved.taken {
                return Ok(taken);
            }
        }
    }
}

/// A file of these bytes that has no name, to be given to the worker.
fn in_memory(content: &[u8]) -> Result<OwnedFd> {
    let file = memfd_create("content", MemfdFlags::CLOEXEC)
        .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    let mut file = File::from(file);
    file.write_all(content)?;
    file.rewind()?;
    Ok(OwnedFd::from(file))
}

fn trimmed(text: Vec<u8>) -> Vec<u8> {
    text.trim_ascii_end().to_vec()
}
