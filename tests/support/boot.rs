//! Clients that boot a virtual machine.
//!
//! What to boot comes from the environment (`LIBGUESTFS_PATH` and others, which
//! `cargo xtask test appliance` sets).

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A boot under emulation takes 15 s; the first collects the appliance's files.
const BOOT: Duration = Duration::from_secs(300);
/// What a client does after that takes two minutes at most. This only ends what hangs: on a machine
/// that is busy with other things it may take ten times as long.
const WORK: Duration = Duration::from_secs(1500);

/// A line with this tells that the machine has booted.
pub const BOOTED: &str = "BOOTED";

/// What a client printed, standard output and standard error in one.
#[derive(Debug)]
pub struct Output {
    /// The text.
    pub text: String,
    /// Whether the exit status was 0.
    pub success: bool,
}

/// Runs a client in this directory. It prints [`BOOTED`] when it has launched.
/// One boot in a few hundred hangs under emulation, whatever is in it, so that
/// alone is tried again.
///
/// # Panics
///
/// When it takes too long, or does not start.
pub fn run(directory: &Path, client: impl Fn() -> Command) -> Output {
    attempt(directory, &client)
        .or_else(|| attempt(directory, &client))
        .expect("the virtual machine did not boot, twice")
}

/// A Python script of `tests/appliance`, which prints `DONE` when all is as it
/// should be.
///
/// # Panics
///
/// When it does not, with all that it printed.
pub fn python(directory: &Path, script: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("appliance")
        .join(script);
    let output = run(directory, || {
        // The distribution's, for which the binding is built.
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-u", "-B"]).arg(&script).env("LC_ALL", "C");
        command
    });
    assert!(output.success, "{}", output.text);
    assert!(output.text.ends_with("DONE\n"), "{}", output.text);
}

/// `None` when the boot hung.
fn attempt(directory: &Path, client: impl Fn() -> Command) -> Option<Output> {
    let path = directory.join("output");
    let output = File::create(&path).expect("output");
    let text = || String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
    let mut command = with_us(&client());
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("output"))
        .stderr(output)
        .process_group(0);
    let mut child = command.spawn().expect("client");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break Some(status);
        }
        let booted = || text().lines().any(|line| line == BOOTED);
        if start.elapsed() > BOOT + WORK || (start.elapsed() > BOOT && !booted()) {
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    // The machine is in the client's process group.
    if let Ok(group) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
    let text = text();
    match status {
        Some(status) => Some(Output {
            text,
            success: status.success(),
        }),
        None if text.lines().any(|line| line == BOOTED) => panic!("too slow:\n{text}"),
        None => None,
    }
}

/// The same client, but it ends when this thread does, however that ends; with it goes the machine,
/// which the library sees to.
fn with_us(client: &Command) -> Command {
    let mut command = testkit::bound(client.get_program());
    command.args(client.get_args());
    for (name, value) in client.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// A guestfish script, one output for each of its commands.
///
/// # Panics
///
/// When guestfish fails, with all that it printed.
pub fn guestfish(directory: &Path, args: &[&str], commands: &[&str]) -> Vec<String> {
    let mut script = format!("run\necho {BOOTED}\n");
    for command in commands {
        script.push_str(command);
        script.push_str("\necho ----\n");
    }
    std::fs::write(directory.join("script"), script).expect("script");
    let output = run(directory, || {
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "guestfish"])
            .args(args)
            .args(["-f", "script"]);
        command.env("LC_ALL", "C");
        command
    });
    assert!(output.success, "{}", output.text);
    let after = output
        .text
        .split_once(&format!("{BOOTED}\n"))
        .map_or("", |(_, after)| after);
    let mut outputs: Vec<String> = after.split("----\n").map(str::to_owned).collect();
    outputs.truncate(commands.len());
    assert_eq!(outputs.len(), commands.len(), "{}", output.text);
    outputs
}
