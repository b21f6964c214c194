//! Running other programs, always with a time limit.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::unistd::Pid;

/// How long programs may take to end when they are asked to: cargo's test runners then end tests,
/// which put away what they have made.
const GRACE: Duration = Duration::from_secs(15);

/// How long we take ourselves after that.
const PUT_AWAY: Duration = Duration::from_secs(5);

/// The programs that run, each with a process group of its own, which the keyboard's interrupt
/// does not reach.
struct Running(Mutex<State>);

struct State {
    groups: BTreeSet<i32>,
    interrupted: bool,
}

static RUNNING: Running = Running::new();

impl Running {
    const fn new() -> Self {
        Self(Mutex::new(State {
            groups: BTreeSet::new(),
            interrupted: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, command: &mut Command) -> Result<Child> {
        let mut state = self.state();
        ensure!(!state.interrupted, "interrupted");
        let child = spawn_interruptible(command.process_group(0))?;
        state.groups.extend(i32::try_from(child.id()));
        Ok(child)
    }

    fn stop(&self, child: &mut Child) {
        if let Ok(id) = i32::try_from(child.id()) {
            let mut state = self.state();
            // No group is left when all of it has ended, which is what is wanted.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
            state.groups.remove(&id);
        }
        let _ = child.wait();
    }

    /// Sends a signal to all, and has nothing more started.
    fn interrupt(&self, signal: Signal) {
        let mut state = self.state();
        state.interrupted = true;
        for id in &state.groups {
            let _ = killpg(Pid::from_raw(*id), signal);
        }
    }
}

/// Has an interruption end the programs that run. What waits for them then fails, and puts away
/// what it has made. To be called while there is no other thread.
pub(crate) fn end_when_interrupted() {
    let signals = interruptions();
    if signals.thread_block().is_err() {
        return;
    }
    std::thread::spawn(move || {
        if signals.wait().is_ok() {
            RUNNING.interrupt(Signal::SIGTERM);
            let end = Instant::now() + GRACE;
            while !RUNNING.state().groups.is_empty() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
            }
            RUNNING.interrupt(Signal::SIGKILL);
            // What is left to do then is to remove files.
            std::thread::sleep(PUT_AWAY);
            std::process::exit(130);
        }
    });
}

pub(crate) fn interruptions() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect()
}

/// Whether we have been asked to end.
pub(crate) fn interrupted() -> bool {
    RUNNING.state().interrupted
}

/// Starts a program that can be interrupted, though we block that for ourselves: programs inherit
/// what is blocked. An interruption in this moment ends us alone.
pub(crate) fn spawn_interruptible(command: &mut Command) -> Result<Child> {
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let child = command.spawn();
    blocked.thread_set_mask()?;
    child.with_context(|| format!("cannot start {}", name(command)))
}

/// Starts a program in a process group of its own; it is to be ended with [`stop`].
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    RUNNING.spawn(command)
}

/// What a program that has ended left behind.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Finished {
    /// The output as text for people and for parsing of plain tools' output.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a program that must succeed, and returns what it printed.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    let finished = output(command, limit)?;
    if !finished.status.success() {
        let stderr = String::from_utf8_lossy(&finished.stderr);
        let stdout = String::from_utf8_lossy(&finished.stdout);
        let said = if stderr.trim().is_empty() {
            stdout
        } else {
            stderr
        };
        bail!(
            "{} failed ({}): {}",
            name(command),
            finished.status,
            tail(&said, 12)
        );
    }
    Ok(finished)
}

/// Runs a program to its end, whatever that is. It is killed, with everything
/// that it started, when the limit is over.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<Finished> {
    command.stderr(Stdio::piped());
    output_only(command, limit)
}

/// The same, but standard error goes where the caller has put it.
pub(crate) fn output_only(command: &mut Command, limit: Duration) -> Result<Finished> {
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let waited = wait(&mut child, limit);
    // A program that was left behind holds the pipes open, and is not wanted.
    stop(&mut child);
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    match waited? {
        Some(status) => Ok(Finished {
            status,
            stdout,
            stderr,
        }),
        None => bail!(
            "{} did not end within {} s and was stopped; it said: {}",
            name(command),
            limit.as_secs(),
            tail(&String::from_utf8_lossy(&stderr), 12)
        ),
    }
}

/// Waits for a child, at most as long as the limit; `None` when it still runs.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Ends a child that leads a process group, and the group with it.
pub(crate) fn stop(child: &mut Child) {
    RUNNING.stop(child);
}

/// The same for one that has children in other groups, and ends them if it has the time.
pub(crate) fn stop_gently(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGTERM);
    }
    // If it cannot be waited for there is nothing to be gentle with.
    let _ = wait(child, GRACE);
    stop(child);
}

/// Where a program is, as the shell would find it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The command as a person would type it.
pub(crate) fn name(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of a program's output: the first are rarely the reason.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    let start = all.len().saturating_sub(lines);
    all.get(start..).unwrap_or_default().join("\n")
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_interruption_ends_what_runs_and_nothing_more_is_started() {
        // As it is while they are waited for.
        interruptions().thread_block().unwrap();
        let running = Running::new();
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("600");
            command
        };
        let mut first = running.spawn(&mut sleep()).unwrap();
        let mut second = running.spawn(&mut sleep()).unwrap();
        running.stop(&mut first);
        running.interrupt(Signal::SIGTERM);
        assert_eq!(second.wait().unwrap().signal(), Some(15));
        running.stop(&mut second);
        assert!(running.state().groups.is_empty());
        let error = running.spawn(&mut sleep()).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }
}
