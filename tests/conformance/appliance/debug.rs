use std::io::Read;
use std::time::{Duration, Instant};

use conformance::{ClientError, Direct, DiskSpec};

fn debug(direct: &mut Direct, command: &str, args: &[&str]) -> Result<String, ClientError> {
    let text = direct.debug(command, args)?;
    Ok(String::from_utf8(text).expect("text"))
}

/// The errno of a command that is used in a wrong way.
fn refused(direct: &mut Direct, command: &str, args: &[&str]) -> String {
    let error = debug(direct, command, args).expect_err(command);
    error.errno().to_owned()
}

#[test]
fn help_lists_what_there_is() {
    let mut direct = Direct::start(&[]);
    let text = debug(&mut direct, "help", &[]).expect("help");
    let commands = text.strip_prefix("Commands supported: ").expect("prefix");
    assert!(commands.split(' ').any(|command| command == "sh"));
    assert_eq!(debug(&mut direct, "HELP", &["0"]).expect("HELP"), text);
    assert_eq!(refused(&mut direct, "nosuch", &[]), "EINVAL");
}

#[test]
fn a_shell_runs_in_the_appliance() {
    let mut direct = Direct::mounted();
    let text = debug(&mut direct, "sh", &["echo", "out;", "echo err >&2"]).expect("sh");
    assert_eq!(text, "out\nerr");
    direct.mkdir("/in-the-guest").expect("mkdir");
    let text = debug(&mut direct, "sh", &["ls -d $root/in-* /dev/${sd}a"]).expect("sh");
    assert_eq!(text, "/dev/sda\n/sysroot/in-the-guest");
    let error = debug(&mut direct, "sh", &["echo no; exit 3"]).expect_err("exit 3");
    assert_eq!(error.to_string(), "no");
    assert_eq!(refused(&mut direct, "sh", &[]), "EINVAL");
}

#[test]
fn files_of_the_appliance_are_listed() {
    let mut direct = Direct::start(&[DiskSpec::Blank(1 << 20)]);
    let text = debug(&mut direct, "ls", &["/dev"]).expect("ls");
    assert!(text.lines().any(|line| line == "sda") && text.lines().any(|line| line == "."));
    let text = debug(&mut direct, "ll", &["/dev"]).expect("ll");
    assert!(
        text.lines()
            .any(|line| line.starts_with('b') && line.ends_with(" sda"))
    );
    let error = debug(&mut direct, "ls", &["/none"]).expect_err("ls");
    assert!(error.to_string().starts_with("ls: "), "{error}");
}

