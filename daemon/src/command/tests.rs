use std::io::{Read, Write};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use protocol::Error;

use super::{Command, STDERR_LIMIT, shown};

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

#[test]
fn a_program_runs_with_its_arguments_as_they_are() {
    let output = Command::new("printf")
        .arg("%s|")
        .args(["a b", "$HOME", "`id`", "", "-x"])
        .run()
        .unwrap();
    assert_eq!(output.stdout, b"a b|$HOME|`id`||-x|");
}

#[test]
fn operands_are_no_options() {
    let output = Command::new("printf")
        .operands(["%s", "--help"])
        .run()
        .unwrap();
    assert_eq!(output.stdout, b"--help");
}

#[test]
fn failure_is_what_the_program_said() {
    let error = sh("echo out; echo '  it broke' >&2; exit 3")
        .run()
        .unwrap_err();
    assert_eq!(error.to_string(), "it broke");
    let error = sh("echo it broke >&2; exit 3")
        .status_in_error()
        .run()
        .unwrap_err();
    assert_eq!(error.to_string(), "sh exited with status 3: it broke");
    let error = sh("exit 3").run().unwrap_err();
    assert_eq!(error.to_string(), "sh exited with status 3");
    let output = sh("echo out; exit 3").output().unwrap();
    assert_eq!((output.code, output.stdout.as_slice()), (3, &b"out\n"[..]));
    assert_eq!(sh("exit 4").status().unwrap(), 4);
}

#[test]
fn death_by_a_signal_names_it() {
    for result in [
        sh("kill -SEGV $$").run().map(drop),
        sh("kill -SEGV $$").spawn().unwrap().finish(),
    ] {
        assert_eq!(
            result.unwrap_err().to_string(),
            "sh was killed by signal 11 (SIGSEGV)"
        );
    }
}

#[test]
fn a_missing_program_is_enoent() {
    let error = Command::new("no-such-program").run().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENOENT));
    assert!(error.to_string().starts_with("no-such-program:"));
}

#[test]
fn stdin_is_empty_unless_fed() {
    assert_eq!(Command::new("cat").run().unwrap().stdout, b"");
    let fed = Command::new("cat").stdin_bytes("some text").run().unwrap();
    assert_eq!(fed.stdout, b"some text");
    let file = std::fs::File::open("/etc/hostname").unwrap();
    let fed = Command::new("cat").stdin_file(file).run().unwrap();
    assert_eq!(fed.stdout, std::fs::read("/etc/hostname").unwrap());
}

#[test]
fn all_three_pipes_can_be_full_at_once() {
    // More than a pipe holds, in every direction, in an order that would
    // deadlock whoever reads or writes them one after the other.
    let script =
        "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; cat; head -c 300000 /dev/zero >&2";
    let input = vec![b'x'; 1_000_000];
    let output = sh(script).stdin_bytes(input.clone()).run().unwrap();
    assert_eq!(output.stdout.len(), 1_300_000);
    assert_eq!(&output.stdout[300_000..], input);
    assert!(output.stderr.len() <= STDERR_LIMIT + 4);
}

#[test]
fn a_program_need_not_read_what_it_is_fed() {
    let output = sh("echo done")
        .stdin_bytes(vec![0; 1_000_000])
        .run()
        .unwrap();
    assert_eq!(output.stdout, b"done\n");
}

#[test]
fn too_much_output_ends_the_program() {
    let start = Instant::now();
    let error = Command::new("yes").stdout_limit(100_000).run().unwrap_err();
    assert_eq!(error.errno(), Some(Errno::E2BIG));
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(
        sh("head -c 1000 /dev/zero")
            .stdout_limit(1000)
            .run()
            .is_ok()
    );
}

#[test]
fn what_is_printed_after_the_beginning_is_thrown_away() {
    let long = || sh("head -c 1000000 /dev/zero; echo end >&2; exit 3");
    let output = long().stdout_beginning(100).output().unwrap();
    assert_eq!((output.code, output.stdout.len()), (3, 100));
    assert_eq!(output.message(), "end");
    assert_eq!(long().stdout_limit(100).status().unwrap(), 3);
}

#[test]
fn a_program_gets_no_more_memory_than_its_limit() {
    let most = 64 << 20;
    let within = sh("head -c 1000000 /dev/zero | sort | wc -c");
    assert_eq!(
        within.memory_limit(most).run().unwrap().stdout,
        b"1000001\n"
    );
    let line = sh("read start; exec sort < /dev/zero");
    let error = line.stdin_bytes("go").memory_limit(most).run().unwrap_err();
    assert!(error.message().contains("memory"), "{error}");
}

