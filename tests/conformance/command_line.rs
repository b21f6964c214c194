//! How the daemon is started, and how it ends.

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use conformance::support::direct::{LIMIT, daemon};
use conformance::{Client, Direct};

fn run(args: &[&str]) -> Output {
    Command::new(daemon())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("guestfsd")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program that ends with this.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon that listens on a socket of its own, in a scratch directory.
struct Listening {
    program: Program,
    client: Client<UnixStream>,
}

impl Listening {
    /// Runs a shell script, whose `$0` is the daemon, and connects to the
    /// socket that the daemon then makes.
    fn script(script: &str, dir: &Path, socket: &Path) -> Self {
        let stderr = fs::File::create(dir.join("stderr")).expect("stderr");
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(daemon())
            .arg(dir)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn();
        let program = Program(child.expect("sh"));
        let deadline = Instant::now() + LIMIT;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "connect: {error}"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        stream.set_read_timeout(Some(LIMIT)).expect("timeout");
        let client = Client::launch(stream).expect("launch");
        Self { program, client }
    }

    /// Hangs up; gives the daemon's exit status.
    fn end(mut self) -> Option<i32> {
        let stream = self.client.stream();
        stream.shutdown(Shutdown::Both).expect("shutdown");
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.program.0.try_wait().expect("wait") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the daemon goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn the_version_has_its_form() {
    for option in ["-V", "--version"] {
        let output = run(&[option]);
        assert!(output.status.success());
        let text = text(&output.stdout);
        let version = text.strip_prefix("guestfsd ").expect("name");
        assert!(
            version.ends_with('\n') && version.split('.').count() >= 3,
            "{text}"
        );
    }
}

#[test]
fn the_help_has_every_option() {
    for option in ["-?", "--help"] {
        let output = run(&[option]);
        assert!(output.status.success());
        let text = text(&output.stdout);
        for option in [
            "-?, --help",
            "-V, --version",
            "-c, --channel",
            "-l, --listen",
            "-n, --network",
            " -r ",
            "-v, --verbose",
            "--sysroot",
        ] {
            assert!(text.contains(option), "{option} in {text}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (args, word) in [
        (&["--no-such"][..], "--no-such"),
        (&["stray"], "stray"),
        (&["--channel"], "--channel"),
        (&["-r", "--sysroot", "/x"], "--sysroot"),
        (&["--channel", "fd:x"], "fd:x"),
        (&["--channel", "fd:999"], "fd:999"),
        (&["--channel", "fd:0", "--listen"], "--listen"),
        (&["--channel", "/none/port"], "/none/port"),
        (&["--listen", "--channel", "/none/socket"], "/none/socket"),
        (&["--listen", "--channel", "/etc/passwd"], "/etc/passwd"),
        (&[], "org.libguestfs.channel.0"),
    ] {
        let output = run(args);
        assert!(!output.status.success(), "{args:?}");
        let text = text(&output.stderr);
        assert!(text.contains(word), "{args:?}: {text}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn one_connection_is_served() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = dir.path().join("socket");
    let script = r#"exec "$0" --listen --channel "$1/socket" --sysroot "$1""#;
    let mut listening = Listening::script(script, dir.path(), &socket);
    listening.client.ping_daemon().expect("ping");
    assert!(!socket.exists(), "no other connection is accepted");
    let root = listening.client.debug("sh", &["echo $root"]).expect("sh");
    let real = dir.path().canonicalize().expect("directory");
    assert_eq!(text(&root).trim_end(), real.to_str().expect("path"));
    assert_eq!(listening.end(), Some(0));
}

#[test]
fn closed_standard_descriptors_are_opened() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = dir.path().join("socket");
    // Otherwise the channel would be one of them, and messages would go there.
    let script = r#"exec "$0" -l -c "$1/socket" <&- >&- 2>&-"#;
    let mut listening = Listening::script(script, dir.path(), &socket);
    let text = text(&listening.client.debug("fds", &[""]).expect("fds"));
    for fd in 0..3 {
        let line = format!(" {fd} /dev/null");
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    assert_eq!(listening.end(), Some(0));
}

#[test]
fn the_kernel_command_line_counts_less_than_options() {
    let dir = tempfile::tempdir().expect("tempdir");
    fs::write(
        dir.path().join("cmdline"),
        format!(
            "quiet guestfs_verbose=1 guestfs_channel={}\n",
            dir.path().join("kernel").display()
        ),
    )
    .expect("cmdline");
    for (options, name) in [("", "kernel"), ("--channel \"$1/option\"", "option")] {
        let script = format!(
            r#"exec unshare --mount sh -c 'mount --bind "$1/cmdline" /proc/cmdline && exec "$0" --listen {options}' "$0" "$1""#
        );
        let socket = dir.path().join(name);
        let mut listening = Listening::script(&script, dir.path(), &socket);
        listening.client.ping_daemon().expect("ping");
        let log = fs::read_to_string(dir.path().join("stderr")).expect("stderr");
        assert!(
            log.contains("guestfsd: <= ping_daemon"),
            "not verbose: {log}"
        );
        assert_eq!(listening.end(), Some(0));
    }
}

#[test]
fn calls_are_logged_only_when_asked_for() {
    let mut quiet = Direct::start(&[]);
    quiet.ping_daemon().expect("ping");
    assert_eq!(quiet.hang_up().stderr, "");
    let mut verbose = Direct::with_args(&[], &["--verbose"]);
    verbose.ping_daemon().expect("ping");
    let log = verbose.hang_up().stderr;
    assert!(
        log.contains("guestfsd: <= ping_daemon (0x5c) request length 40 bytes"),
        "{log}"
    );
    let (_, took) = log
        .split_once("guestfsd: => ping_daemon (0x5c) took ")
        .unwrap_or_else(|| panic!("{log}"));
    let took = took
        .lines()
        .next()
        .and_then(|took| took.strip_suffix(" secs"));
    let (whole, parts) = took.and_then(|took| took.split_once('.')).expect(&log);
    assert!(whole.parse::<u8>().is_ok() && parts.len() == 2, "{log}");
}

#[test]
fn this_machine_stays_mounted() {
    // In a sandbox, whose root is a filesystem of its own.
    let mut direct = Direct::with_args(&[], &["-r"]);
    let mounts = |direct: &mut Direct| {
        let text = direct.debug("sh", &["cat /proc/self/mounts"]).expect("sh");
        text.split(|&byte| byte == b'\n').count()
    };
    let before = mounts(&mut direct);
    direct
        .mkdir("/made")
        .expect("the root is there without mount");
    let listed = direct.debug("ls", &["-d", "/made"]).expect("ls");
    assert_eq!(listed, b"/made\n");
    direct.internal_autosync().expect("autosync");
    assert_eq!(mounts(&mut direct), before);
}

#[test]
fn the_child_environment_is_sane_whatever_the_daemon_got() {
    let dir = tempfile::tempdir().expect("tempdir");
    let socket = dir.path().join("socket");
    let script = r#"umask 0; exec env -i PATH=/nowhere LC_ALL=xx "$0" -l -c "$1/socket""#;
    let mut listening = Listening::script(script, dir.path(), &socket);
    let env = text(&listening.client.debug("env", &[""]).expect("env"));
    let mut lines: Vec<&str> = env.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "LC_ALL=C",
            "PATH=/sbin:/usr/sbin:/bin:/usr/bin",
            "SHELL=/bin/sh",
            "TERM=dumb"
        ]
    );
    let inside = listening
        .client
        .debug("sh", &["umask; pwd; ls -d /"])
        .expect("sh");
    assert_eq!(text(&inside), "0022\n/\n/");
    let mut rest = String::new();
    assert_eq!(listening.end(), Some(0));
    fs::File::open(dir.path().join("stderr"))
        .and_then(|mut file| file.read_to_string(&mut rest))
        .expect("stderr");
    assert_eq!(rest, "");
}
