//! Headers that are not as they must be: an error each, and the next call works.

use conformance::{Direct, DiskSpec};
use protocol::wire::{Header, PROGRAM, PROTOCOL_VERSION};

use super::{SERIAL, call, send};

/// Sends the header with this body, and expects an error that says `word`.
fn refused_with(header: &Header, body: &[u8], word: &str) {
    let mut direct = Direct::start(&[DiskSpec::Blank(1 << 20)]);
    let answer = send(direct.stream(), header, body);
    let message = answer.message();
    assert!(message.contains(word), "{message:?} does not say {word}");
    direct.ping_daemon().expect("the connection goes on");
    assert_eq!(direct.hang_up().code, 0);
}

fn refused(header: &Header, word: &str) {
    refused_with(header, &[], word);
}

#[test]
fn a_wrong_program_is_an_error() {
    refused(
        &Header {
            program: PROGRAM + 1,
            ..call("ping_daemon")
        },
        "program",
    );
}

#[test]
fn a_wrong_version_is_an_error() {
    for version in [0, PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1, u32::MAX] {
        refused(
            &Header {
                version,
                ..call("ping_daemon")
            },
            "version",
        );
    }
}

#[test]
fn a_wrong_direction_is_an_error() {
    for direction in [1, -1, i32::MAX] {
        refused(
            &Header {
                direction,
                ..call("ping_daemon")
            },
            "direction",
        );
    }
}

#[test]
fn a_wrong_status_is_an_error() {
    for status in [1, -1] {
        refused(
            &Header {
                status,
                ..call("ping_daemon")
            },
            "status",
        );
    }
}

#[test]
fn an_unknown_procedure_is_an_error() {
    for procedure in [0, 9999, u32::MAX] {
        refused(&Header::call(procedure, SERIAL), "unknown procedure");
    }
}

#[test]
fn an_option_of_an_action_without_options_is_an_error() {
    for bit in [0, 1, 63] {
        let header = Header {
            options: 1 << bit,
            ..call("ping_daemon")
        };
        refused(&header, &format!("unknown optional argument (bit {bit})"));
    }
}

#[test]
fn an_option_that_the_daemon_does_not_know_is_an_error_that_says_so() {
    let body = [
        conformance::support::raw::string(b"ext2"),
        conformance::support::raw::string(b"/dev/sda"),
    ]
    .concat();
    for bit in [5, 32, 63] {
        let header = Header {
            options: 1 << bit,
            ..call("mkfs")
        };
        refused_with(
            &header,
            &body,
            &format!("unknown optional argument (bit {bit})"),
        );
    }
}

#[test]
fn the_reply_repeats_the_serial_number() {
    let mut direct = Direct::start(&[]);
    for serial in [0, 1, u32::MAX] {
        let header = Header {
            serial,
            ..call("ping_daemon")
        };
        // The header of the reply is checked against the call's.
        send(direct.stream(), &header, &[]);
    }
}

#[test]
fn what_is_too_short_for_a_header_ends_the_daemon() {
    for len in [0, 1, 39] {
        let mut direct = Direct::start(&[]);
        let message = conformance::support::raw::framed(&vec![0; len]);
        std::io::Write::write_all(direct.stream(), &message).expect("send");
        let exit = direct.exit();
        assert_eq!(exit.code, 1, "{exit:?}");
        assert!(exit.stderr.contains("too short for its header"), "{exit:?}");
    }
}
