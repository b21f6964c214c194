//! Headers that are not as they must be: an error each, and the next call works.

use conformance::Direct;
use conformance::support::raw;
use protocol::wire::{Header, PROGRAM, PROTOCOL_VERSION};

/// `ping_daemon`, which has neither arguments nor a result.
const PING: u32 = 92;

/// The serial numbers in these tests.
const SERIAL: u32 = 7;

fn refused(header: &Header, word: &str) {
    use std::io::Write;
    let mut direct = Direct::start(&[]);
    let stream = direct.stream();
    stream.write_all(&raw::message(header, &[])).expect("send");
    let answer = raw::answer(stream, header);
    assert!(
        answer.message().contains(word),
        "{answer:?} does not say {word}"
    );
    direct.ping_daemon().expect("the connection goes on");
    assert_eq!(direct.hang_up().code, 0);
}

#[test]
fn a_wrong_program_is_an_error() {
    refused(
        &Header {
            program: PROGRAM + 1,
            ..Header::call(PING, SERIAL)
        },
        "program",
    );
}

#[test]
fn a_wrong_version_is_an_error() {
    let version = PROTOCOL_VERSION + 1;
    refused(
        &Header {
            version,
            ..Header::call(PING, SERIAL)
        },
        "version",
    );
}

#[test]
fn a_wrong_direction_is_an_error() {
    refused(
        &Header {
            direction: 1,
            ..Header::call(PING, SERIAL)
        },
        "direction",
    );
}

#[test]
fn a_wrong_status_is_an_error() {
    refused(
        &Header {
            status: 1,
            ..Header::call(PING, SERIAL)
        },
        "status",
    );
}

#[test]
fn an_unknown_procedure_is_an_error() {
    for procedure in [0, 9999, u32::MAX] {
        refused(&Header::call(procedure, SERIAL), "procedure");
    }
}
