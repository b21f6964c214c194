//! C libraries in processes of their own: what they answer, what they may, and how they fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use conformance::{Direct, DiskSpec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const TEXT: &str = "ASCII text";

/// A mounted filesystem with a text file, in a daemon that has these variables.
fn with_text(variables: &[(&str, &str)]) -> Direct {
    with_text_and(&[], variables)
}

/// The same with arguments.
fn with_text_and(args: &[&str], variables: &[(&str, &str)]) -> Direct {
    let disk = DiskSpec::Formatted("ext4", 64 << 20);
    let mut direct = Direct::with_environment(&[disk], args, variables);
    direct.mount("/dev/sda", "/").expect("mount");
    direct
        .internal_write("/text", "some text\n")
        .expect("write");
    direct
}

/// How often `file` was called so far, of a daemon that tells of its calls.
fn calls(log: &str) -> usize {
    log.matches("guestfsd: <= file ").count()
}

/// What `file` says of the text file.
fn file(direct: &mut Direct) -> String {
    String::from_utf8(direct.file("/text").expect("file")).expect("text")
}

/// The process that runs libmagic.
fn worker(direct: &Direct) -> Option<u32> {
    direct.children().into_iter().find(|id| {
        fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| line == b"guestfsd\0--worker\0magic\0")
    })
}

fn signal(id: u32, signal: Signal) {
    kill(Pid::from_raw(id.cast_signed()), signal).expect("kill");
}

/// Waits until a stopped process is stopped: a signal takes its time.
fn stop(id: u32) {
    signal(id, Signal::SIGSTOP);
    eventually("the worker is stopped", || {
        status(id, "State").starts_with('T')
    });
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(2));
    }
}

