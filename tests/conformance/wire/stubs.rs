//! The generated stubs and the dispatch.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codegen::emit::fixtures::{Fixture, Value, Variant, fixtures, hexadecimal};
use codegen::model::{Action, ParamType};
use protocol::api::Feature;
use protocol::{Device, DeviceNames, Error, Host, Pace, Result, serve};

use crate::values::{Sample, option};
use crate::{END, LAUNCH, actions, message, model, streams};

const SERIAL: u32 = 0x0012_3456;

/// What the handlers got, and what they are to give.
#[derive(Default)]
pub(crate) struct Expected {
    called: Option<(String, Vec<String>)>,
    result: Option<Value>,
}

/// Handles every action by noting its arguments.
#[derive(Default)]
pub(crate) struct Handler(Arc<Mutex<Expected>>);

impl Handler {
    pub(crate) fn called(&mut self, action: &str, arguments: &[String]) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        expected.called = Some((action.to_owned(), arguments.to_vec()));
    }

    pub(crate) fn result<T: Returned>(&self) -> Result<T> {
        let expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(T::returned(expected.result.as_ref()))
    }
}

/// What a handler may return.
pub(crate) trait Returned {
    fn returned(value: Option<&Value>) -> Self;
}

impl Returned for () {
    fn returned(_: Option<&Value>) -> Self {}
}

impl<T: Sample> Returned for T {
    fn returned(value: Option<&Value>) -> Self {
        T::sample(value.expect("a sample has the result"))
    }
}

impl DeviceNames for Handler {
    fn device_name(&self, device: &Device) -> String {
        device.as_str().to_owned()
    }
}

impl protocol::api::Actions for Handler {}

impl Host for Handler {
    fn feature_available(&mut self, _: Feature) -> bool {
        true
    }

    fn translate_device(&mut self, name: &str) -> Result<Device> {
        match self.is_device_name(name.as_bytes()) {
            true => Ok(Device::new(name)),
            false => Err(Error::new("not a device")),
        }
    }

    fn is_device_name(&self, name: &[u8]) -> bool {
        name.starts_with(b"/dev/")
    }

    fn require_root(&self) -> Result<()> {
        Ok(())
    }
}

/// The next message; a request to stop sending a file, which comes before an error, is left out.
fn next_message(stream: &mut UnixStream) -> Vec<u8> {
    let mut message = vec![0; 4];
    stream.read_exact(&mut message).expect("a length word");
    if message == [0xff, 0xff, 0xee, 0xee] {
        stream.read_exact(&mut message).expect("a length word");
    }
    let len = u32::from_be_bytes(message[..4].try_into().expect("four bytes"));
    assert!(len <= 4 << 20, "a length of {len:#x}");
    let mut body = vec![0; len as usize];
    stream.read_exact(&mut body).expect("a message");
    message.extend(body);
    message
}

/// A served [`Handler`], and what it does.
struct Served {
    stream: UnixStream,
    expected: Arc<Mutex<Expected>>,
    server: std::thread::JoinHandle<bool>,
}

impl Served {
    fn start() -> Self {
        let expected = Arc::new(Mutex::new(Expected::default()));
        let (mut stream, daemon) = UnixStream::pair().expect("a pair of sockets");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time limit");
        let mut handler = Handler(Arc::clone(&expected));
        let pace = Pace::default();
        let server =
            std::thread::spawn(move || serve(daemon.into(), &mut handler, false, pace).is_ok());
        let mut word = [0; 4];
        stream.read_exact(&mut word).expect("the launch flag");
        assert_eq!(word, LAUNCH);
        Self {
            stream,
            expected,
            server,
        }
    }

    /// Calls `fixture`'s action with another body; gives back the reply and how the handler was called.
    fn call(
        &mut self,
        fixture: &Fixture,
        action: &Action,
        bits: u64,
        body: &[u8],
    ) -> (Vec<u8>, Option<(String, Vec<String>)>) {
        let result = fixture.result.as_ref().map(|(_, value)| value.clone());
        *self.expected.lock().expect("no test panicked") = Expected {
            called: None,
            result,
        };
        let mut call = message(fixture.number, SERIAL, false, bits, 0, body);
        if streams(action, ParamType::FileIn) {
            call.extend(END);
        }
        self.stream
            .write_all(&call)
            .expect("the call can be written");
        let reply = next_message(&mut self.stream);
        if streams(action, ParamType::FileOut) && is_success(&reply) {
            assert_eq!(
                next_message(&mut self.stream),
                END,
                "{}: the end of the file",
                fixture.action
            );
        }
        (
            reply,
            self.expected
                .lock()
                .expect("no test panicked")
                .called
                .take(),
        )
    }

