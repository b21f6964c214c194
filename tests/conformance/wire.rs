//! Every message against the samples that codegen makes of the IDL: the
//! generated client writes the calls and reads the replies, the generated
//! stubs read the calls and write the replies.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codegen::emit::fixtures::{Fixture, Value, Variant, fixtures, hexadecimal};
use codegen::model::{Action, Model, ParamType};
use protocol::api::*;
use protocol::client::{Client, ClientError};
use protocol::{
    Device, DeviceNames, DeviceOrPath, Error, FileIn, FileOut, Filename, GuestPath, Host, Key,
    Mountable, MountableOrPath, Progress, Result, Sent, resolve, serve,
};

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

const SERIAL: u32 = 0x0012_3456;
const LAUNCH: [u8; 4] = [0xf5, 0xf5, 0x5f, 0xf5];
/// An end of file: a length of 8, not cancelled, no data.
const END: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];

fn model() -> Model {
    codegen::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../idl")).expect("the IDL is right")
}

fn actions(model: &Model) -> BTreeMap<&str, &Action> {
    let actions = model.modules.iter().flat_map(|module| &module.actions);
    actions
        .map(|action| (action.name.as_str(), action))
        .collect()
}

fn streams(action: &Action, ty: ParamType) -> bool {
    action.params.iter().any(|param| param.ty == ty)
}

/// A message with its length word: a header of 40 bytes, written out here by hand, and a body.
fn message(number: u32, serial: u32, reply: bool, bits: u64, status: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(
        u32::try_from(40 + body.len())
            .expect("a sample is small")
            .to_be_bytes(),
    );
    for word in [0x2000_f5f5, 4, number, u32::from(reply), serial, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend(bits.to_be_bytes());
    out.extend(status.to_be_bytes());
    out.extend(body);
    out
}

/// A value in the form of [`Value::dump`].
trait Show {
    fn show(&self) -> String;
}

macro_rules! show {
    ($($ty:ty => |$value:ident| $text:expr;)*) => {
        $(impl Show for $ty {
            fn show(&self) -> String {
                let $value = self;
                $text
            }
        })*
    };
}

show! {
    () => |_value| String::new();
    i32 => |value| value.to_string();
    u32 => |value| value.to_string();
    i64 => |value| value.to_string();
    u64 => |value| value.to_string();
    bool => |value| u8::from(*value).to_string();
    f32 => |value| format!("{:08x}", value.to_bits());
    [u8; 32] => |value| hexadecimal(value);
    &[u8] => |value| hexadecimal(value);
    Vec<u8> => |value| hexadecimal(value);
    &str => |value| hexadecimal(value.as_bytes());
    String => |value| hexadecimal(value.as_bytes());
    Key => |value| hexadecimal(value.as_bytes());
    GuestPath => |value| hexadecimal(value.as_bytes());
    Filename => |value| hexadecimal(value.as_bytes());
    Device => |value| hexadecimal(value.as_str().as_bytes());
    Mountable => |value| hexadecimal(&value.to_wire(value.device().as_str()));
    DeviceOrPath => |value| match value {
        DeviceOrPath::Device(device) => device.show(),
        DeviceOrPath::Path(path) => path.show(),
    };
    MountableOrPath => |value| match value {
        MountableOrPath::Mountable(mountable) => mountable.show(),
        MountableOrPath::Path(path) => path.show(),
    };
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> String {
        format!(
            "[{}]",
            self.iter().map(Show::show).collect::<Vec<_>>().join(",")
        )
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), Show::show)
    }
}

impl<K: Show, V: Show> Show for (K, V) {
    fn show(&self) -> String {
        format!("{},{}", self.0.show(), self.1.show())
    }
}

/// A Rust value made of a sample.
trait Sample {
    fn sample(value: &Value) -> Self;
}

macro_rules! sample {
    ($($ty:ty => $pattern:pat => $result:expr;)*) => {
        $(impl Sample for $ty {
            fn sample(value: &Value) -> Self {
                match value {
                    $pattern => $result,
                    other => panic!("{other:?} is no {}", stringify!($ty)),
                }
            }
        })*
    };
}

sample! {
    i32 => Value::Int(value) => *value;
    u32 => Value::UInt(value) => *value;
    i64 => Value::Hyper(value) => *value;
    u64 => Value::UHyper(value) => *value;
    bool => Value::Bool(value) => *value;
    f32 => Value::Float(value) => *value;
    [u8; 32] => Value::Fixed(value) => *value;
    Vec<u8> => Value::Bytes(value) => value.clone();
    String => Value::Bytes(value) => text_of(value).to_owned();
    Device => Value::Bytes(value) => Device::new(text_of(value));
    Mountable => Value::Bytes(value) => {
        resolve::mountable(&mut Handler::default(), value).expect("a sample is a mountable")
    };
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(value: &Value) -> Self {
        items(value).iter().map(Sample::sample).collect()
    }
}

