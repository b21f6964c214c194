//! Replies that are too large, errors that are too long, and progress.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use conformance::Direct;
use conformance::support::raw::{self, string};
use protocol::wire::{CHUNK_MAX, ERROR_LEN, Header, MESSAGE_MAX, PROGRESS_FLAG, ProgressMessage};
use protocol::xdr::Decoder;

use super::call;

#[test]
fn a_reply_too_large_for_a_message_is_an_error_and_the_connection_goes_on() {
    let mut direct = Direct::mounted();
    let line = vec![b'x'; MESSAGE_MAX - 100];
    direct.internal_write("/file", &line).expect("write");
    direct
        .internal_write_append("/file", &line)
        .expect("append");
    // `head` sends a list of the first lines, and the first line is everything.
    let error = direct.head("/file").expect_err("8 MiB");
    assert_eq!(error.errno(), "E2BIG", "{error}");
    direct.ping_daemon().expect("the connection goes on");
    // A little below the limit is no error.
    let almost = MESSAGE_MAX - 40 - 4 - 8;
    let read = direct.pread("/file", almost as i32, 0).expect("pread");
    assert_eq!(read.len(), almost);
}

#[test]
fn an_error_message_over_its_limit_is_cut() {
    let mut direct = Direct::start(&[]);
    for (asked, sent) in [
        (10, 10),
        (ERROR_LEN, ERROR_LEN),
        (ERROR_LEN + 1000, ERROR_LEN),
    ] {
        let error = direct
            .debug("error", &[asked.to_string().as_bytes()])
            .expect_err("error");
        assert_eq!(error.errno(), "EROFS");
        // The library's own buffer has room for the final NUL in its limit.
        let len = error.to_string().len();
        assert!(len == sent || len == sent - 1, "{len} bytes of {asked}");
    }
    direct.ping_daemon().expect("the connection goes on");
}

#[test]
fn progress_comes_after_two_seconds_then_thrice_a_second_and_at_the_end() {
    const CHUNKS: u64 = 80;
    let mut direct = Direct::mounted();
    let total = CHUNKS * CHUNK_MAX as u64;
    let header = Header {
        progress_hint: total,
        ..call("upload")
    };
    let mut writer = direct.stream().try_clone().expect("clone");
    let start = Instant::now();
    writer
        .write_all(&raw::message(&header, &string(b"/file")))
        .expect("send");
    let sender = std::thread::spawn(move || {
        for _ in 0..CHUNKS {
            writer
                .write_all(&raw::chunk(false, &[1; CHUNK_MAX]))
                .expect("send");
            std::thread::sleep(Duration::from_millis(50));
        }
        writer.write_all(&raw::chunk(false, &[])).expect("send");
    });
    let mut seen: Vec<(Duration, u64)> = Vec::new();
    let stream = direct.stream();
    let reply = loop {
        let word = raw::word(stream);
        if word != PROGRESS_FLAG {
            break word;
        }
        let mut bytes = [0; 24];
        stream.read_exact(&mut bytes).expect("progress");
        let message = ProgressMessage::decode(&mut Decoder::new(&bytes)).expect("progress");
        assert_eq!(
            (message.procedure, message.serial),
            (header.procedure, header.serial)
        );
        assert_eq!(message.total, total);
        seen.push((start.elapsed(), message.position));
    };
    stream
        .read_exact(&mut vec![0; reply as usize])
        .expect("reply");
    let took = start.elapsed();
    sender.join().expect("sender");

    let (first, _) = *seen.first().expect("no progress in four seconds");
    assert!(
        first >= Duration::from_millis(1900),
        "the first after {first:?}"
    );
    let (_, last) = *seen.last().expect("last");
    assert_eq!(last, total, "the end was not announced");
    assert!(seen.is_sorted_by_key(|(_, position)| *position));
    // Between two are at least 0.33 s of the daemon's time, which is no more than ours.
    let more = took.saturating_sub(Duration::from_secs(2)).as_millis() / 330;
    let allowed = 2 + more as u64;
    assert!(
        seen.len() as u64 <= allowed,
        "{} messages in {took:?}",
        seen.len()
    );
    assert!(seen.len() >= 3, "{} messages in {took:?}", seen.len());
}

#[test]
fn a_short_call_sends_no_progress() {
    let mut direct = Direct::mounted();
    direct.progress_hint = 1 << 20;
    let start = Instant::now();
    direct
        .upload(&mut &vec![1; 1 << 20][..], "/file")
        .expect("upload");
    // On a busy machine it may have been a long one.
    let is_short = start.elapsed() < Duration::from_secs(2);
    assert!(
        !is_short || direct.progress.is_empty(),
        "{:?}",
        direct.progress
    );
}
