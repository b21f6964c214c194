//! The wire protocol, byte by byte.

mod bodies;
mod departures;
mod downloads;
mod framing;
mod headers;
mod limits;
mod noise;
mod uploads;

use std::io::Write;
use std::os::unix::net::UnixStream;

use conformance::support::raw::{self, Answer};
use protocol::wire::Header;

/// The serial number of calls in these tests.
const SERIAL: u32 = 7;

/// The number of an action.
fn procedure(name: &str) -> u32 {
    let action = protocol::api::ACTIONS
        .iter()
        .find(|action| action.name == name);
    action.unwrap_or_else(|| panic!("no action {name}")).number
}

/// The header of a call.
fn call(name: &str) -> Header {
    Header::call(procedure(name), SERIAL)
}

/// Makes a call without files.
fn send(stream: &mut UnixStream, header: &Header, body: &[u8]) -> Answer {
    stream.write_all(&raw::message(header, body)).expect("send");
    raw::answer(stream, header)
}
