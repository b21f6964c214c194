//! Arguments that are not as they must be, and those of older clients.

use conformance::support::raw::{self, Answer, string};
use conformance::{Direct, DiskSpec};
use protocol::wire::Header;

use super::{call, send};

fn int(value: i32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

#[test]
fn a_truncated_body_is_an_error_at_any_length() {
    let mut direct = Direct::mounted();
    let whole = [string(b"/file"), string(b"contents"), int(0), int(0)].concat();
    let header = call("pwrite");
    for len in 0..whole.len() {
        let answer = send(direct.stream(), &header, &whole[..len]);
        let Answer::Error(errno, message) = answer else {
            panic!("{len} bytes are enough")
        };
        assert_eq!(errno, "EINVAL");
        assert!(message.contains("ends too early"), "{message}");
    }
    direct.touch("/file").expect("touch");
    assert_eq!(send(direct.stream(), &header, &whole), Answer::Body(int(8)));
}

#[test]
fn a_string_that_says_it_is_longer_than_the_message_is_an_error() {
    let mut direct = Direct::mounted();
    for len in [9u32, 4 << 20, 0x7fff_ffff, u32::MAX] {
        let body = [&len.to_be_bytes()[..], b"/file\0\0\0"].concat();
        let answer = send(direct.stream(), &call("touch"), &body);
        assert!(answer.message().contains("ends too early"), "{answer:?}");
    }
    direct.ping_daemon().expect("the connection goes on");
}

#[test]
fn a_list_that_says_it_is_longer_than_the_message_is_an_error() {
    let mut direct = Direct::start(&[]);
    for len in [2u32, 1 << 20, 0x4000_0000, u32::MAX] {
        let body = [&len.to_be_bytes()[..], &string(b"word")].concat();
        let answer = send(direct.stream(), &call("echo_daemon"), &body);
        assert!(answer.message().contains("ends too early"), "{answer:?}");
    }
    direct.ping_daemon().expect("the connection goes on");
}

#[test]
fn a_nul_in_a_string_is_an_error() {
    let mut direct = Direct::mounted();
    let answer = send(direct.stream(), &call("touch"), &string(b"/a\0b"));
    assert!(answer.message().contains("NUL"), "{answer:?}");
    assert!(
        !direct.exists("/a").expect("exists"),
        "the part before the NUL was used"
    );
}

#[test]
fn a_nul_in_a_buffer_is_data() {
    let mut direct = Direct::mounted();
    direct.internal_write("/file", b"a\0b").expect("write");
    assert_eq!(direct.pread("/file", 10, 0).expect("pread"), b"a\0b");
}

#[test]
fn text_must_be_utf8_and_names_need_not_be() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 16 << 20)]);
    direct.mount("/dev/sda", "/").expect("mount");
    let body = [string(b"\xff\xfe"), string(b"/dev/sda")].concat();
    let answer = send(direct.stream(), &call("mkfs"), &body);
    assert!(answer.message().contains("UTF-8"), "{answer:?}");
    direct.touch(b"/\xff\xfe").expect("touch");
    assert!(direct.exists(b"/\xff\xfe").expect("exists"));
}

#[test]
fn a_boolean_is_0_or_1() {
    let mut direct = Direct::mounted();
    for value in [2, -1] {
        let body = [string(b"/"), int(value)].concat();
        let header = Header {
            options: 1,
            ..call("is_dir")
        };
        let answer = send(direct.stream(), &header, &body);
        assert!(answer.message().contains("boolean"), "{answer:?}");
    }
}

#[test]
fn options_at_the_end_may_be_missing_when_their_bits_are_not_set() {
    // blocksize, features, inode, sectorsize, label: clients of every age end
    // the message after another of them.
    let arguments = [string(b"ext4"), string(b"/dev/sda")].concat();
    let options = [int(4096), string(b""), int(0), int(0), string(b"")];
    for count in 0..=options.len() {
        let mut direct = Direct::start(&[DiskSpec::Blank(16 << 20)]);
        let body = [arguments.clone(), options[..count].concat()].concat();
        let bits = u64::from(count > 0);
        let answer = send(
            direct.stream(),
            &Header {
                options: bits,
                ..call("mkfs")
            },
            &body,
        );
        assert_eq!(answer, Answer::Body(Vec::new()), "{count} options sent");
        assert_eq!(direct.vfs_type("/dev/sda").expect("vfs_type"), "ext4");
    }
}

#[test]
fn an_option_whose_bit_is_set_may_not_be_missing() {
    let mut direct = Direct::start(&[DiskSpec::Blank(16 << 20)]);
    let body = [string(b"ext4"), string(b"/dev/sda"), int(4096)].concat();
    let header = Header {
        options: 0b11,
        ..call("mkfs")
    };
    let answer = send(direct.stream(), &header, &body);
    assert!(answer.message().contains("features"), "{answer:?}");
    assert!(answer.message().contains("ends too early"), "{answer:?}");
}

#[test]
fn the_shorter_calls_of_a_1_48_client_are_understood() {
    let mut direct = Direct::mounted();
    direct.mkdir("/in").expect("mkdir");
    // tar_in before it had keepdirlink.
    let header = call("tar_in");
    let body = [string(b"/in"), string(b""), int(0), int(0), int(0)].concat();
    let mut bytes = raw::message(&header, &body);
    bytes.extend(raw::chunk(false, &[0; 1024]));
    bytes.extend(raw::chunk(false, &[]));
    std::io::Write::write_all(direct.stream(), &bytes).expect("send");
    let answer = raw::answer(direct.stream(), &header);
    assert!(understood(&answer), "{answer:?}");
    // e2fsck before it had forceno: correct, forceall.
    let body = [string(b"/dev/sda"), int(0), int(0)].concat();
    let answer = send(direct.stream(), &call("e2fsck"), &body);
    assert!(understood(&answer), "{answer:?}");
    // cryptsetup_open before it had cipher: readonly, crypttype.
    let body = [
        string(b"/dev/sda"),
        string(b"key"),
        string(b"name"),
        int(0),
        string(b""),
    ]
    .concat();
    let answer = send(direct.stream(), &call("cryptsetup_open"), &body);
    assert!(understood(&answer), "{answer:?}");
}

/// Whether the arguments were decoded, whatever came of the call.
fn understood(answer: &Answer) -> bool {
    match answer {
        Answer::Body(_) => true,
        Answer::Error(_, message) => {
            !message.contains("ends too early") && !message.contains("argument")
        }
    }
}

#[test]
fn what_follows_the_last_known_option_is_of_no_interest() {
    // A newer client sends options that are not set, too.
    let mut direct = Direct::start(&[DiskSpec::Blank(16 << 20)]);
    let options = [
        int(0),
        string(b""),
        int(0),
        int(0),
        string(b""),
        string(b"newer"),
    ]
    .concat();
    let body = [string(b"ext4"), string(b"/dev/sda"), options].concat();
    let answer = send(direct.stream(), &call("mkfs"), &body);
    assert_eq!(answer, Answer::Body(Vec::new()));
}