#[test]
fn the_environment_is_the_fixed_one() {
    let output = Command::new("env").env("EXTRA", "a b").run().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "LC_ALL=C",
        "TERM=dumb",
        "SHELL=/bin/sh",
        "PATH=/sbin:/usr/sbin:/bin:/usr/bin",
        "EXTRA=a b",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

#[test]
fn children_die_of_broken_pipes() {
    // The daemon ignores SIGPIPE; a program that inherits that writes for ever.
    let output = sh("kill -PIPE $$; echo survived").output().unwrap_err();
    assert!(output.to_string().contains("SIGPIPE"), "{output}");
}

#[test]
fn the_directory_and_files_are_given_by_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("name"), "found").unwrap();
    let handle = nix::fcntl::open(
        dir.path(),
        nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )
    .unwrap();
    let output = Command::new("cat").cwd(&handle).arg("name").run().unwrap();
    assert_eq!(output.stdout, b"found");

    let file = std::fs::File::open(dir.path().join("name")).unwrap();
    let output = Command::new("cat").fd_arg(&file, "/name").run().unwrap();
    assert_eq!(output.stdout, b"found");
    let mut command = Command::new("sh");
    let name = command.fd(&file, "/name");
    let script = format!("cat {}", name.display());
    assert_eq!(
        command.args(["-c", &script]).run().unwrap().stdout,
        b"found"
    );
}

#[test]
fn other_descriptors_are_not_inherited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let file = std::fs::File::create(path.join("file")).unwrap();
    let handle = std::fs::File::open(&path).unwrap();
    let output = Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .cwd(&handle)
        .run()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("/proc/"), "{text}");
    assert!(!text.contains(path.to_str().unwrap()), "{text}");
    drop(file);
}

#[test]
fn stdout_and_stderr_can_share_a_pipe() {
    let output = sh("echo one; echo two >&2; echo three")
        .fold_stderr()
        .run()
        .unwrap();
    assert_eq!(output.stdout, b"one\ntwo\nthree\n");
    assert_eq!(output.stderr, b"");
}

#[test]
fn streams_go_both_ways() {
    let mut child = Command::new("cat").spawn().unwrap();
    child.write_all(b"hello").unwrap();
    child.close_stdin();
    let mut text = String::new();
    child.read_to_string(&mut text).unwrap();
    child.finish().unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn a_stream_survives_a_talkative_program() {
    let mut child = sh("head -c 500000 /dev/zero >&2; wc -c").spawn().unwrap();
    child.write_all(&vec![0; 500_000]).unwrap();
    child.close_stdin();
    let mut text = String::new();
    child.read_to_string(&mut text).unwrap();
    child.finish().unwrap();
    assert_eq!(text.trim(), "500000");
}

#[test]
fn a_program_may_print_while_it_is_fed() {
    let mut child = Command::new("cat").spawn().unwrap();
    let input: Vec<u8> = (0..400_000u32).flat_map(u32::to_le_bytes).collect();
    child.write_all(&input).unwrap();
    child.close_stdin();
    let mut output = Vec::new();
    child.read_to_end(&mut output).unwrap();
    child.finish().unwrap();
    assert!(output == input);

    let mut child = Command::new("cat").stdout_limit(100_000).spawn().unwrap();
    let error = child.write_all(&input).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EFBIG as i32));
}

#[test]
fn nothing_is_waited_for_once_all_pipes_are_closed() {
    let mut child = sh("exec <&- >&- 2>&-; sleep 0.1").spawn().unwrap();
    let mut output = Vec::new();
    child.read_to_end(&mut output).unwrap();
    let mut block = [0; 16];
    // The program's ends are gone, and then ours.
    let errno = loop {
        match child.exchange(b"x", &mut block) {
            Ok(_) => child.close_stdin(),
            Err(errno) => break errno,
        }
    };
    assert_eq!(errno, Errno::EPIPE);
    child.finish().unwrap();
}

#[test]
fn a_broken_stream_is_explained_by_the_program() {
    let mut child = sh("echo no space left >&2; exit 1").spawn().unwrap();
    let broken = loop {
        if let Err(error) = child.write_all(&[0; 65536]) {
            break error;
        }
    };
    assert_eq!(broken.raw_os_error(), Some(Errno::EPIPE as i32));
    assert_eq!(
        child.failure(Error::from(broken)).to_string(),
        "no space left"
    );
    let child = sh("exit 0").spawn().unwrap();
    assert_eq!(child.failure(Error::new("mine")).to_string(), "mine");
}

#[test]
fn a_dropped_child_is_killed_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!("sleep 1000 & echo $$ $! > {}; wait", pids.display());
    let child = sh(&script).spawn().unwrap();
    let text = loop {
        match std::fs::read_to_string(&pids) {
            Ok(text) if text.ends_with('\n') => break text,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    drop(child);
    for pid in text.split_whitespace() {
        let gone = (0..4000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            // The grandchild is init's to reap, which may take its time.
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        });
        assert!(gone, "{pid} lives on");
    }
}

#[test]
fn arguments_are_shown_so_that_they_can_be_pasted() {
    for (arg, text) in [
        ("-t", "-t"),
        ("/dev/sda1", "/dev/sda1"),
        ("", "''"),
        ("a b", "'a b'"),
        ("it's", "'it'\\''s'"),
    ] {
        assert_eq!(shown(arg.as_ref()), text);
    }
}

#[test]
fn errors_have_the_callers_names_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::open(dir.path()).unwrap();
    let error = Command::new("cat").fd_arg(&file, "/guest's").run();
    let message = error.unwrap_err().to_string();
    assert_eq!(message, "cat: /guest's: Is a directory");
    let mut command = Command::new("cat");
    let missing = command.fd(&file, "/guest's").join("missing");
    let error = command.arg(missing).spawn().unwrap().finish();
    let message = error.unwrap_err().to_string();
    assert!(message.starts_with("cat: /guest's/missing: "), "{message}");
}
