//! A client that goes away, at any byte.

use std::io::{Read, Write};
use std::net::Shutdown;

use conformance::support::raw::{self, string};
use conformance::{Direct, DiskSpec};

use super::call;

/// A session of every kind of call, and where in it the daemon is between two.
fn session() -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut between = vec![0];
    let mut part = |parts: &[Vec<u8>]| {
        bytes.extend(parts.concat());
        between.push(bytes.len());
    };
    part(&[raw::message(
        &call("mount"),
        &[string(b"/dev/sda"), string(b"/")].concat(),
    )]);
    part(&[
        raw::message(&call("upload"), &string(b"/f")),
        raw::chunk(false, b"some data"),
        raw::chunk(false, b"more"),
        raw::chunk(false, &[]),
    ]);
    part(&[raw::message(&call("ping_daemon"), &[])]);
    // Last: nothing but a cancellation may be sent while it runs.
    part(&[raw::message(&call("download"), &string(b"/f"))]);
    (bytes, between)
}

#[test]
fn the_daemon_ends_wherever_the_client_stops_sending() {
    let (bytes, between) = session();
    let download = bytes.len();
    let image = template();
    for len in 0..=bytes.len() {
        let mut direct = Direct::start(&[DiskSpec::Image(image.path().to_owned())]);
        let stream = direct.stream();
        stream.write_all(&bytes[..len]).expect("send");
        stream.shutdown(Shutdown::Write).expect("shutdown");
        let mut replies = Vec::new();
        stream.read_to_end(&mut replies).expect("the daemon's end");
        let exit = direct.exit();
        let expected = i32::from(!between.contains(&len));
        // A library that goes during a download may or may not get all of it.
        if len != download {
            assert_eq!(exit.code, expected, "after {len} bytes: {exit:?}");
        }
        if exit.code != 0 {
            let last = exit.stderr.lines().last().unwrap_or_default();
            assert!(
                last.contains("in the middle of a message"),
                "after {len} bytes: {exit:?}"
            );
        }
    }
}

#[test]
fn the_daemon_ends_wherever_the_client_closes_both_ways() {
    let (bytes, _) = session();
    let image = template();
    // Replies may find nobody, so the status depends on who was faster; but
    // there is one, it is an error's or none, and it does not take long.
    for len in (0..=bytes.len()).step_by(5) {
        let mut direct = Direct::start(&[DiskSpec::Image(image.path().to_owned())]);
        direct.stream().write_all(&bytes[..len]).expect("send");
        let exit = direct.hang_up();
        assert!(matches!(exit.code, 0 | 1), "after {len} bytes: {exit:?}");
        assert!(
            !exit.stderr.contains("panicked"),
            "after {len} bytes: {exit:?}"
        );
    }
}

#[test]
fn the_daemon_ends_when_the_client_goes_during_a_download() {
    let mut direct = Direct::mounted();
    direct.touch("/large").expect("touch");
    direct
        .truncate_size("/large", 8 << 30)
        .expect("truncate_size");
    let stream = direct.stream();
    stream
        .write_all(&raw::message(&call("download"), &string(b"/large")))
        .expect("send");
    stream.read_exact(&mut [0; 100_000]).expect("read");
    let exit = direct.hang_up();
    assert_eq!(exit.code, 1, "{exit:?}");
    assert!(
        exit.stderr
            .lines()
            .last()
            .unwrap_or_default()
            .starts_with("guestfsd: "),
        "{exit:?}"
    );
}

/// A small filesystem, made once: what one session leaves there does not
/// matter to the next.
fn template() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("tempfile");
    file.as_file().set_len(1 << 20).expect("size");
    let status = std::process::Command::new("/usr/sbin/mkfs.ext2")
        .args(["-q", "-F"])
        .arg(file.path())
        .status()
        .expect("mkfs");
    assert!(status.success());
    file
}
