//! The two directions of the daemon's channel.
//!
//! [`Input`] reads large and hands out words, messages and chunks;
//! [`Output`] writes whole messages, and may be shared with the thread that
//! sends pulses.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::progress::Pace;
use crate::pulse::Pulser;
use crate::types::overwrite;
use crate::wire::{CANCEL_FLAG, CHUNK_MAX, MESSAGE_MAX};

/// What [`Input`] reads ahead, in bytes.
const READ_AHEAD: usize = 256 * 1024;

/// Why the daemon cannot go on with its channel.
#[derive(Debug)]
pub enum Fatal {
    /// The other side went away in the middle of a message.
    Truncated,
    /// What came makes no sense, so the two sides have lost step.
    Framing(String),
    /// A system call on the channel failed.
    Io(Errno),
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => {
                f.write_str("the library closed the channel in the middle of a message")
            }
            Self::Framing(what) => write!(f, "lost step with the library: {what}"),
            Self::Io(errno) => write!(f, "channel: {}", crate::strerror(*errno)),
        }
    }
}

impl std::error::Error for Fatal {}

impl From<Fatal> for crate::Error {
    fn from(fatal: Fatal) -> Self {
        Self::new(fatal.to_string())
    }
}

/// How far the file stream of the current call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Stream {
    /// The call has none, or the reply of one that sends has not begun.
    #[default]
    None,
    /// The library is sending.
    Incoming,
    /// The library sent the end.
    Received,
    /// The library gave up sending.
    LibraryGaveUp,
    /// We are sending; the reply has gone out.
    Outgoing,
    /// We sent the last chunk: the end, or that it was cancelled.
    Sent,
}

/// One chunk of a file from the library, as a range of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Data: where it starts in [`Input::buffered`], its length, and the length of the whole chunk.
    Data {
        start: usize,
        len: usize,
        whole: usize,
    },
    /// The end; the length of the whole chunk.
    End(usize),
    /// The library gave up; the length of the whole chunk.
    Cancelled(usize),
}

/// What comes from the library.
#[derive(Debug)]
pub struct Input {
    fd: Arc<OwnedFd>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    pub(crate) stream: Stream,
    pub(crate) fatal: Option<Fatal>,
    /// For streams to the library; kept so that each need not allocate it.
    pub(crate) scratch: Vec<u8>,
}

impl Input {
    fn new(fd: Arc<OwnedFd>) -> Self {
        Self {
            fd,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            stream: Stream::None,
            fatal: None,
            scratch: Vec::new(),
        }
    }

    /// What has been read and not yet used.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Overwrites what has been read and used: it is in the buffer until other messages take its
    /// place.
    pub(crate) fn forget_used(&mut self) {
        let (used, rest) = self.buffer.split_at_mut(self.start);
        overwrite(used);
        overwrite(rest.get_mut(self.end - self.start..).unwrap_or_default());
    }

    /// Reads until `len` bytes are buffered (at most [`READ_AHEAD`]).
    /// `false` when the other side closed the channel before the first of them.
    pub(crate) fn want(&mut self, len: usize) -> Result<bool, Fatal> {
        while self.end - self.start < len {
            if self.buffer.is_empty() {
                self.buffer = vec![0; READ_AHEAD];
            }
            if self.start + len > self.buffer.len() {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            match nix::unistd::read(&*self.fd, &mut self.buffer[self.end..]) {
                Ok(0) if self.start == self.end => return Ok(false),
                Ok(0) => return Err(Fatal::Truncated),
                Ok(read) => self.end += read,
                Err(Errno::EINTR) => {}
                // A socket whose peer died with our bytes unread says this instead of EOF.
                Err(Errno::ECONNRESET) if self.start == self.end => return Ok(false),
                Err(Errno::ECONNRESET) => return Err(Fatal::Truncated),
                Err(errno) => return Err(Fatal::Io(errno)),
            }
        }
        Ok(true)
    }

    fn word_at(&self, offset: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.buffer[self.start + offset..self.start + offset + 4]);
        u32::from_be_bytes(word)
    }

