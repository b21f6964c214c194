//! Lost framing: the daemon ends, says why, and its exit status is not 0.

use std::io::{Read, Write};
use std::net::Shutdown;

use conformance::Direct;
use conformance::support::raw::{self, string};
use protocol::wire::{CANCEL_FLAG, CHUNK_MAX, LAUNCH_FLAG, MESSAGE_MAX};

use super::{call, send};

/// Sends the bytes and nothing more; the daemon must end and say this.
fn fatal(direct: &mut Direct, bytes: &[u8], word: &str) {
    direct.stream().write_all(bytes).expect("send");
    direct.stream().shutdown(Shutdown::Write).expect("shutdown");
    let exit = direct.exit();
    assert_eq!(exit.code, 1, "{exit:?}");
    let last = exit.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("guestfsd: ") && last.contains(word),
        "{exit:?}"
    );
}

#[test]
fn the_launch_flag_is_the_first_word() {
    // The client has checked it; it comes once.
    let mut direct = Direct::start(&[]);
    let stream = direct.stream();
    stream.shutdown(Shutdown::Write).expect("shutdown");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("read");
    assert_eq!(rest, b"", "something came after {LAUNCH_FLAG:#x}");
    assert_eq!(direct.exit().code, 0);
}

#[test]
fn an_over_long_length_word_ends_the_daemon() {
    for len in [MESSAGE_MAX as u32 + 1, 0x7fff_ffff, u32::MAX] {
        fatal(&mut Direct::start(&[]), &len.to_be_bytes(), "limit");
    }
}

#[test]
fn the_end_in_the_middle_of_a_message_ends_the_daemon() {
    let whole = raw::message(&call("ping_daemon"), &[]);
    for len in 1..whole.len() {
        fatal(
            &mut Direct::start(&[]),
            &whole[..len],
            "in the middle of a message",
        );
    }
}

#[test]
fn a_length_word_that_promises_all_that_is_allowed_costs_nothing() {
    let mut direct = Direct::start(&[]);
    let promise = [&(MESSAGE_MAX as u32).to_be_bytes()[..], b"little"].concat();
    fatal(&mut direct, &promise, "in the middle of a message");
}

#[test]
fn a_message_of_the_greatest_size_is_a_message() {
    let mut direct = Direct::mounted();
    let room = MESSAGE_MAX - 40 - string(b"/file").len() - 4;
    let content = vec![7; room];
    direct.internal_write("/file", &content).expect("write");
    assert_eq!(direct.filesize("/file").expect("filesize"), room as i64);
}

#[test]
fn a_cancel_flag_between_calls_is_passed_over() {
    // The library may ask to stop a download that has just ended.
    let mut direct = Direct::start(&[]);
    direct
        .stream()
        .write_all(&CANCEL_FLAG.to_be_bytes())
        .expect("send");
    send(direct.stream(), &call("ping_daemon"), &[]);
    assert_eq!(direct.hang_up().code, 0);
}

#[test]
fn a_chunk_that_is_too_long_ends_the_daemon() {
    let mut direct = Direct::mounted();
    let mut bytes = raw::message(&call("upload"), &string(b"/file"));
    bytes.extend(raw::chunk(false, &vec![0; CHUNK_MAX + 4]));
    fatal(&mut direct, &bytes, "chunk");
}

#[test]
fn a_chunk_with_more_data_than_it_is_long_ends_the_daemon() {
    let mut direct = Direct::mounted();
    let mut bytes = raw::message(&call("upload"), &string(b"/file"));
    bytes.extend(raw::framed(&[0, 0, 0, 0, 0, 0, 0x10, 0, 1, 2, 3, 4]));
    fatal(&mut direct, &bytes, "chunk");
}

#[test]
fn a_chunk_with_a_strange_cancel_word_ends_the_daemon() {
    let mut direct = Direct::mounted();
    let mut bytes = raw::message(&call("upload"), &string(b"/file"));
    bytes.extend(raw::framed(&[0, 0, 0, 2, 0, 0, 0, 4, 1, 2, 3, 4]));
    fatal(&mut direct, &bytes, "cancel");
}

#[test]
fn another_word_than_the_cancel_flag_during_a_download_ends_the_daemon() {
    let mut direct = Direct::mounted();
    direct.touch("/file").expect("touch");
    direct
        .truncate_size("/file", 1 << 30)
        .expect("truncate_size");
    let stream = direct.stream();
    let mut bytes = raw::message(&call("download"), &string(b"/file"));
    bytes.extend(raw::message(&call("ping_daemon"), &[]));
    stream.write_all(&bytes).expect("send");
    // The stream fills up unless it is read.
    let mut sink = Vec::new();
    let _ = stream.read_to_end(&mut sink);
    let exit = direct.exit();
    assert_eq!(exit.code, 1, "{exit:?}");
    assert!(
        exit.stderr.contains("while a file was being sent"),
        "{exit:?}"
    );
}