/// A field of a process's status.
fn status(id: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn is_alive(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn the_first_call_starts_it_and_it_ends_with_the_daemon() {
    let mut direct = with_text(&[]);
    assert_eq!(worker(&direct), None);
    assert_eq!(file(&mut direct), TEXT);
    let id = worker(&direct).expect("a worker");
    assert_eq!(file(&mut direct), TEXT);
    assert_eq!(worker(&direct), Some(id), "it is kept");
    assert_eq!(direct.hang_up().code, 0);
    assert!(!is_alive(id));
}

#[test]
fn what_is_compressed_is_described_too() {
    let mut direct = with_text(&[]);
    // libmagic decompresses some formats itself, and leaves others to programs.
    for (program, format) in [
        ("gzip", "gzip compressed data"),
        ("bzip2", "bzip2 compressed data"),
        ("xz", "XZ compressed data"),
        ("zstd", "Zstandard compressed data"),
        ("lz4", "LZ4 compressed data"),
    ] {
        let plain = direct.directory().join("plain");
        fs::write(&plain, "some text\n").expect("plain");
        let output = Command::new(program).arg("-c").arg(&plain).output();
        let output = output.expect(program);
        direct
            .internal_write("/compressed", &output.stdout)
            .expect("write");
        let text = direct.file("/compressed").expect("file");
        let text = String::from_utf8(text).expect("UTF-8");
        let start = format!("{TEXT} ({format}");
        assert!(text.starts_with(&start), "{program}: {text}");
    }
    // What cannot be decompressed is described as it is.
    direct
        .internal_write("/broken", b"\x28\xb5\x2f\xfdjunkjunk")
        .expect("write");
    let text = direct.file("/broken").expect("file");
    assert!(text.starts_with(b"Zstandard compressed data"));
}

#[test]
fn it_does_not_outlive_a_daemon_that_is_killed() {
    let mut direct = with_text(&[]);
    file(&mut direct);
    let id = worker(&direct).expect("a worker");
    stop(id);
    signal(direct.id(), Signal::SIGKILL);
    eventually("the worker ends", || !is_alive(id));
}

#[test]
fn it_may_do_nothing_and_holds_nothing() {
    let mut direct = with_text(&[]);
    file(&mut direct);
    let id = worker(&direct).expect("a worker");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(id, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(id, "NoNewPrivs"), "1");
    for ids in ["Uid", "Gid"] {
        let numbers = status(id, ids);
        assert!(
            numbers.split_whitespace().all(|number| number != "0"),
            "{ids}: {numbers}"
        );
    }
    assert_eq!(status(id, "Groups"), "");
    let root = PathBuf::from(format!("/proc/{id}/root"));
    assert_eq!(fs::read_dir(&root).expect("root").count(), 0);
    assert!(fs::write(root.join("file"), "").is_err(), "it is removed");

    let mut open: Vec<String> = fs::read_dir(format!("/proc/{id}/fd"))
        .expect("descriptors")
        .map(|entry| fs::read_link(entry.expect("entry").path()).expect("link"))
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    open.sort();
    let sockets: Vec<String> = open
        .extract_if(.., |name| name.starts_with("socket:"))
        .collect();
    assert_eq!(open, ["/dev/null"; 3]);
    let mut distinct = sockets.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 1, "{sockets:?}");

    let own = |space: &str| fs::read_link(format!("/proc/{id}/ns/{space}")).expect("namespace");
    let daemon = direct.id();
    for space in ["net", "ipc"] {
        let theirs = fs::read_link(format!("/proc/{daemon}/ns/{space}")).expect("namespace");
        assert_ne!(own(space), theirs, "{space}");
    }

    let limits = fs::read_to_string(format!("/proc/{id}/limits")).expect("limits");
    for (name, limit) in [
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max processes", "0"),
        ("Max open files", "32"),
    ] {
        let line = limits
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        let words: Vec<&str> = line[name.len()..].split_whitespace().collect();
        assert_eq!(words[..2], [limit, limit], "{name}");
    }
    let memory = limits
        .lines()
        .find(|line| line.starts_with("Max address space"));
    assert!(!memory.expect("memory").contains("unlimited"));
}

#[test]
fn what_it_looked_at_can_be_unmounted() {
    let mut direct = with_text(&[]);
    file(&mut direct);
    let id = worker(&direct).expect("a worker");
    direct.umount("/", &Default::default()).expect("umount");
    assert_eq!(worker(&direct), Some(id), "it goes on");
    let description = direct.file("/dev/sda").expect("file");
    let description = String::from_utf8(description).expect("text");
    assert!(
        description.contains("ext4 filesystem data"),
        "{description}"
    );
}

#[test]
fn a_crash_is_one_error() {
    let mut direct = with_text_and(&["-v"], &[]);
    let log = direct.directory().join("stderr");
    // Not SIGSEGV: the first that comes from outside is taken for an overflow of the stack.
    for how in [Signal::SIGKILL, Signal::SIGILL] {
        assert_eq!(file(&mut direct), TEXT);
        let id = worker(&direct).expect("a worker");
        stop(id);
        let before = calls(&direct.stderr());
        let (log, daemon) = (log.clone(), direct.id());
        let killer = spawn(move || {
            eventually("the call", || {
                calls(&fs::read_to_string(&log).expect("the log")) > before
            });
            // The daemon sleeps when the call has reached the worker.
            eventually("the daemon waits", || {
                status(daemon, "State").starts_with('S')
            });
            signal(id, how);
            let _ = kill(Pid::from_raw(id.cast_signed()), Signal::SIGCONT);
        });
        let error = direct.file("/text").expect_err("a crash");
        killer.join().expect("killer");
        assert_eq!(
            error.to_string(),
            format!(
                "/text: libmagic.so.1 failed on this: the process that runs it was ended by {how}"
            )
        );
        assert_eq!(error.errno(), "EIO");
        assert_eq!(file(&mut direct), TEXT);
        assert_ne!(worker(&direct), Some(id));
    }
}

#[test]
fn one_that_is_lost_between_calls_is_replaced() {
    let mut direct = with_text(&[]);
    file(&mut direct);
    let id = worker(&direct).expect("a worker");
    signal(id, Signal::SIGKILL);
    eventually("the worker ends", || status(id, "State").starts_with('Z'));
    assert_eq!(file(&mut direct), TEXT);
}

#[test]
fn one_that_hangs_is_ended() {
    // Longer than starting one takes on a busy machine.
    let mut direct = with_text(&[("GUESTFSD_WORKER_SECONDS", "5")]);
    file(&mut direct);
    let id = worker(&direct).expect("a worker");
    stop(id);
    let error = direct.file("/text").expect_err("a hang");
    assert_eq!(
        error.to_string(),
        "/text: libmagic.so.1 has not answered within 5 seconds, and was ended"
    );
    assert_eq!(error.errno(), "ETIMEDOUT");
    assert!(!is_alive(id));
    assert_eq!(file(&mut direct), TEXT);
}

#[test]
fn what_takes_too_much_memory_is_one_error() {
    // Enough for what libmagic reads of a file (7 MiB), and not for what is in this one besides.
    let mut direct = with_text(&[("GUESTFSD_WORKER_MEMORY", "8192")]);
    let zeros = direct.directory().join("zeros");
    fs::write(&zeros, vec![0; 64 << 20]).expect("zeros");
    let bomb = direct.directory().join("bomb.zst");
    let zstd = Command::new("zstd")
        .args(["-q", "-o"])
        .arg(&bomb)
        .arg(&zeros)
        .status();
    assert!(zstd.expect("zstd").success());
    let mut content = fs::File::open(&bomb).expect("bomb");
    direct.upload(&mut content, "/bomb").expect("upload");

    assert_eq!(file(&mut direct), TEXT);
    let error = direct.file("/bomb").expect_err("too much");
    assert_eq!(error.to_string(), "/bomb: read: Cannot allocate memory");
    assert_eq!(error.errno(), "ENOMEM");
    assert_eq!(file(&mut direct), TEXT);
}

#[test]
fn a_library_can_run_out_of_memory_too() {
    let mut direct = with_text(&[("GUESTFSD_WORKER_MEMORY", "1024")]);
    let error = direct.file("/text").expect_err("too little");
    assert_eq!(
        error.to_string(),
        "/text: libmagic.so.1: Cannot allocate memory"
    );
    assert_eq!(error.errno(), "ENOMEM");
}

/// Runs a program in the mount namespace of the daemon.
fn in_daemon(direct: &Direct, program: &[&str]) {
    let status = Command::new("nsenter")
        .arg(format!("--mount=/proc/{}/ns/mnt", direct.id()))
        .arg("--")
        .args(program)
        .status();
    assert!(status.expect("nsenter").success(), "{program:?}");
}

/// Takes a library away from the daemon, its workers and its programs; gives back a directory that
/// has it, for the programs alone.
pub(crate) fn hide_library(direct: &Direct, name: &str) -> String {
    let path = format!("/usr/lib/{}-linux-gnu/{name}", std::env::consts::ARCH);
    let path = fs::canonicalize(path).expect("the library");
    let path = path.to_str().expect("UTF-8");
    let elsewhere = "/tmp/elsewhere";
    in_daemon(direct, &["mkdir", elsewhere]);
    in_daemon(direct, &["cp", path, &format!("{elsewhere}/{name}")]);
    in_daemon(direct, &["mount", "--bind", "/dev/null", path]);
    elsewhere.to_owned()
}

#[test]
fn without_the_library_the_program_answers() {
    let mut direct = with_text(&[]);
    let elsewhere = hide_library(&direct, "libmagic.so.1");
    // The program needs the library too.
    let error = direct.file("/text").expect_err("no library").to_string();
    assert!(error.contains("libmagic.so.1"), "{error}");
    direct
        .debug("setenv", &["LD_LIBRARY_PATH", &elsewhere])
        .expect("setenv");
    assert_eq!(file(&mut direct), TEXT);
    assert_eq!(worker(&direct), None);
}

#[test]
fn workers_have_names() {
    let output = Command::new(conformance::support::direct::daemon())
        .args(["--worker", "nosuch"])
        .output()
        .expect("guestfsd");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("no worker called 'nosuch'"), "{text}");
}