#[test]
fn the_environment_can_be_seen_and_set() {
    let mut direct = Direct::start(&[]);
    let text = debug(&mut direct, "env", &[]).expect("env");
    for line in [
        "LC_ALL=C",
        "PATH=/sbin:/usr/sbin:/bin:/usr/bin",
        "SHELL=/bin/sh",
        "TERM=dumb",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    debug(&mut direct, "setenv", &["ADDED", "some value"]).expect("setenv");
    let text = debug(&mut direct, "env", &[]).expect("env");
    assert!(text.lines().any(|line| line == "ADDED=some value"));
    let text = debug(&mut direct, "sh", &["echo $ADDED"]).expect("sh");
    assert_eq!(text, "some value");
    assert_eq!(refused(&mut direct, "setenv", &["ADDED"]), "EINVAL");
    assert_eq!(refused(&mut direct, "setenv", &["A=B", "x"]), "EINVAL");
}

#[test]
fn errors_of_any_length_arrive() {
    let mut direct = Direct::start(&[]);
    for len in [0, 1, 1000, 65536] {
        let error = debug(&mut direct, "error", &[&len.to_string()]).expect_err("error");
        assert_eq!(error.errno(), "EROFS");
        assert_eq!(error.to_string(), "a".repeat(len));
    }
    let error = debug(&mut direct, "error", &["1000000"]).expect_err("error");
    assert_eq!(error.to_string().len(), 65536);
    for bad in [&["1000001"][..], &["x"], &["-1"], &[], &["1", "2"]] {
        assert_eq!(refused(&mut direct, "error", bad), "EINVAL");
    }
}

#[test]
fn calls_leave_no_descriptors_behind() {
    let mut direct = Direct::mounted();
    let before = debug(&mut direct, "fds", &[]).expect("fds");
    assert!(
        before.lines().any(|line| line.contains("socket:")),
        "{before}"
    );
    let number = |line: &str| {
        line.split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
    };
    let numbers: Vec<Option<u32>> = before.lines().map(number).collect();
    assert!(!numbers.contains(&None), "{before}");
    assert!(numbers.is_sorted(), "{before}");
    direct.internal_write("/file", "x").expect("write");
    direct.mkdir("/file").expect_err("mkdir");
    debug(&mut direct, "sh", &["true"]).expect("sh");
    debug(&mut direct, "segv", &[]).expect_err("segv");
    assert_eq!(debug(&mut direct, "fds", &[]).expect("fds"), before);
}

#[test]
fn a_crash_of_a_helper_leaves_the_daemon() {
    let mut direct = Direct::start(&[]);
    let error = debug(&mut direct, "segv", &[]).expect_err("segv");
    assert!(error.to_string().contains("SIGSEGV"), "{error}");
    direct.ping_daemon().expect("ping");
}

#[test]
fn text_for_the_console_arrives_there() {
    let mut direct = Direct::start(&[]);
    debug(&mut direct, "print", &["hello", "console"]).expect("print");
    debug(&mut direct, "spew", &["1000"]).expect("spew");
    let stderr = direct.stderr();
    assert!(stderr.lines().any(|line| line == "hello console"));
    let spewed = stderr
        .lines()
        .filter(|line| line.len() == 72 && line.starts_with("abc"));
    assert_eq!(spewed.count(), 1000);
    assert_eq!(refused(&mut direct, "spew", &["many"]), "EINVAL");
    assert_eq!(refused(&mut direct, "spew", &[]), "EINVAL");
}

#[test]
fn programs_and_their_libraries_are_found() {
    let mut direct = Direct::start(&[]);
    let text = debug(&mut direct, "ldd", &["/usr/bin/ls"]).expect("ldd");
    assert!(text.contains("libc.so.6"), "{text}");
    let error = debug(&mut direct, "ldd", &["/etc/passwd"]).expect_err("ldd");
    assert!(
        error.to_string().starts_with("ldd: /etc/passwd: "),
        "{error}"
    );
    assert_eq!(refused(&mut direct, "ldd", &[]), "EINVAL");
    // The sandbox's own filesystem has two: the daemon and the stand-in are bound
    // over files of it, so they are on others.
    let found = debug(
        &mut direct,
        "sh",
        &[
            "cp /bin/true /tmp/tool; cp /lib*/*/libc.so.6 /tmp/a.so; echo >/tmp/script; chmod +x /tmp/*",
        ],
    );
    found.expect("sh");
    let text = debug(&mut direct, "binaries", &[]).expect("binaries");
    for name in ["/tmp/tool", "/tmp/a.so"] {
        assert!(text.lines().any(|line| line == name), "{name} in {text}");
    }
    assert!(text.lines().is_sorted(), "{text}");
    assert!(
        !text.contains("/tmp/script") && !text.contains("/dev/"),
        "{text}"
    );
}

#[test]
fn devices_are_read_for_a_time() {
    let mut direct = Direct::start(&[DiskSpec::Blank(1 << 20), DiskSpec::Blank(4096)]);
    let start = Instant::now();
    for direction in ["r", "w"] {
        let text = debug(&mut direct, "device_speed", &["/dev/sda", direction, "1"]);
        let bytes: u64 = text.expect("device_speed").parse().expect("number");
        assert!(bytes > 0 && bytes.is_multiple_of(8192), "{bytes}");
    }
    assert!(start.elapsed() >= Duration::from_secs(2));
    let image = std::fs::read(direct.disk(0)).expect("image");
    assert_eq!(image[..8192], [100; 8192]);
    for bad in [
        &["/dev/sda"][..],
        &["/dev/sda", "x", "1"],
        &["/dev/sda", "r", "x"],
        &["/dev/sdb", "r", "1"],
    ] {
        assert_eq!(refused(&mut direct, "device_speed", bad), "EINVAL");
    }
    assert_eq!(
        refused(&mut direct, "device_speed", &["/dev/sdz", "r", "1"]),
        "ENOENT"
    );
}

#[test]
fn the_disk_is_marked_for_its_observer() {
    let mut direct = Direct::start(&[DiskSpec::Blank(1 << 20)]);
    for switch in ["on", "off"] {
        assert_eq!(
            debug(&mut direct, "qtrace", &["/dev/sda", switch]).expect("qtrace"),
            "ok"
        );
    }
    assert_eq!(
        refused(&mut direct, "qtrace", &["/dev/sda", "maybe"]),
        "EINVAL"
    );
    assert_eq!(
        refused(&mut direct, "qtrace", &["/dev/sdz", "on"]),
        "ENOENT"
    );
    assert_eq!(
        refused(&mut direct, "qtrace", &["/dev/null", "on"]),
        "EINVAL"
    );
}

#[test]
fn blocks_of_files_and_devices_are_read() {
    let mut direct = Direct::mounted();
    direct.internal_write("/file", "content").expect("write");
    for (command, subject) in [
        ("bmap_file", "/file"),
        ("bmap_file", "/"),
        ("bmap_device", "/dev/sda"),
    ] {
        assert_eq!(
            debug(&mut direct, command, &[subject]).expect(subject),
            "ok"
        );
        assert_eq!(debug(&mut direct, "bmap", &[]).expect("bmap"), "ok");
    }
    // What was prepared and not read must not keep the guest busy.
    debug(&mut direct, "bmap_file", &["/file"]).expect("bmap_file");
    direct.internal_autosync().expect("autosync");
    assert_eq!(refused(&mut direct, "bmap_device", &["/dev/sdz"]), "ENOENT");
    assert_eq!(
        refused(&mut direct, "bmap_device", &["/dev/null"]),
        "EINVAL"
    );
    assert_eq!(refused(&mut direct, "bmap", &["x"]), "EINVAL");
    assert_eq!(refused(&mut direct, "bmap_file", &[]), "EINVAL");
    assert!(
        debug(&mut direct, "bmap_file", &["/file"]).is_err(),
        "nothing is mounted"
    );
}

#[test]
fn what_this_daemon_does_not_do_says_so() {
    let mut direct = Direct::start(&[]);
    assert_eq!(refused(&mut direct, "core_pattern", &[]), "EINVAL");
}

#[test]
fn progress_is_sent_to_order() {
    let mut direct = Direct::start(&[]);
    for args in [&[][..], &["0"], &["-1"], &["x"], &["1000001"], &["1", "0"]] {
        assert_eq!(refused(&mut direct, "progress", args), "EINVAL", "{args:?}");
    }

    direct
        .debug("progress", &["1", "250000"])
        .expect("progress");
    let sent: Vec<_> = direct
        .progress
        .iter()
        .map(|message| (message.position, message.total))
        .collect();
    let expected = [250_000, 500_000, 750_000, 1_000_000].map(|position| (position, 1_000_000));
    assert_eq!(sent, expected);

    // Calls of up to two seconds send none of their own. (On a busy machine it may take longer.)
    let start = Instant::now();
    direct.debug("progress", &["1"]).expect("progress");
    let is_short = start.elapsed() < Duration::from_secs(2);
    assert!(
        !is_short || direct.progress.is_empty(),
        "{:?}",
        direct.progress
    );

    let start = Instant::now();
    direct.debug("progress", &["3"]).expect("progress");
    // The first after two seconds, then three a second, and the end.
    let most = 2 + 3 * (start.elapsed().as_secs_f32() - 2.0).ceil() as usize;
    let messages = &direct.progress;
    assert!((2..=most).contains(&messages.len()), "{messages:?}");
    assert!(messages.iter().all(|message| message.total == 30));
    // Each step takes a tenth of a second or, on a busy machine, more.
    assert!((2..=20).contains(&messages[0].position), "{messages:?}");
    assert_eq!(messages[messages.len() - 1].position, 30, "{messages:?}");
}

#[test]
fn kernel_messages_are_there() {
    let mark = format!("guestfsd test {}", std::process::id());
    std::fs::write("/dev/kmsg", format!("{mark}\n")).expect("kmsg");
    let mut direct = Direct::start(&[]);
    let messages = direct.dmesg().expect("dmesg");
    let messages = String::from_utf8_lossy(&messages);
    assert!(
        messages.lines().any(|line| line.ends_with(&mark)),
        "{messages}"
    );
}

#[test]
fn sleep_takes_its_time() {
    let mut direct = Direct::start(&[]);
    let start = Instant::now();
    direct.sleep(1).expect("sleep");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(direct.sleep(-1).expect_err("sleep -1").errno(), "EINVAL");
}

#[test]
fn a_file_is_put_into_the_appliance() {
    let mut direct = Direct::start(&[]);
    let content = "line\n".repeat(10_000);
    direct
        .debug_upload(&mut content.as_bytes(), "/tmp/uploaded", 0o666)
        .expect("upload");
    let text = debug(&mut direct, "sh", &["stat -c %a:%s /tmp/uploaded"]).expect("sh");
    assert_eq!(text, "644:50000");
    direct
        .debug_upload(&mut "x".as_bytes(), "/tmp/uploaded", 0o600)
        .expect("upload");
    let text = debug(&mut direct, "sh", &["cat /tmp/uploaded"]).expect("sh");
    assert_eq!(text, "x");
    let error = direct
        .debug_upload(&mut content.as_bytes(), "/none/file", 0o600)
        .expect_err("upload");
    assert_eq!(error.errno(), "ENOENT");
    assert!(error.to_string().starts_with("/none/file: "), "{error}");
    let error = direct
        .debug_upload(&mut content.as_bytes(), "/tmp/x", -1)
        .expect_err("upload");
    assert_eq!(error.errno(), "EINVAL");
    direct.ping_daemon().expect("both sides are in step");
}

#[test]
fn a_crash_during_an_upload_can_be_had() {
    let mut direct = Direct::start(&[]);
    for count in [0, -1, 1001] {
        let error = direct
            .internal_rhbz914931(&mut "x".as_bytes(), count)
            .expect_err("count");
        assert_eq!(error.errno(), "EINVAL");
    }
    let mut endless = std::io::repeat(b'x').take(1 << 20);
    let error = direct
        .internal_rhbz914931(&mut endless, 1)
        .expect_err("the daemon is gone");
    assert!(matches!(error, ClientError::Io(_)), "{error}");
    assert_ne!(direct.exit().code, 0);
}
