//! Encrypted devices that a server's word unlocks, in place of a key.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use conformance::DiskSpec;
use conformance::support::machine::{HOST, Hardware, Machine};
use conformance::support::tang::Tang;
use protocol::api::{CryptsetupOpenOptions, MkfsOptions, UmountOptions};
use serde_json::{Value, json};

/// What `internal_feature_available` says of a feature that is there.
const AVAILABLE: i32 = 0;
const KEY: &str = "zq7-secret";
const MAPPED: &str = "/dev/mapper/data";

#[test]
fn devices_are_unlocked_as_long_as_their_server_knows_them() {
    let directory = tempfile::tempdir().expect("tempdir");
    let one = Tang::start();
    let other = Tang::start();
    let server = |tang: &Tang, name: &str| {
        let advertisement = directory.path().join(name);
        tang.advertise(&advertisement);
        let url = format!("http://{HOST}:{}", tang.port());
        json!({ "url": url, "adv": advertisement })
    };
    let first = server(&one, "one");
    // Of two servers either will do.
    let servers = [&first, &server(&other, "other")];
    let either = json!({ "t": 1, "pins": { "tang": servers } });
    let image = |name: &str, kind: &str, binding: Option<(&str, &Value)>| {
        let image = directory.path().join(name);
        encrypt(&image, kind, binding);
        DiskSpec::Image(image)
    };
    let mut machine = Machine::boot(&Hardware {
        disks: &[
            image("sda", "luks2", Some(("tang", &first))),
            image("sdb", "luks1", Some(("sss", &either))),
            image("sdc", "luks2", None),
            DiskSpec::Blank(1 << 20),
        ],
        network: true,
        ..Hardware::default()
    });
    let available = machine.internal_feature_available("clevisluks");
    assert_eq!(available.expect("internal_feature_available"), AVAILABLE);
    for device in ["/dev/sda", "/dev/sdb"] {
        open_with_key(&mut machine, device);
        machine
            .mkfs("ext2", MAPPED, &MkfsOptions::default())
            .expect("mkfs");
        machine.mount(MAPPED, "/").expect("mount");
        machine.internal_write("/device", device).expect("write");
        unmount_and_close(&mut machine);
    }
    let before = leftovers(&mut machine);
    opens(&mut machine, "/dev/sda");
    opens(&mut machine, "/dev/sdb");
    // A name that cryptsetup would take for an option, and then unlock nothing.
    let error = machine
        .clevis_luks_unlock("/dev/sda", "--test-passphrase")
        .expect_err("no name");
    assert_eq!(error.errno(), "EINVAL", "{error}");
    // Not bound, and not encrypted at all.
    fails(&mut machine, "/dev/sdc");
    fails(&mut machine, "/dev/sdd");
    one.replace_keys();
    fails(&mut machine, "/dev/sda");
    opens(&mut machine, "/dev/sdb");
    drop(one);
    fails(&mut machine, "/dev/sda");
    drop(other);
    fails(&mut machine, "/dev/sdb");
    assert_eq!(leftovers(&mut machine), before);

    // The key that was there before still is one.
    open_with_key(&mut machine, "/dev/sda");
    let error = machine
        .clevis_luks_unlock("/dev/sdb", "data")
        .expect_err("taken");
    assert_eq!(error.errno(), "EEXIST", "{error}");
    machine.cryptsetup_close(MAPPED).expect("cryptsetup_close");
}

/// Makes an encrypted device, and has Clevis bind it.
fn encrypt(image: &Path, kind: &str, binding: Option<(&str, &Value)>) {
    let file = File::create(image).expect("image");
    file.set_len(32 << 20).expect("size");
    let key = image.with_extension("key");
    std::fs::write(&key, KEY).expect("key");
    let mut command = Command::new("cryptsetup");
    command.args(["-q", "luksFormat", "--type", kind]);
    if kind == "luks2" {
        command.args(["--pbkdf", "pbkdf2"]);
    }
    // Of a key's stretching nothing is to be seen here, and it takes long under emulation.
    command.args(["--pbkdf-force-iterations", "1000"]);
    run(command.arg(image).arg(&key));
    if let Some((pin, configuration)) = binding {
        let mut command = Command::new("clevis");
        command.args(["luks", "bind", "-y", "-k"]).arg(&key);
        command.arg("-d").arg(image);
        run(command.arg(pin).arg(configuration.to_string()));
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("program");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn open_with_key(machine: &mut Machine, device: &str) {
    machine
        .cryptsetup_open(device, KEY, "data", &CryptsetupOpenOptions::default())
        .expect("cryptsetup_open");
}

fn unmount_and_close(machine: &mut Machine) {
    machine
        .umount("/", &UmountOptions::default())
        .expect("umount");
    machine.cryptsetup_close(MAPPED).expect("cryptsetup_close");
    assert!(mappings(machine).is_empty());
}

fn mappings(machine: &mut Machine) -> Vec<String> {
    machine.list_dm_devices().expect("list_dm_devices")
}

fn opens(machine: &mut Machine, device: &str) {
    machine
        .clevis_luks_unlock(device, "data")
        .expect("clevis_luks_unlock");
    machine.mount(MAPPED, "/").expect("mount");
    let content = machine.pread("/device", 64, 0).expect("pread");
    assert_eq!(content, device.as_bytes());
    unmount_and_close(machine);
}

fn fails(machine: &mut Machine, device: &str) {
    let error = machine
        .clevis_luks_unlock(device, "data")
        .expect_err("nothing to unlock it with");
    let message = error.to_string();
    assert!(message.starts_with(device), "{error}");
    assert!(!message.contains(KEY), "{error}");
    assert!(mappings(machine).is_empty());
    assert_eq!(machine.blockdev_getss(device).expect("getss"), 512);
}

/// What a call could leave in the appliance: files, and processes.
fn leftovers(machine: &mut Machine) -> String {
    machine.shell(
        "find /tmp /var/tmp /run -xdev ! -path '/run/udev/*' ! -path '/run/cryptsetup*' \
         ! -path '/run/lock*'; \
         cat /proc/[0-9]*/comm | grep -E 'clevis|curl|jose|cryptsetup'; true",
    )
}
