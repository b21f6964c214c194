//! Every action that streams, and its end before its time: the library gives up,
//! or the daemon has to. Both stay in step, and nothing is left behind.
//!
//! The calls are generated from the IDL, so that a new action is among them.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;

use codegen::model::Action;
use conformance::support::direct::kill_children;
use conformance::support::given::Given;
use conformance::{Client, ClientError, Direct, DiskSpec};
use protocol::api::*;
use protocol::wire::CANCEL_FLAG;

use crate::traces::Traces;

mod calls;
mod guests;

pub(crate) use guests::noise;

include!(concat!(env!("OUT_DIR"), "/escapes.rs"));

/// What may still come after a cancel: what fits into the socket, and a write or
/// two.
const PROMPT: usize = 2 << 20;

/// Chunks that are received before something happens.
const RECEIVED: usize = 3;

/// How much is sent before the library gives up.
const SENT: usize = 320 << 10;

/// What may be left of the memory for all calls: what the allocator keeps.
const KEPT: u64 = 16 << 20;

/// What a file that is received meets with.
#[derive(Debug, Default)]
enum Fate {
    /// It is received to its end.
    #[default]
    Whole,
    /// The library asks, on its end of the channel, to stop.
    Cancelled(UnixStream),
    /// The programs that this process has started are killed.
    Killed(u32),
    /// What it is read from cannot be read any more.
    Lost(guests::Scratch),
}

/// A file that is received, in chunks of which a few are enough.
#[derive(Debug, Default)]
struct Received {
    fate: Fate,
    chunks: usize,
    /// Bytes that came after it has met its fate.
    after: usize,
}

impl Write for Received {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunks += 1;
        if self.chunks > RECEIVED {
            self.after += bytes.len();
        } else if self.chunks == RECEIVED {
            match &mut self.fate {
                Fate::Whole => {}
                Fate::Cancelled(channel) => channel.write_all(&CANCEL_FLAG.to_be_bytes())?,
                Fate::Killed(process) => kill_children(*process),
                Fate::Lost(scratch) => scratch.lose(),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a call of the table.
fn made(
    direct: &mut Direct,
    action: &Action,
    given: &Given,
    sent: &mut Received,
) -> Result<String, ClientError> {
    call(direct, &action.name, given, sent).expect("a call of an action with a handler")
}

/// Checks that the daemon is as it was before.
fn check(direct: &mut Direct, before: &Traces, what: &str) {
    direct
        .ping_daemon()
        .unwrap_or_else(|error| panic!("{what}: the two sides have lost step: {error}"));
    assert_eq!(&Traces::of(direct), before, "{what}");
}

#[test]
fn a_cancelled_download_leaves_nothing_behind() {
    let mut direct = guests::large();
    let before = Traces::of(&direct);
    let memory = direct.memory();
    for action in calls::streaming_out() {
        let channel = direct.stream().try_clone().expect("the channel");
        let mut sent = Received {
            fate: Fate::Cancelled(channel),
            ..Received::default()
        };
        let given = calls::given(action, "", None);
        let result = made(&mut direct, action, &given, &mut sent);
        let what = &action.name;
        assert!(
            matches!(result, Err(ClientError::Cancelled)),
            "{what}: {result:?} after {} chunks",
            sent.chunks
        );
        assert!(
            sent.after < PROMPT,
            "{what}: {} bytes came after the cancel",
            sent.after
        );
        check(&mut direct, &before, what);
    }
    let kept = direct.memory().saturating_sub(memory);
    assert!(kept < KEPT, "{kept} bytes");
}

#[test]
fn a_cancelled_upload_leaves_nothing_behind() {
    let mut direct = guests::large();
    let files = guests::Files::of(&mut direct);
    let before = Traces::of(&direct);
    let memory = direct.memory();
    for action in calls::streaming_in() {
        let what = &action.name;
        let whole = files.for_action(what);
        assert!(whole.len() > 2 * SENT, "{what}: {} bytes", whole.len());
        let given = calls::given(action, "", Some(&whole[..SENT]));
        let result = made(&mut direct, action, &given, &mut Received::default());
        assert!(
            matches!(result, Err(ClientError::Io(_))),
            "{what}: {result:?}"
        );
        check(&mut direct, &before, what);
    }
    let kept = direct.memory().saturating_sub(memory);
    assert!(kept < KEPT, "{kept} bytes");
}

#[test]
fn an_upload_without_room_leaves_nothing_behind() {
    let mut direct = guests::large();
    let files = guests::Files::of(&mut direct);
    let before = Traces::of(&direct);
    for action in calls::streaming_in() {
        let what = &action.name;
        let given = calls::given_whole(action, "/small", files.for_action(what));
        let result = made(&mut direct, action, &given, &mut Received::default());
        assert!(
            matches!(result, Err(ClientError::Daemon { .. })),
            "{what}: {result:?}"
        );
        check(&mut direct, &before, what);
        guests::empty_small(&mut direct);
    }
}

#[test]
fn a_download_that_fails_in_the_middle_is_cancelled() {
    let mut direct = guests::damaged();
    let before = Traces::of(&direct);
    let actions = calls::streaming_out();
    for action in actions.filter(|action| action.name != calls::MADE_FIRST) {
        let what = &action.name;
        let mut sent = Received {
            fate: Fate::Killed(direct.id()),
            ..Received::default()
        };
        let given = calls::given(action, "", None);
        let result = made(&mut direct, action, &given, &mut sent);
        assert!(
            matches!(result, Err(ClientError::Cancelled)) && sent.chunks > 0,
            "{what}: {result:?} after {} chunks",
            sent.chunks
        );
        check(&mut direct, &before, what);
    }
}

/// What the program makes is kept in the appliance until it is sent, here on a disk that breaks
/// meanwhile.
#[test]
fn what_cannot_be_read_back_is_cancelled() {
    let mut direct = guests::with_scratch(DiskSpec::Formatted("ext4", 64 << 20));
    let before = Traces::of(&direct);
    let action = calls::made_first();
    let given = calls::given(action, "", None);
    let mut whole = Received::default();
    made(&mut direct, action, &given, &mut whole).expect("whole");
    let mut sent = Received {
        fate: Fate::Lost(guests::Scratch::of(&direct)),
        ..Received::default()
    };
    let result = made(&mut direct, action, &given, &mut sent);
    assert!(
        matches!(result, Err(ClientError::Cancelled)) && sent.chunks < whole.chunks,
        "{result:?} after {} chunks of {}",
        sent.chunks,
        whole.chunks
    );
    check(&mut direct, &before, &action.name);
    // With room elsewhere it works again.
    guests::leave_scratch(&mut direct);
    let mut again = Received::default();
    made(&mut direct, action, &given, &mut again).expect("again");
    assert_eq!(again.chunks, whole.chunks);
}

#[test]
fn what_has_no_room_to_be_made_is_an_error_alone() {
    let mut direct = guests::with_scratch(DiskSpec::Formatted("ext4", 4 << 20));
    let before = Traces::of(&direct);
    let action = calls::made_first();
    let given = calls::given(action, "", None);
    let mut sent = Received::default();
    let result = made(&mut direct, action, &given, &mut sent);
    let message = match result {
        Err(ClientError::Daemon { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    assert!(message.contains("No space left on device"), "{message}");
    assert_eq!(sent.chunks, 0);
    check(&mut direct, &before, &action.name);
    guests::leave_scratch(&mut direct);
    made(&mut direct, action, &given, &mut sent).expect("again");
}