impl<K: Sample, V: Sample> Sample for Vec<(K, V)> {
    fn sample(value: &Value) -> Self {
        items(value)
            .chunks_exact(2)
            .map(|pair| (K::sample(&pair[0]), V::sample(&pair[1])))
            .collect()
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::List(items) => items,
        other => panic!("{other:?} is no list"),
    }
}

fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    match value {
        Value::Struct(fields) => {
            let (_, value) = fields
                .iter()
                .find(|(field, _)| field == name)
                .expect("a sample has all fields");
            value
        }
        other => panic!("{other:?} is no structure"),
    }
}

fn character(value: &Value) -> u8 {
    match value {
        Value::Char(value) => *value,
        other => panic!("{other:?} is no character"),
    }
}

fn bytes(value: &Value) -> &[u8] {
    match value {
        Value::Bytes(value) => value,
        other => panic!("{other:?} is no string"),
    }
}

fn text(value: &Value) -> &str {
    text_of(bytes(value))
}

fn text_of(value: &[u8]) -> &str {
    std::str::from_utf8(value).expect("a sample of text is UTF-8")
}

fn optional(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Optional(value) => value.as_deref(),
        other => panic!("{other:?} is not optional"),
    }
}

fn strings(value: &Value) -> Vec<&[u8]> {
    items(value).iter().map(bytes).collect()
}

fn param<'a>(fixture: &'a Fixture, name: &str) -> &'a Value {
    let (_, value) = fixture
        .params
        .iter()
        .find(|(param, _)| param == name)
        .expect("a sample has all parameters");
    value
}

fn option(fixture: &Fixture, bit: usize) -> Option<&Value> {
    fixture.is_set(bit).then(|| &fixture.options[bit].1)
}

/// A channel whose other end has one reply ready for whatever is written.
struct Canned {
    written: Vec<u8>,
    number: u32,
    body: Vec<u8>,
    after: &'static [u8],
    reply: Option<Cursor<Vec<u8>>>,
    launched: bool,
}

impl Read for Canned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.launched {
            self.launched = true;
            return LAUNCH.as_slice().read(buffer);
        }
        let reply = self.reply.get_or_insert_with(|| {
            let serial = self
                .written
                .get(20..24)
                .and_then(|word| word.try_into().ok())
                .map(u32::from_be_bytes);
            let mut reply = message(
                self.number,
                serial.expect("a call has a serial"),
                true,
                0,
                0,
                &self.body,
            );
            reply.extend(self.after);
            Cursor::new(reply)
        });
        reply.read(buffer)
    }
}

impl Write for Canned {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.written.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_client_writes_calls_and_reads_replies() {
    let model = model();
    let actions = actions(&model);
    let mut count = 0;
    for fixture in fixtures(&model) {
        let action = actions[fixture.action.as_str()];
        let what = format!("{} ({:?})", fixture.action, fixture.variant);
        let mut client = Client::launch(Canned {
            written: Vec::new(),
            number: fixture.number,
            body: fixture.reply_body(),
            after: if streams(action, ParamType::FileOut) {
                &END
            } else {
                &[]
            },
            reply: None,
            launched: false,
        })
        .expect("the client starts");
        let result = call(&mut client, &fixture).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = fixture
            .result
            .as_ref()
            .map_or_else(String::new, |(_, value)| value.dump());
        assert_eq!(result, expected, "{what}: the reply");

        let written = client.into_stream().written;
        let serial = u32::from_be_bytes(written[20..24].try_into().expect("a call has a serial"));
        let mut expected = message(
            fixture.number,
            serial,
            false,
            fixture.bits,
            0,
            &fixture.call_body(),
        );
        if streams(action, ParamType::FileIn) {
            expected.extend(END);
        }
        assert_eq!(
            hexadecimal(&written),
            hexadecimal(&expected),
            "{what}: the call"
        );
        count += 1;
    }
    assert_eq!(count, actions.len() * 3);
}

/// What the handlers got, and what they are to give.
#[derive(Default)]
struct Expected {
    called: Option<(String, Vec<String>)>,
    result: Option<Value>,
}

/// Handles every action by noting its arguments.
#[derive(Default)]
struct Handler(Arc<Mutex<Expected>>);

impl Handler {
    fn called(&mut self, action: &str, arguments: &[String]) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        expected.called = Some((action.to_owned(), arguments.to_vec()));
    }

    fn result<T: Returned>(&self) -> T {
        let expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        T::returned(expected.result.as_ref())
    }
}

/// What a handler may return.
trait Returned {
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
        let server = std::thread::spawn(move || serve(daemon.into(), &mut handler, false).is_ok());
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
