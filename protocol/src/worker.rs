//! Calls between the daemon and its workers: processes of the same program, each of which runs
//! one C library on what guests wrote.
//!
//! It is the protocol of the library's channel over a socket pair, without file streams and
//! progress, and with open files beside a call (`SCM_RIGHTS`). What a worker serves is in
//! `idl/worker`; codegen makes a trait and a dispatch function of it for the worker's end, and a
//! client of [`Caller`] for the daemon's.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::channel::{self, Fatal};
use crate::error::{Error, Result, errno_from_name};
use crate::host::{Call, Reply};
use crate::server::error_reply;
use crate::wire::{
    DIRECTION_CALL, Header, LAUNCH_FLAG, MESSAGE_MAX, PROGRAM, PROTOCOL_VERSION, STATUS_OK,
};
use crate::xdr::{Decoder, Encoder};

/// How many open files may come with one call.
const FILES: usize = 8;

/// Makes calls; the generated clients are built on it.
pub trait Caller {
    /// Makes a call; gives back the body of the reply.
    ///
    /// # Errors
    ///
    /// The worker's error reply, or what became of the worker.
    fn call(
        &mut self,
        procedure: u32,
        options: u64,
        args: Encoder,
        files: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>>;
}

/// Checks that a reply has nothing after its body.
///
/// # Errors
///
/// When it has.
pub fn finished(input: &Decoder<'_>) -> Result<()> {
    if input.is_empty() {
        Ok(())
    } else {
        Err(Error::new("a worker's reply is too long"))
    }
}

/// Why a call to a worker gave no result.
#[derive(Debug)]
pub enum Failure {
    /// The worker's error reply; it can be called again.
    Reply(Error),
    /// It closed its end, most likely by ending.
    Closed,
    /// It has not answered in time.
    Late,
    /// It answered what is no answer.
    Nonsense(String),
    /// A system call on the socket failed.
    Io(Errno),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPIPE | Errno::ECONNRESET) => Self::Closed,
            Some(errno) => Self::Io(errno),
            None => Self::Closed,
        }
    }
}

/// The daemon's end of the socket to a worker.
#[derive(Debug)]
pub struct Connection {
    socket: UnixStream,
    serial: u32,
}

impl Connection {
    /// Waits until the worker at the other end is ready.
    ///
    /// # Errors
    ///
    /// [`Failure::Reply`] with the worker's reason why it cannot work.
    pub fn launch(socket: UnixStream, deadline: Instant) -> Result<Self, Failure> {
        socket.set_nonblocking(true)?;
        let mut connection = Self { socket, serial: 0 };
        match connection.word(deadline)? {
            LAUNCH_FLAG => Ok(connection),
            len => {
                let message = connection.message(len, deadline)?;
                Err(match reply(&message, 0, 0) {
                    Ok(_) => Failure::Nonsense("a reply came before any call".to_owned()),
                    Err(failure) => failure,
                })
            }
        }
    }

    /// Makes a call; gives back the body of the reply.
    ///
    /// # Errors
    ///
    /// [`Failure`]; after all of them but [`Failure::Reply`] the worker is of no more use.
    pub fn call(
        &mut self,
        deadline: Instant,
        procedure: u32,
        options: u64,
        args: Encoder,
        files: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>, Failure> {
        self.serial = self.serial.wrapping_add(1);
        let header = Header {
            options,
            ..Header::call(procedure, self.serial)
        };
        let mut head = Encoder::after(vec![0; 4]);
        header.encode(&mut head);
        let mut message = head.into_bytes();
        message.extend_from_slice(&args.into_bytes());
        let len = message.len() - 4;
        if len > MESSAGE_MAX {
            return Err(Failure::Reply(Error::with_errno(
                Errno::E2BIG,
                "the call is larger than a message of the protocol may be",
            )));
        }
        message[..4].copy_from_slice(&(len as u32).to_be_bytes());
        self.send(&message, files, deadline)?;
        let len = self.word(deadline)?;
        let message = self.message(len, deadline)?;
        reply(&message, procedure, self.serial).map(<[u8]>::to_vec)
    }

    /// Sends all of `bytes`; the files go with the first of them.
    fn send(
        &mut self,
        mut bytes: &[u8],
        files: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(Failure::Reply(Error::new("too many files for one call")));
        }
        while !bytes.is_empty() {
            let slices = [IoSlice::new(bytes)];
            match sendmsg(&self.socket, &slices, &mut control, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    bytes = bytes.get(sent..).unwrap_or_default();
                    control.clear();
                }
                Err(rustix::io::Errno::AGAIN) => self.wait(PollFlags::POLLOUT, deadline)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
        Ok(())
    }

    fn word(&mut self, deadline: Instant) -> Result<u32, Failure> {
        let mut word = [0; 4];
        self.receive(&mut word, deadline)?;
        Ok(u32::from_be_bytes(word))
    }

    fn message(&mut self, len: u32, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let len = len as usize;
        if len > MESSAGE_MAX {
            return Err(Failure::Nonsense(format!("a message of {len} bytes")));
        }
        let mut message = vec![0; len];
        self.receive(&mut message, deadline)?;
        Ok(message)
    }

    fn receive(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<(), Failure> {
        let mut filled = 0;
        while let Some(space) = buffer.get_mut(filled..)
            && !space.is_empty()
        {
            match self.socket.read(space) {
                Ok(0) => return Err(Failure::Closed),
                Ok(len) => filled += len,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => self.wait(PollFlags::POLLIN, deadline)?,
                    ErrorKind::Interrupted => {}
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(())
    }

    fn wait(&self, events: PollFlags, deadline: Instant) -> Result<(), Failure> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the end is not waited for in a busy loop.
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket.as_fd(), events)];
            match poll(&mut fds, timeout) {
                Ok(0) if left.is_zero() => return Err(Failure::Late),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(Failure::Io(errno)),
            }
        }
    }
}

