//! The loop that reads calls and answers them, one at a time.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::api;
use crate::channel::{self, Fatal, Input, Output, Stream};
use crate::error::Error;
use crate::feature::ActionInfo;
use crate::file_in::{drain, skip_chunk};
use crate::file_out::cancelled_chunk;
use crate::host::{Call, Host, Reply};
use crate::progress::Pace;
use crate::types::overwrite;
use crate::wire::{
    CANCEL_FLAG, DIRECTION_CALL, ERROR_LEN, Header, LAUNCH_FLAG, PROGRAM, PROTOCOL_VERSION,
    STATUS_ERROR, STATUS_OK,
};
use crate::xdr::{Decoder, Encoder};

/// Requests larger than this are not kept allocated for the next call, in bytes.
const KEEP_BODY: usize = 64 * 1024;

/// Why the server ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The library closed the channel between two messages.
    Closed,
    /// A handler asked for it.
    Requested,
}

/// Says that the daemon is ready, then serves calls until the channel closes.
///
/// With `verbose`, each call's name, number, length and time go to stderr. Progress
/// messages leave at `pace`.
///
/// # Errors
///
/// When the channel is lost: nothing that a handler does ends the loop.
pub fn serve<D>(fd: OwnedFd, daemon: &mut D, verbose: bool, pace: Pace) -> Result<Ended, Fatal>
where
    D: Host + api::Actions,
{
    let (mut input, output) = channel::open(fd);
    output.lock().pace = pace;
    output.send(&LAUNCH_FLAG.to_be_bytes())?;
    let mut body = Vec::new();
    while input.message(&mut body)? {
        let on = serve_call(&mut input, &output, &body, daemon, verbose);
        if Header::decode(&mut Decoder::new(&body))
            .is_ok_and(|header| api::action(header.procedure).is_some_and(|info| info.secret))
        {
            overwrite(&mut body);
            input.forget_used();
        }
        if !on? {
            return Ok(Ended::Requested);
        }
        if body.capacity() > KEEP_BODY {
            body = Vec::new();
        }
    }
    Ok(Ended::Closed)
}

/// `false` when the daemon is to end.
fn serve_call<D>(
    input: &mut Input,
    output: &Output,
    message: &[u8],
    daemon: &mut D,
    verbose: bool,
) -> Result<bool, Fatal>
where
    D: Host + api::Actions,
{
    let started = Instant::now();
    let mut decoder = Decoder::new(message);
    let header = Header::decode(&mut decoder).map_err(|_| {
        Fatal::Framing(format!(
            "a message of {} bytes is too short for its header",
            message.len()
        ))
    })?;
    if let Err(error) = check(&header) {
        // What the fields of such a message mean is not known: the reply
        // repeats the ones that a reply needs.
        send_error(output, &header, &error)?;
        return Ok(true);
    }

    let info = api::action(header.procedure);
    let name = info.map_or("UNKNOWN PROCEDURE", |info| info.name);
    if verbose {
        log!(
            "guestfsd: <= {name} ({:#x}) request length {} bytes",
            header.procedure,
            message.len()
        );
    }
    begin(input, output, &header, info, started);
    daemon.begin_call();
    let mut call = Call {
        header,
        body: decoder.rest(),
        input: Some(&mut *input),
        output,
        descriptors: VecDeque::new(),
    };
    let result = catch_unwind(AssertUnwindSafe(|| api::dispatch(daemon, &mut call)))
        .unwrap_or_else(|_| {
            Err(Error::new(
                "internal error in guestfsd: please report it as a bug, with the daemon's log",
            ))
        });
    if let Some(fatal) = input.fatal.take() {
        return Err(fatal);
    }
    if let Some(fatal) = output.lock().fatal.take() {
        return Err(fatal);
    }
    match result {
        Ok(Reply::Sent) => {}
        Ok(Reply::Message(bytes)) => {
            drain(input)?;
            output.send(&bytes)?;
        }
        Err(error) => fail(input, output, &header, &daemon.explain(error))?,
    }
    if verbose {
        let hundredths = started.elapsed().as_millis() / 10;
        log!(
            "guestfsd: => {name} ({:#x}) took {}.{:02} secs",
            header.procedure,
            hundredths / 100,
            hundredths % 100
        );
    }
    Ok(!daemon.exit_requested())
}

fn check(header: &Header) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::new(what));
    if header.program != PROGRAM {
        return wrong(format!(
            "wrong program ({:#x}, not {PROGRAM:#x})",
            header.program
        ));
    }
    if header.version != PROTOCOL_VERSION {
        return wrong(format!(
            "wrong protocol version ({}, not {PROTOCOL_VERSION})",
            header.version
        ));
    }
    if header.direction != DIRECTION_CALL {
        return wrong(format!(
            "unexpected message direction ({}): not a call",
            header.direction
        ));
    }
    if header.status != STATUS_OK {
        return wrong(format!("unexpected message status ({})", header.status));
    }
    Ok(())
}

fn begin(
    input: &mut Input,
    output: &Output,
    header: &Header,
    info: Option<&ActionInfo>,
    started: Instant,
) {
    input.stream = match info {
        Some(info) if info.file_in => Stream::Incoming,
        _ => Stream::None,
    };
    let mut state = output.lock();
    state.procedure = header.procedure;
    state.serial = header.serial;
    state.since = started;
    state.sent = 0;
    state.position = 0;
    state.ended = false;
}

/// Ends a call that failed so that both sides stay in step.
fn fail(input: &mut Input, output: &Output, header: &Header, error: &Error) -> Result<(), Fatal> {
    match input.stream {
        Stream::Incoming => {
            // The library looks for our flag before it sends a chunk, and when that chunk is to say
            // that it gives up, because it cannot read its file, it takes the flag and sends
            // nothing: both sides would wait for ever. So its next chunk comes first.
            skip_chunk(input)?;
            if input.stream == Stream::Incoming {
                output.send(&CANCEL_FLAG.to_be_bytes())?;
                drain(input)?;
            }
            send_error(output, header, error)
        }
        Stream::Outgoing => {
            // The reply has said that all is well, so the message can only go to the log.
            log!("guestfsd: error: {error}");
            input.stream = Stream::Sent;
            output.send(&cancelled_chunk())
        }
        Stream::Sent => {
            log!("guestfsd: error: {error}");
            Ok(())
        }
        Stream::None | Stream::Received | Stream::LibraryGaveUp => {
            send_error(output, header, error)
        }
    }
}

fn send_error(output: &Output, header: &Header, error: &Error) -> Result<(), Fatal> {
    log!("guestfsd: error: {error}");
    output.send(&error_reply(header, error))
}

/// The reply to a call that failed, with its length word.
pub(crate) fn error_reply(header: &Header, error: &Error) -> Vec<u8> {
    let mut message = error.message().as_bytes();
    if message.len() > ERROR_LEN {
        message = &message[..error.message().floor_char_boundary(ERROR_LEN)];
    }
    let mut out = Encoder::after(vec![0; 4]);
    header.reply(STATUS_ERROR).encode(&mut out);
    out.opaque(error.errno_name().as_bytes());
    // The client reads a C string.
    let end = message.iter().position(|&byte| byte == 0);
    out.opaque(&message[..end.unwrap_or(message.len())]);
    let mut bytes = out.into_bytes();
    let len = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&len.to_be_bytes());
    bytes
}
