//! Files from the library.

use std::io::Write;

use conformance::support::raw::{self, Answer, string};
use conformance::{ClientError, Direct};
use protocol::wire::{CANCEL_FLAG, CHUNK_MAX};

use super::call;

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[test]
fn files_of_every_interesting_size_arrive_whole() {
    let mut direct = Direct::mounted();
    for len in [
        0,
        1,
        3,
        4,
        CHUNK_MAX - 1,
        CHUNK_MAX,
        CHUNK_MAX + 1,
        300_001,
        5 << 20,
    ] {
        let data = sample(len);
        direct.upload(&mut &data[..], "/file").expect("upload");
        let mut back = Vec::new();
        direct.download("/file", &mut back).expect("download");
        assert!(back == data, "{len} bytes came back otherwise");
    }
}

#[test]
fn chunks_of_any_size_are_taken() {
    let mut direct = Direct::mounted();
    let header = call("upload");
    let data = sample(10_000);
    let mut bytes = raw::message(&header, &string(b"/file"));
    let (mut rest, mut size) = (&data[..], 1);
    while !rest.is_empty() {
        let (part, tail) = rest.split_at(size.min(rest.len()));
        bytes.extend(raw::chunk(false, part));
        rest = tail;
        size = size * 3 % 1009;
    }
    bytes.extend(raw::chunk(false, &[]));
    direct.stream().write_all(&bytes).expect("send");
    assert_eq!(
        raw::answer(direct.stream(), &header),
        Answer::Body(Vec::new())
    );
    assert_eq!(direct.pread("/file", 20_000, 0).expect("pread"), data);
}

#[test]
fn a_failing_call_tells_the_library_to_stop_and_drains() {
    let mut direct = Direct::mounted();
    let header = call("upload");
    let stream = direct.stream();
    let mut bytes = raw::message(&header, &string(b"/no/such/directory"));
    bytes.extend(raw::chunk(false, &sample(CHUNK_MAX)));
    stream.write_all(&bytes).expect("send");
    assert_eq!(raw::word(stream), CANCEL_FLAG);
    // The library sends what it has begun, then gives up as it was asked to.
    stream
        .write_all(&raw::chunk(false, &sample(100)))
        .expect("send");
    stream.write_all(&raw::chunk(true, &[])).expect("send");
    let Answer::Error(errno, message) = raw::answer(stream, &header) else {
        panic!("success")
    };
    assert_eq!(errno, "ENOENT");
    assert!(message.contains("/no/such/directory"), "{message}");
    direct.ping_daemon().expect("the connection goes on");
}

#[test]
fn a_failing_call_copes_with_a_library_that_sends_all_the_same() {
    let mut direct = Direct::mounted();
    for len in [0, 10, 3 << 20] {
        let error = direct.upload(&mut &sample(len)[..], "/no/such/directory");
        assert_eq!(error.expect_err("no directory").errno(), "ENOENT");
        direct.ping_daemon().expect("the connection goes on");
    }
}

#[test]
fn a_call_that_fails_before_its_handler_drains_too() {
    // Nothing is mounted, so the path is refused while decoding.
    let mut direct = Direct::start(&[]);
    let error = direct
        .upload(&mut &sample(1 << 20)[..], "/file")
        .expect_err("not mounted");
    assert!(matches!(error, ClientError::Daemon { .. }), "{error}");
    direct.ping_daemon().expect("the connection goes on");
}

#[test]
fn a_library_that_gives_up_gets_an_error_and_the_next_call_works() {
    let mut direct = Direct::mounted();
    let header = call("upload");
    for chunks in [0, 1, 100] {
        let mut bytes = raw::message(&header, &string(b"/file"));
        for _ in 0..chunks {
            bytes.extend(raw::chunk(false, &sample(CHUNK_MAX)));
        }
        bytes.extend(raw::chunk(true, &[]));
        direct.stream().write_all(&bytes).expect("send");
        let answer = raw::answer(direct.stream(), &header);
        assert!(answer.message().contains("cancel"), "{answer:?}");
        direct.ping_daemon().expect("the connection goes on");
    }
}

#[test]
fn a_full_filesystem_is_an_error_and_the_next_call_works() {
    let mut direct = Direct::mounted();
    let error = direct
        .upload(&mut &sample(80 << 20)[..], "/file")
        .expect_err("full");
    assert_eq!(error.errno(), "ENOSPC");
    direct.ping_daemon().expect("the connection goes on");
}
