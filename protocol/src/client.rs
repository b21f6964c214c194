//! A typed client: one method per action, generated from the IDL.
//!
//! For tests and benchmarks, and for programs that drive a daemon without the
//! C library. It serves one call at a time, like the daemon.

use std::fmt;
use std::io::{self, Read, Write};

use crate::wire::{
    CANCEL_FLAG, CHUNK_MAX, DIRECTION_REPLY, Header, LAUNCH_FLAG, MESSAGE_MAX, PROGRAM,
    PROGRESS_FLAG, PROTOCOL_VERSION, ProgressMessage, STATUS_OK,
};
use crate::xdr::{Decoder, Encoder, Malformed};

/// Why a call gave no result.
#[derive(Debug)]
pub enum ClientError {
    /// The daemon's error reply.
    Daemon {
        /// The name of the errno (`ENOENT`); empty when there is none.
        errno: String,
        /// The message.
        message: String,
    },
    /// The daemon stopped sending a file in the middle.
    Cancelled,
    /// The channel failed.
    Io(io::Error),
    /// What came is not the protocol.
    Protocol(String),
}

impl ClientError {
    /// The name of the daemon's errno; empty when there is none.
    pub fn errno(&self) -> &str {
        match self {
            Self::Daemon { errno, .. } => errno,
            _ => "",
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon { message, .. } => f.write_str(message),
            Self::Cancelled => f.write_str("the daemon stopped sending in the middle of a file"),
            Self::Io(error) => write!(f, "channel: {error}"),
            Self::Protocol(what) => write!(f, "protocol: {what}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Malformed> for ClientError {
    fn from(malformed: Malformed) -> Self {
        Self::Protocol(format!("bad reply: {malformed}"))
    }
}

/// The client's end of a channel.
pub struct Client<S> {
    stream: S,
    serial: u32,
    /// The progress messages of the last call.
    pub progress: Vec<ProgressMessage>,
    /// Sent with the next call: how much a `file_in` will be, in bytes.
    pub progress_hint: u64,
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl<S: Read + Write> Client<S> {
    /// Waits for the daemon's launch flag on `stream`.
    ///
    /// # Errors
    ///
    /// When something else comes.
    pub fn launch(mut stream: S) -> Result<Self, ClientError> {
        let mut word = [0; 4];
        stream.read_exact(&mut word)?;
        let word = u32::from_be_bytes(word);
        if word != LAUNCH_FLAG {
            return Err(ClientError::Protocol(format!(
                "{word:#x} came where the launch flag was due"
            )));
        }
        Ok(Self {
            stream,
            serial: 0x0012_3400,
            progress: Vec::new(),
            progress_hint: 0,
        })
    }

    /// The channel, for sending bytes that no method sends.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The channel, given away.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// Makes a call; gives back the body of the reply.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub fn call(
        &mut self,
        procedure: u32,
        options: u64,
        args: Encoder,
        file_in: Option<&mut dyn Read>,
        file_out: Option<&mut dyn Write>,
    ) -> Result<Vec<u8>, ClientError> {
        self.serial = self.serial.wrapping_add(1);
        self.progress.clear();
        let header = Header {
            options,
            progress_hint: std::mem::take(&mut self.progress_hint),
            ..Header::call(procedure, self.serial)
        };
        let mut head = Encoder::new();
        head.u32(0);
        header.encode(&mut head);
        let mut message = head.into_bytes();
        message.extend_from_slice(&args.into_bytes());
        let len = (message.len() - 4) as u32;
        message[..4].copy_from_slice(&len.to_be_bytes());
        self.stream.write_all(&message)?;
        let unread = match file_in {
            Some(file) => self.send_file(file)?,
            None => None,
        };
        let mut reply = self.message()?;
        let mut input = Decoder::new(&reply);
        let got = Header::decode(&mut input)?;
        if got.program != PROGRAM
            || got.version != PROTOCOL_VERSION
            || got.direction != DIRECTION_REPLY
            || got.procedure != procedure
            || got.serial != self.serial
        {
            return Err(ClientError::Protocol(format!(
                "a reply to another call: {got:?}"
            )));
        }
        if let Some(error) = unread {
            if got.status == STATUS_OK {
                let what = "the daemon took the beginning of a file for all of it";
                return Err(ClientError::Protocol(what.to_owned()));
            }
            return Err(error.into());
        }
        if got.status != STATUS_OK {
            return Err(ClientError::Daemon {
                errno: String::from_utf8_lossy(input.string()?).into_owned(),
                message: String::from_utf8_lossy(input.string()?).into_owned(),
            });
        }
        if let Some(file) = file_out {
            self.receive_file(file)?;
        }
        let body = reply.len() - input.rest().len();
        reply.drain(..body);
        Ok(reply)
    }

    /// Sends all of `file` in chunks. The daemon's request to stop is noticed
    /// when its reply is read, so this is for daemons that keep reading. When
    /// `file` cannot be read the daemon is told, and the error is given back.
    fn send_file(&mut self, file: &mut dyn Read) -> Result<Option<io::Error>, ClientError> {
        let mut buffer = vec![0; CHUNK_MAX];
        loop {
            match file.read(&mut buffer) {
                Ok(read) => {
                    self.send_chunk(false, &buffer[..read])?;
                    if read == 0 {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.send_chunk(true, &[])?;
                    return Ok(Some(error));
                }
            }
        }
    }

    /// Sends one chunk of a file; none of the methods needs this.
    ///
    /// # Errors
    ///
    /// When the channel fails.
    pub fn send_chunk(&mut self, cancel: bool, data: &[u8]) -> io::Result<()> {
        let mut out = Encoder::new();
        out.len(8 + data.len().next_multiple_of(4));
        out.bool(cancel);
        out.opaque(data);
        self.stream.write_all(&out.into_bytes())
    }

    /// The next message, with progress and stray cancellations taken out.
    ///
    /// # Errors
    ///
    /// [`ClientError`]
    pub fn message(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            let mut word = [0; 4];
            self.stream.read_exact(&mut word)?;
            match u32::from_be_bytes(word) {
                CANCEL_FLAG => {}
                PROGRESS_FLAG => {
                    let mut bytes = [0; 24];
                    self.stream.read_exact(&mut bytes)?;
                    let message = ProgressMessage::decode(&mut Decoder::new(&bytes))?;
                    self.progress.push(message);
                }
                len if len as usize > MESSAGE_MAX => {
                    return Err(ClientError::Protocol(format!("a message of {len} bytes")));
                }
                len => {
                    let mut message = vec![0; len as usize];
                    self.stream.read_exact(&mut message)?;
                    return Ok(message);
                }
            }
        }
    }

    /// Receives a file's chunks up to its end.
    ///
    /// # Errors
    ///
    /// [`ClientError::Cancelled`] when the daemon gave up.
    pub fn receive_file(&mut self, file: &mut dyn Write) -> Result<(), ClientError> {
        loop {
            let message = self.message()?;
            let mut input = Decoder::new(&message);
            let cancel = input.u32()?;
            let data = input.opaque()?;
            finished(&input)?;
            if cancel != 0 {
                return Err(ClientError::Cancelled);
            }
            if data.is_empty() {
                return Ok(());
            }
            if data.len() > CHUNK_MAX {
                return Err(ClientError::Protocol(format!(
                    "a chunk of {} bytes",
                    data.len()
                )));
            }
            file.write_all(data)?;
        }
    }
}

/// Checks that a reply has nothing after its body.
pub(crate) fn finished(input: &Decoder<'_>) -> Result<(), ClientError> {
    if input.is_empty() {
        Ok(())
    } else {
        Err(ClientError::Protocol(format!(
            "{} bytes too many in a reply",
            input.rest().len()
        )))
    }
}