    fn stop(self) {
        drop(self.stream);
        assert!(
            self.server.join().expect("the server does not panic"),
            "the server ends when the channel closes"
        );
    }
}

/// What the status word of a reply says.
fn is_success(reply: &[u8]) -> bool {
    reply[40..44] == [0; 4]
}

/// What the handler should get.
fn arguments(fixture: &Fixture) -> Vec<String> {
    let options = (0..fixture.options.len())
        .map(|bit| option(fixture, bit).map_or("-".to_owned(), Value::dump));
    fixture
        .params
        .iter()
        .map(|(_, value)| value.dump())
        .chain(options)
        .collect()
}

#[test]
fn the_stubs_read_calls_and_write_replies() {
    let model = model();
    let actions = actions(&model);
    let mut served = Served::start();
    for fixture in fixtures(&model) {
        let action = actions[fixture.action.as_str()];
        // What has no handler refuses every variant in the same way.
        if action.pending && fixture.variant != Variant::Typical {
            continue;
        }
        let what = format!("{} ({:?})", fixture.action, fixture.variant);
        let (reply, called) = served.call(&fixture, action, fixture.bits, &fixture.call_body());
        if action.pending {
            assert!(!is_success(&reply), "{what}: what has no handler");
            assert_eq!(
                reply[48..55],
                *b"ENOTSUP",
                "{what}: the errno of what has no handler"
            );
            continue;
        }
        let wanted = message(fixture.number, SERIAL, true, 0, 0, &fixture.reply_body());
        assert_eq!(
            hexadecimal(&reply),
            hexadecimal(&wanted),
            "{what}: the reply"
        );
        assert_eq!(
            called,
            Some((fixture.action.clone(), arguments(&fixture))),
            "{what}: the arguments"
        );
    }
    served.stop();
}

/// Clients that are older or newer than the daemon know fewer or more options than it does.
#[test]
fn other_versions_of_the_options_are_understood() {
    let model = model();
    let actions = actions(&model);
    let mut served = Served::start();
    let mut count = 0;
    for fixture in fixtures(&model) {
        let action = actions[fixture.action.as_str()];
        if action.pending || fixture.variant != Variant::Smallest {
            continue;
        }
        let what = &fixture.action;
        let called = Some((fixture.action.clone(), arguments(&fixture)));
        for known in 0..=fixture.options.len() {
            let mut older = fixture.clone();
            older.options.truncate(known);
            assert_eq!(
                served.call(&fixture, action, 0, &older.call_body()).1,
                called,
                "{what}: {known} options"
            );
            count += 1;
        }
        // A newer client's option that is not set is only a value at the end.
        let mut newer = fixture.call_body();
        newer.extend([0; 4]);
        assert_eq!(
            served.call(&fixture, action, 0, &newer).1,
            called,
            "{what}: one option more"
        );

        let unknown = 1 << fixture.options.len();
        let (reply, called) = served.call(&fixture, action, unknown, &newer);
        assert!(
            !is_success(&reply) && called.is_none(),
            "{what}: an option that is not known"
        );
        assert_eq!(
            reply[48..54],
            *b"EINVAL",
            "{what}: an option that is not known"
        );
    }
    assert!(count > 100, "{count} calls are too few to have been all");
    served.stop();
}

#[test]
fn a_body_that_ends_early_is_an_error_and_no_more() {
    let model = model();
    let actions = actions(&model);
    let mut served = Served::start();
    for fixture in fixtures(&model) {
        let action = actions[fixture.action.as_str()];
        if action.pending || fixture.variant != Variant::Typical || fixture.params.is_empty() {
            continue;
        }
        let mut params = fixture.clone();
        params.options.clear();
        let body = params.call_body();
        for end in (0..body.len()).step_by(4) {
            let (reply, called) = served.call(&fixture, action, 0, &body[..end]);
            assert!(
                !is_success(&reply),
                "{}: {end} of {} bytes",
                fixture.action,
                body.len()
            );
            assert_eq!(
                reply[48..54],
                *b"EINVAL",
                "{}: {end} of {} bytes",
                fixture.action,
                body.len()
            );
            assert!(
                called.is_none(),
                "{}: called with {end} of {} bytes",
                fixture.action,
                body.len()
            );
        }
    }
    served.stop();
}
