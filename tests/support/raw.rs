//! Messages made by hand, for what the typed client cannot say.

use std::io::Read;
use std::os::unix::net::UnixStream;

use protocol::wire::{CANCEL_FLAG, Header, MESSAGE_MAX, PROGRESS_FLAG, STATUS_OK};
use protocol::xdr::{Decoder, Encoder};

/// A whole message with its length word.
pub fn message(header: &Header, body: &[u8]) -> Vec<u8> {
    let mut head = Encoder::new();
    header.encode(&mut head);
    framed(&[head.into_bytes(), body.to_vec()].concat())
}

/// The bytes with their length before them.
///
/// # Panics
///
/// When they are too long for a length word.
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("length");
    [&len.to_be_bytes()[..], bytes].concat()
}

/// A chunk of a file with its length word.
pub fn chunk(cancel: bool, data: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.bool(cancel);
    out.opaque(data);
    framed(&out.into_bytes())
}

/// An XDR string.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.opaque(bytes);
    out.into_bytes()
}

/// What the daemon answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The reply's body.
    Body(Vec<u8>),
    /// The errno's name and the message.
    Error(String, String),
}

impl Answer {
    /// The message of an error.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn message(&self) -> &str {
        match self {
            Self::Error(_, message) => message,
            Self::Body(body) => panic!("a reply of {} bytes where an error was due", body.len()),
        }
    }
}

/// The next word from the daemon.
///
/// # Panics
///
/// When it sends nothing in time, or goes.
pub fn word(stream: &mut UnixStream) -> u32 {
    let mut word = [0; 4];
    stream
        .read_exact(&mut word)
        .expect("a word from the daemon");
    u32::from_be_bytes(word)
}

/// The next message; progress, and the request to stop sending, are passed over.
///
/// # Panics
///
/// When none comes in time.
pub fn receive(stream: &mut UnixStream) -> Vec<u8> {
    let mut len = word(stream);
    while len == PROGRESS_FLAG || len == CANCEL_FLAG {
        if len == PROGRESS_FLAG {
            stream.read_exact(&mut [0; 24]).expect("progress");
        }
        len = word(stream);
    }
    let len = len as usize;
    assert!(len <= MESSAGE_MAX, "a length word of {len:#x}");
    let mut bytes = vec![0; len];
    stream
        .read_exact(&mut bytes)
        .expect("a message from the daemon");
    bytes
}

/// The reply to this call.
///
/// # Panics
///
/// When something else comes.
pub fn answer(stream: &mut UnixStream, call: &Header) -> Answer {
    let bytes = receive(stream);
    let mut input = Decoder::new(&bytes);
    let header = Header::decode(&mut input).expect("a reply's header");
    assert_eq!(header, call.reply(header.status));
    if header.status == STATUS_OK {
        return Answer::Body(input.rest().to_vec());
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("an error's text");
    let errno = text(input.string().expect("errno"));
    let message = text(input.string().expect("message"));
    assert!(input.is_empty(), "more after the error");
    Answer::Error(errno, message)
}
