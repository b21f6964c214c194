//! The log, as programs that read libguestfs' logs expect it.

use std::fs;
use std::process::Command;

use conformance::support::boot;

#[test]
fn each_call_is_logged_with_its_name_number_length_and_time() {
    let directory = tempfile::tempdir().expect("tempdir");
    let here = directory.path();
    fs::File::create(here.join("disk.img"))
        .expect("image")
        .set_len(1 << 20)
        .expect("size");
    let output = boot::run(here, || {
        let mut command = Command::new("stdbuf");
        let args = ["-oL", "guestfish", "-v", "--format=raw", "-a", "disk.img"];
        command
            .args(args)
            .args(["run", ":", "echo", boot::BOOTED, ":", "list-devices"]);
        command.env("LC_ALL", "C");
        command
    });
    assert!(output.success, "{}", output.text);
    let lines = |start: &str| -> Vec<&str> {
        output
            .text
            .lines()
            .filter_map(|line| line.split_once(start).map(|(_, rest)| rest))
            .collect()
    };
    let calls = lines("guestfsd: <= list_devices (0x7) request length ");
    assert!(
        calls.iter().any(|rest| rest.starts_with("40 bytes")),
        "{}",
        output.text
    );
    let times = lines("guestfsd: => list_devices (0x7) took ");
    let time = times
        .first()
        .and_then(|rest| rest.split_once(" secs"))
        .map(|(time, _)| time);
    let seconds: Option<f32> = time.and_then(|time| time.parse().ok());
    assert!(
        seconds.is_some_and(|seconds| seconds < 60.0),
        "{}",
        output.text
    );
}