/// The body of the reply to the call of that procedure and serial number.
fn reply(message: &[u8], procedure: u32, serial: u32) -> Result<&[u8], Failure> {
    let nonsense = |malformed: crate::xdr::Malformed| Failure::Nonsense(malformed.to_string());
    let mut input = Decoder::new(message);
    let header = Header::decode(&mut input).map_err(nonsense)?;
    let due = Header::call(procedure, serial).reply(header.status);
    if header != due {
        return Err(Failure::Nonsense(format!(
            "a reply to another call: {header:?}"
        )));
    }
    if header.status == STATUS_OK {
        return Ok(input.rest());
    }
    let errno = input.text().map_err(nonsense)?;
    let text = String::from_utf8_lossy(input.string().map_err(nonsense)?).into_owned();
    Err(Failure::Reply(match errno_from_name(errno) {
        Some(errno) => Error::with_errno(errno, text),
        None => Error::new(text),
    }))
}

/// Tells the daemon why there is no worker: in place of [`serve`].
///
/// # Errors
///
/// When it is no longer there.
pub fn refuse(socket: UnixStream, reason: &Error) -> Result<(), Fatal> {
    let (_, output) = channel::open(OwnedFd::from(socket));
    output.send(&error_reply(&Header::call(0, 0), reason))
}

/// Serves the daemon's calls until it closes its end. `before` is called first in each.
///
/// All that came with a call is closed before it is answered.
///
/// # Errors
///
/// When the socket fails.
pub fn serve<W>(
    socket: UnixStream,
    worker: &mut W,
    dispatch: fn(&mut W, &mut Call<'_>) -> Result<Reply>,
    mut before: impl FnMut(),
) -> Result<(), Fatal> {
    let io = |error: io::Error| Fatal::Io(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
    let mut incoming = socket.try_clone().map_err(io)?;
    let (_, output) = channel::open(OwnedFd::from(socket));
    output.send(&LAUNCH_FLAG.to_be_bytes())?;
    loop {
        let mut word = [0; 4];
        let mut descriptors = VecDeque::new();
        match receive_first(&incoming, &mut word, &mut descriptors).map_err(io)? {
            0 => return Ok(()),
            len => incoming
                .read_exact(word.get_mut(len..).unwrap_or_default())
                .map_err(io)?,
        }
        let len = u32::from_be_bytes(word) as usize;
        if len > MESSAGE_MAX {
            return Err(Fatal::Framing(format!("a message of {len} bytes")));
        }
        let mut message = vec![0; len];
        incoming.read_exact(&mut message).map_err(io)?;
        before();
        let mut decoder = Decoder::new(&message);
        let header = Header::decode(&mut decoder)
            .map_err(|malformed| Fatal::Framing(malformed.to_string()))?;
        if header.program != PROGRAM
            || header.version != PROTOCOL_VERSION
            || header.direction != DIRECTION_CALL
        {
            return Err(Fatal::Framing(format!("no call: {header:?}")));
        }
        let mut call = Call {
            header,
            body: decoder.rest(),
            input: None,
            output: &output,
            descriptors,
        };
        let result = catch_unwind(AssertUnwindSafe(|| dispatch(worker, &mut call)))
            .unwrap_or_else(|_| Err(Error::new("internal error in a worker")));
        drop(call);
        match result {
            Ok(Reply::Message(bytes)) => output.send(&bytes)?,
            Ok(Reply::Sent) => {}
            Err(error) => output.send(&error_reply(&header, &error))?,
        }
    }
}

/// Receives at least the first byte of a message, and the files that came with it.
fn receive_first(
    socket: &UnixStream,
    word: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(word)];
        match recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => {
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(files) = message {
                        descriptors.extend(files);
                    }
                }
                return Ok(received.bytes);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
