//! Files to the library.

use std::io::Write;

use conformance::Direct;
use conformance::support::raw::{self, Answer, string};
use protocol::wire::{CANCEL_FLAG, CHUNK_MAX};
use protocol::xdr::Decoder;

use super::call;

/// Makes a file of this size without contents.
fn large(direct: &mut Direct, size: i64) {
    direct.touch("/large").expect("touch");
    direct.truncate_size("/large", size).expect("truncate_size");
}

/// One chunk: whether it cancels, and how much data it has.
fn chunk(bytes: &[u8]) -> (bool, usize) {
    let mut input = Decoder::new(bytes);
    let cancel = input.bool().expect("cancel");
    let data = input.opaque().expect("data");
    assert!(input.is_empty() && data.len() <= CHUNK_MAX);
    (cancel, data.len())
}

#[test]
fn the_reply_comes_first_and_an_empty_chunk_last() {
    let mut direct = Direct::mounted();
    direct
        .internal_write("/file", &[9; CHUNK_MAX + 1])
        .expect("write");
    let header = call("download");
    let stream = direct.stream();
    stream
        .write_all(&raw::message(&header, &string(b"/file")))
        .expect("send");
    assert_eq!(raw::answer(stream, &header), Answer::Body(Vec::new()));
    let mut sizes = Vec::new();
    loop {
        let (cancel, len) = chunk(&raw::receive(stream));
        assert!(!cancel);
        if len == 0 {
            break;
        }
        sizes.push(len);
    }
    assert_eq!(sizes.iter().sum::<usize>(), CHUNK_MAX + 1);
    direct.ping_daemon().expect("the connection goes on");
}

#[test]
fn a_cancel_is_noticed_promptly_and_the_next_call_works() {
    // What may still come: what fits into the socket, and a write or two.
    const PROMPT: usize = 2 << 20;
    let mut direct = Direct::mounted();
    large(&mut direct, 8 << 30);
    let header = call("download");
    for before in [0, 1, 100] {
        let stream = direct.stream();
        stream
            .write_all(&raw::message(&header, &string(b"/large")))
            .expect("send");
        assert_eq!(raw::answer(stream, &header), Answer::Body(Vec::new()));
        for _ in 0..before {
            assert!(!chunk(&raw::receive(stream)).0);
        }
        stream.write_all(&CANCEL_FLAG.to_be_bytes()).expect("send");
        let mut after = 0;
        loop {
            let (cancel, len) = chunk(&raw::receive(stream));
            if cancel {
                break;
            }
            assert_ne!(len, 0, "the end came instead of a cancelled chunk");
            after += len;
            assert!(after < PROMPT, "{after} bytes came after the cancel");
        }
        direct.ping_daemon().expect("the connection goes on");
    }
}

#[test]
fn a_cancel_that_comes_too_late_is_passed_over() {
    let mut direct = Direct::mounted();
    direct.internal_write("/file", b"small").expect("write");
    let header = call("download");
    let stream = direct.stream();
    let mut bytes = raw::message(&header, &string(b"/file"));
    bytes.extend(CANCEL_FLAG.to_be_bytes());
    stream.write_all(&bytes).expect("send");
    assert_eq!(raw::answer(stream, &header), Answer::Body(Vec::new()));
    // Whether it is noticed is a matter of timing; the stream ends either way.
    loop {
        let (cancel, len) = chunk(&raw::receive(stream));
        if cancel || len == 0 {
            break;
        }
    }
    direct.ping_daemon().expect("the connection goes on");
}

#[test]
fn a_download_that_fails_at_once_is_an_ordinary_error() {
    let mut direct = Direct::mounted();
    let error = direct
        .download("/missing", &mut Vec::new())
        .expect_err("no file");
    assert_eq!(error.errno(), "ENOENT");
    let error = direct
        .download("/lost+found", &mut Vec::new())
        .expect_err("a directory");
    assert_eq!(error.errno(), "EISDIR");
    direct.ping_daemon().expect("the connection goes on");
}
