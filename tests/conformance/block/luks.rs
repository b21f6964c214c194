//! Keys of every kind, and errnos. Nothing is unlocked: that needs device-mapper.

use std::process::Command;

use conformance::{Direct, DiskSpec};

const SIZE: u64 = 16 << 20;
/// In every key, and nowhere else.
const SECRET: &str = "zq7-secret";

/// A daemon that tells what it does, and a LUKS 1 device with these keys in its first slots.
///
/// cryptsetup itself stores them, so that unlocking takes no time.
fn encrypted(keys: &[&[u8]]) -> Direct {
    let direct = Direct::with_args(&[DiskSpec::Blank(SIZE), DiskSpec::Blank(SIZE)], &["-v"]);
    let path = |name: usize| direct.directory().join(format!("key{name}"));
    for (slot, key) in keys.iter().enumerate() {
        std::fs::write(path(slot), key).expect("key");
        let mut command = Command::new("cryptsetup");
        command.args(["-q", "--pbkdf-force-iterations", "1000"]);
        if slot == 0 {
            command.args(["luksFormat", "--type", "luks1"]);
        } else {
            command.args(["luksAddKey", "--key-file"]).arg(path(0));
        }
        let status = command.arg(direct.disk(0)).arg(path(slot)).status();
        assert!(status.expect("cryptsetup").success());
    }
    direct
}

#[test]
fn keys_are_bytes_and_are_told_to_nobody() {
    let lines: &[u8] = b"zq7-secret\xff\n\n";
    let mut direct = encrypted(&[SECRET.as_bytes(), lines, b"zq7-secret\0\n"]);
    // Adding a key needs one that is there.
    let add = |direct: &mut Direct, key: &[u8]| direct.luks_add_key("/dev/sda", key, "zq7-x", 7);
    // Every byte counts, also after a line end.
    for wrong in [&lines[..lines.len() - 1], b"zq7-secret\n", b""] {
        let error = add(&mut direct, wrong).expect_err("a wrong key");
        assert_eq!(error.errno(), "EPERM", "{error}");
        assert!(error.to_string().contains("/dev/sda"), "{error}");
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
    direct
        .luks_kill_slot("/dev/sda", lines, 0)
        .expect("unlocked by bytes");
    let error = add(&mut direct, SECRET.as_bytes()).expect_err("no longer a key");
    assert_eq!(error.errno(), "EPERM", "{error}");

    // `text:` and `base64:` are no part of a key; these are the two that are left.
    let (lines, nul) = ("base64:enE3LXNlY3JldP8KCg==", "base64:enE3LXNlY3JldAAK");
    direct
        .luks_add_key("/dev/sda", lines, "text:base64:zq7-secret", 3)
        .expect("base64");
    direct.luks_kill_slot("/dev/sda", nul, 1).expect("a NUL");
    direct
        .luks_kill_slot("/dev/sda", "text:base64:zq7-secret", 2)
        .expect("text");
    let error = add(&mut direct, b"base64:zq7-secret").expect_err("not base64");
    assert_eq!(error.errno(), "EINVAL", "{error}");
    assert!(!error.to_string().contains(SECRET), "{error}");

    let log = direct.stderr();
    assert!(log.contains("luksKillSlot"), "{log}");
    assert!(!log.contains(SECRET) && !log.contains("enE3LX"), "{log}");
}

#[test]
fn arguments_are_checked_before_anything_happens() {
    let mut direct = encrypted(&[SECRET.as_bytes()]);
    let uuid = direct.luks_uuid("/dev/sda").expect("luks_uuid");
    assert_eq!(uuid.len(), 36, "{uuid}");
    let long = "x".repeat(128);
    for (name, errno) in [
        ("", "EINVAL"),
        ("a/b", "EINVAL"),
        ("..", "EINVAL"),
        ("a\nb", "EINVAL"),
        (&long, "EINVAL"),
        ("control", "EEXIST"),
    ] {
        let open = direct.cryptsetup_open("/dev/sda", SECRET, name, &Default::default());
        let luks = direct.luks_open("/dev/sda", SECRET, name);
        let readonly = direct.luks_open_ro("/dev/sda", SECRET, name);
        for result in [open, luks, readonly] {
            assert_eq!(result.expect_err("a name").errno(), errno, "{name:?}");
        }
    }
    for slot in [-1, i32::MIN] {
        let format = direct.luks_format("/dev/sda", SECRET, slot);
        let cipher = direct.luks_format_cipher("/dev/sda", SECRET, slot, "aes-xts-plain64");
        let add = direct.luks_add_key("/dev/sda", SECRET, "zq7-secret2", slot);
        let kill = direct.luks_kill_slot("/dev/sda", SECRET, slot);
        for result in [format, cipher, add, kill] {
            assert_eq!(result.expect_err("a slot").errno(), "EINVAL", "{slot}");
        }
    }
    for device in ["/dev/sda", "/dev/sdb"] {
        for result in [direct.luks_close(device), direct.cryptsetup_close(device)] {
            assert_eq!(result.expect_err("not a mapping").errno(), "EINVAL");
        }
    }
    let open = direct.cryptsetup_open("/dev/sdb", SECRET, "blank", &Default::default());
    assert_eq!(open.expect_err("not encrypted").errno(), "EINVAL");
    let error = direct.luks_uuid("/dev/sdb").expect_err("not encrypted");
    assert_eq!(error.errno(), "EINVAL", "{error}");
    let message = error.to_string();
    assert!(message.contains("/dev/sdb: not a LUKS device"), "{message}");
    let uuid_of_none = direct.luks_uuid("/dev/sdc").expect_err("no device");
    assert_eq!(uuid_of_none.errno(), "ENOENT", "{uuid_of_none}");
    let kill = direct.luks_kill_slot("/dev/sda", SECRET, 32);
    let error = kill.expect_err("no slot").to_string();
    assert!(error.contains("/dev/sda: it has no key slot 32"), "{error}");
    // Whatever fails says of which device, and why.
    for result in [
        direct.luks_add_key("/dev/sdb", SECRET, "zq7-x", 0),
        direct.luks_kill_slot("/dev/sdb", SECRET, 0),
    ] {
        let error = result.expect_err("not encrypted").to_string();
        assert!(
            error.contains("/dev/sdb") && error.contains("LUKS"),
            "{error}"
        );
        assert!(!error.contains("status"), "{error}");
    }
    assert_eq!(direct.luks_uuid("/dev/sda").expect("luks_uuid"), uuid);
}

#[test]
fn clevis_needs_a_binding() {
    let mut direct = encrypted(&[SECRET.as_bytes()]);
    let error = direct
        .clevis_luks_unlock("/dev/sda", "name")
        .expect_err("not bound");
    let answer = direct.internal_feature_available("clevisluks");
    let missing = answer.expect("answer") != 0;
    assert_eq!(error.errno() == "ENOTSUP", missing, "{error}");
}
