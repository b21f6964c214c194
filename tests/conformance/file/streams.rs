//! Streams that end before their time, and calls that fail: neither leaves a
//! process or an open file behind, and the next call works.

use std::io::Write;

use conformance::Direct;
use conformance::support::raw::{self, Answer, chunk, string};
use protocol::api::{CompressOutOptions, MksquashfsOptions, TarInOptions, TarOutOptions};
use protocol::wire::{CANCEL_FLAG, Header};
use protocol::xdr::Decoder;

use super::traces::Traces;

/// What may still come after a cancel: what fits into the socket, and a write or
/// two.
const PROMPT: usize = 2 << 20;

/// Chunks that are received before a cancel.
const RECEIVED: usize = 3;

/// Chunks that are sent before a cancel.
const SENT: usize = 40;

/// Bytes that no program makes shorter.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn header(name: &str) -> Header {
    let action = protocol::api::ACTIONS
        .iter()
        .find(|action| action.name == name);
    Header::call(action.expect("an action").number, 7)
}

fn int(number: i32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// The options of tar_out and tar_in, none of which is given.
fn no_tar_options(flags: usize) -> Vec<u8> {
    [string(b""), vec![0; 4 * flags]].concat()
}

/// A guest whose names, and whose content, are more than fits into a socket.
fn large_guest() -> Direct {
    let mut direct = Direct::mounted();
    let long = format!("/tree/{}", "n".repeat(200));
    direct.mkdir_p(&long).expect("mkdir_p");
    direct.fill_dir(&long, 9000).expect("fill_dir");
    direct
        .upload(&mut noise(8 << 20).as_slice(), "/tree/noise")
        .expect("upload");
    direct
}

/// Takes a few chunks, asks to stop, and takes what still comes.
fn cancel_download(direct: &mut Direct, name: &str, body: &[u8]) {
    let call = header(name);
    let stream = direct.stream();
    stream
        .write_all(&raw::message(&call, body))
        .expect("send the call");
    assert_eq!(
        raw::answer(stream, &call),
        Answer::Body(Vec::new()),
        "{name}"
    );
    let mut received = 0;
    let mut after = 0;
    loop {
        let bytes = raw::receive(stream);
        let mut input = Decoder::new(&bytes);
        let cancelled = input.bool().expect("cancel");
        let len = input.opaque().expect("data").len();
        if cancelled {
            break;
        }
        assert_ne!(len, 0, "{name}: the end came instead of a cancelled chunk");
        received += 1;
        if received == RECEIVED {
            stream
                .write_all(&CANCEL_FLAG.to_be_bytes())
                .expect("cancel");
        }
        if received > RECEIVED {
            after += len;
            assert!(
                after < PROMPT,
                "{name}: {after} bytes came after the cancel"
            );
        }
    }
}

#[test]
fn a_cancelled_download_leaves_nothing_behind() {
    let mut direct = large_guest();
    let tree = string(b"/tree");
    let gzip = string(b"gzip");
    let calls = [
        ("find0", tree.clone()),
        ("checksums_out", [string(b"md5"), tree.clone()].concat()),
        ("tar_out", [tree.clone(), no_tar_options(5)].concat()),
        ("tgz_out", tree.clone()),
        ("txz_out", tree.clone()),
        ("cpio_out", [tree.clone(), string(b"")].concat()),
        ("mksquashfs", [tree, string(b""), int(0)].concat()),
        (
            "compress_out",
            [gzip.clone(), string(b"/tree/noise"), int(0)].concat(),
        ),
        (
            "compress_device_out",
            [gzip, string(b"/dev/sda"), int(0)].concat(),
        ),
    ];
    let before = Traces::of(&direct);
    for (name, body) in calls {
        cancel_download(&mut direct, name, &body);
        direct.ping_daemon().expect("the connection goes on");
        assert_eq!(Traces::of(&direct), before, "{name}");
    }
}

#[test]
fn a_cancelled_upload_leaves_nothing_behind() {
    let mut direct = Direct::mounted();
    direct
        .upload(&mut noise(1 << 20).as_slice(), "/noise")
        .expect("upload");
    direct.mkdir("/in").expect("mkdir");
    let directory = string(b"/in");
    let mut archives = Vec::new();
    for compress in [None, Some("gzip"), Some("xz")] {
        let mut archive = Vec::new();
        let options = TarOutOptions {
            compress,
            ..TarOutOptions::default()
        };
        direct
            .tar_out("/", &mut archive, &options)
            .expect("tar_out");
        archives.push(archive);
    }
    let calls = [
        ("tar_in", [directory.clone(), no_tar_options(4)].concat()),
        ("tgz_in", directory.clone()),
        ("txz_in", directory),
    ];
    let before = Traces::of(&direct);
    for ((name, body), archive) in calls.into_iter().zip(&archives) {
        let call = header(name);
        let mut bytes = raw::message(&call, &body);
        for data in archive.chunks(8 << 10).take(SENT) {
            bytes.extend(chunk(false, data));
        }
        bytes.extend(chunk(true, b""));
        direct.stream().write_all(&bytes).expect("send");
        let answer = raw::answer(direct.stream(), &call);
        assert!(matches!(answer, Answer::Error(..)), "{name}: {answer:?}");
        direct.ping_daemon().expect("the connection goes on");
        assert_eq!(Traces::of(&direct), before, "{name}");
        direct.rm_rf("/in").expect("rm_rf");
        direct.mkdir("/in").expect("mkdir");
    }
}

#[test]
fn calls_that_fail_leave_nothing_behind() {
    let mut direct = Direct::mounted();
    direct.mkdir("/d").expect("mkdir");
    direct.internal_write("/f", b"text\n").expect("write");
    let mut gz = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
    gz.extend(noise(1000));
    direct.internal_write("/bad.gz", &gz).expect("write");
    let gzip = TarInOptions {
        compress: Some("gzip"),
        ..TarInOptions::default()
    };
    let xz = TarOutOptions {
        compress: Some("xz"),
        ..TarOutOptions::default()
    };
    let level = CompressOutOptions { level: Some(99) };
    let squash = MksquashfsOptions {
        compress: Some("nonsense"),
        ..MksquashfsOptions::default()
    };
    let before = Traces::of(&direct);
    for _ in 0..20 {
        let mut out = Vec::new();
        assert!(direct.grep("[", "/f", &Default::default()).is_err());
        assert!(direct.zgrep("x", "/d").is_err());
        assert!(direct.initrd_list("/bad.gz").is_err());
        assert!(direct.initrd_cat("/bad.gz", "x").is_err());
        assert!(direct.tar_in(&mut gz.as_slice(), "/d", &gzip).is_err());
        assert!(direct.tar_in(&mut &b"text"[..], "/d", &gzip).is_err());
        assert!(
            direct
                .tar_in(&mut gz.as_slice(), "/d", &Default::default())
                .is_err()
        );
        assert!(direct.tar_out("/f", &mut out, &xz).is_err());
        assert!(direct.compress_out("gzip", "/f", &mut out, &level).is_err());
        assert!(direct.mksquashfs("/d", &mut out, &squash).is_err());
        assert!(
            direct
                .cpio_out("/f", &mut out, &Default::default())
                .is_err()
        );
        assert!(direct.checksums_out("md5", "/f", &mut out).is_err());
        assert!(direct.find0("/f", &mut out).is_err());
        assert!(direct.cp_a("/d", "/d/e").is_err());
        assert!(
            direct
                .copy_file_to_file("/f", "/f", &Default::default())
                .is_err()
        );
        assert!(direct.equal("/f", "/d").is_err());
    }
    assert_eq!(Traces::of(&direct), before);
}