    /// The next message into `body`, replacing what is there. `false` when the
    /// other side closed the channel between messages.
    pub(crate) fn message(&mut self, body: &mut Vec<u8>) -> Result<bool, Fatal> {
        body.clear();
        let len = loop {
            if !self.want(4)? {
                return Ok(false);
            }
            let word = self.word_at(0);
            self.consume(4);
            // Sent before the library saw that the last call had ended.
            if word != CANCEL_FLAG {
                break word as usize;
            }
        };
        if len > MESSAGE_MAX {
            return Err(Fatal::Framing(format!(
                "a message of {len} bytes is announced, but the limit is {MESSAGE_MAX}"
            )));
        }
        let ready = len.min(self.end - self.start);
        body.reserve_exact(len);
        body.extend_from_slice(&self.buffer[self.start..self.start + ready]);
        self.consume(ready);
        body.resize(len, 0);
        let mut filled = ready;
        while filled < len {
            match nix::unistd::read(&*self.fd, &mut body[filled..]) {
                Ok(0) | Err(Errno::ECONNRESET) => return Err(Fatal::Truncated),
                Ok(read) => filled += read,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Fatal::Io(errno)),
            }
        }
        Ok(true)
    }

    /// The chunk that begins at `offset` of what is buffered, if all of it is there.
    pub(crate) fn chunk_at(&self, offset: usize) -> Result<Option<Chunk>, Fatal> {
        let available = self.end - self.start;
        let mut at = offset;
        let len = loop {
            if available < at + 4 {
                return Ok(None);
            }
            let word = self.word_at(at);
            at += 4;
            if word != CANCEL_FLAG {
                break word as usize;
            }
        };
        if !(8..=8 + CHUNK_MAX).contains(&len) {
            return Err(Fatal::Framing(format!(
                "a file chunk of {len} bytes is announced, but they have 8 to {}",
                8 + CHUNK_MAX
            )));
        }
        if available < at + len {
            return Ok(None);
        }
        let cancel = self.word_at(at);
        let data = self.word_at(at + 4) as usize;
        if data > len - 8 {
            return Err(Fatal::Framing(format!(
                "a file chunk of {len} bytes says it has {data} bytes of data"
            )));
        }
        let whole = at + len - offset;
        match (cancel, data) {
            (0, 0) => Ok(Some(Chunk::End(whole))),
            (0, len) => Ok(Some(Chunk::Data {
                start: at + 8,
                len,
                whole,
            })),
            (1, _) => Ok(Some(Chunk::Cancelled(whole))),
            _ => Err(Fatal::Framing(format!(
                "a file chunk's cancel word is {cancel:#x}, neither 0 nor 1"
            ))),
        }
    }

    /// Waits for a whole chunk at the front.
    pub(crate) fn chunk(&mut self) -> Result<Chunk, Fatal> {
        loop {
            if let Some(chunk) = self.chunk_at(0)? {
                return Ok(chunk);
            }
            let more = self.end - self.start + 1;
            if !self.want(more)? {
                return Err(Fatal::Truncated);
            }
        }
    }

    /// Whether the library asked us to stop sending; does not wait.
    pub(crate) fn cancel_requested(&mut self) -> Result<bool, Fatal> {
        if self.start == self.end {
            let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(0) | Err(Errno::EINTR) => return Ok(false),
                Ok(_) => {}
                Err(errno) => return Err(Fatal::Io(errno)),
            }
        }
        if !self.want(4)? {
            return Err(Fatal::Truncated);
        }
        let word = self.word_at(0);
        if word != CANCEL_FLAG {
            return Err(Fatal::Framing(format!(
                "{word:#x} came while a file was being sent, where only the cancel flag may"
            )));
        }
        self.consume(4);
        Ok(true)
    }
}

/// The call for which progress is sent, and when it was sent last.
#[derive(Debug)]
pub(crate) struct OutputState {
    pub(crate) procedure: u32,
    pub(crate) serial: u32,
    pub(crate) since: Instant,
    pub(crate) pace: Pace,
    pub(crate) sent: u64,
    /// What was sent last.
    pub(crate) position: u64,
    /// That was the total.
    pub(crate) ended: bool,
    pub(crate) fatal: Option<Fatal>,
}

/// What goes to the library. Clones share the channel.
#[derive(Debug, Clone)]
pub struct Output {
    fd: Arc<OwnedFd>,
    state: Arc<Mutex<OutputState>>,
    pub(crate) pulser: Arc<Pulser>,
}

/// An [`Output`] that does not keep the channel open.
#[derive(Debug)]
pub(crate) struct WeakOutput {
    fd: Weak<OwnedFd>,
    state: Weak<Mutex<OutputState>>,
    pulser: Weak<Pulser>,
}

impl WeakOutput {
    /// The output, unless nobody else has it any more.
    pub(crate) fn upgrade(&self) -> Option<Output> {
        Some(Output {
            fd: self.fd.upgrade()?,
            state: self.state.upgrade()?,
            pulser: self.pulser.upgrade()?,
        })
    }
}

impl Output {
    fn new(fd: Arc<OwnedFd>) -> Self {
        Self {
            fd,
            pulser: Arc::default(),
            state: Arc::new(Mutex::new(OutputState {
                procedure: 0,
                serial: 0,
                since: Instant::now(),
                pace: Pace::default(),
                sent: 0,
                position: 0,
                ended: false,
                fatal: None,
            })),
        }
    }

    pub(crate) fn downgrade(&self) -> WeakOutput {
        WeakOutput {
            fd: Arc::downgrade(&self.fd),
            state: Arc::downgrade(&self.state),
            pulser: Arc::downgrade(&self.pulser),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, OutputState> {
        // The state stays sound whatever the holder was doing when it panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes all of `bytes`, a whole message or several.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), Fatal> {
        let guard = self.lock();
        let result = self.send_locked(bytes);
        drop(guard);
        result
    }

    pub(crate) fn send_locked(&self, mut bytes: &[u8]) -> Result<(), Fatal> {
        while !bytes.is_empty() {
            match nix::unistd::write(&*self.fd, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Fatal::Io(errno)),
            }
        }
        Ok(())
    }
}

/// Both directions of the channel `fd`.
pub fn open(fd: OwnedFd) -> (Input, Output) {
    let fd = Arc::new(fd);
    (Input::new(Arc::clone(&fd)), Output::new(fd))
}

/// Writes all the slices.
pub(crate) fn write_all_vectored(
    fd: BorrowedFd<'_>,
    mut slices: &mut [IoSlice<'_>],
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match nix::sys::uio::writev(fd, slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_was_used_is_forgotten_and_the_rest_is_not() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let messages = [&b"\0\0\0\x06secret\0\0\0\x04"[..], b"next"];
        theirs.write_all(&messages.concat()).unwrap();
        let (mut input, _output) = open(ours.into());
        let mut body = Vec::new();
        assert!(input.message(&mut body).unwrap());
        assert_eq!(body, b"secret");
        let holds = |input: &Input, text: &[u8]| input.buffer.windows(6).any(|part| part == text);
        assert!(holds(&input, b"secret"));
        input.forget_used();
        assert!(!holds(&input, b"secret"));
        assert!(input.message(&mut body).unwrap());
        assert_eq!(body, b"next");
        input.forget_used();
        assert!(input.buffer.iter().all(|&byte| byte == 0));
    }
}
