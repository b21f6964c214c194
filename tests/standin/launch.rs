//! A launch, from its processes' point of view.
//!
//! The stand-in itself only waits, and passes on the end. Its child is the
//! first process of a PID namespace: it builds the sandbox, starts the daemon
//! and reaps. Whichever goes first, the kernel ends all of the rest.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, pipe2};

use crate::disk::{Attached, Spec};
use crate::{sandbox, sys};

/// What to start.
pub(crate) struct Launch {
    pub(crate) disks: Vec<Spec>,
    pub(crate) channel: OwnedFd,
    /// What the daemon finds as its kernel's command line.
    pub(crate) cmdline: OsString,
    pub(crate) daemon_args: Vec<OsString>,
    /// The library expects of its qemu that a SIGTERM is a clean end.
    pub(crate) clean_exit_when_stopped: bool,
}

impl Launch {
    /// The launch that `--direct [--disk FILE | --disk-ro FILE]...
    /// [--cmdline LINE] [-- ARGS]` asks for, on standard input.
    pub(crate) fn direct(args: &[OsString]) -> Result<Self> {
        let channel = nix::unistd::dup(std::io::stdin()).context("standard input")?;
        let mut launch = Self {
            disks: Vec::new(),
            channel,
            cmdline: OsString::new(),
            daemon_args: Vec::new(),
            clean_exit_when_stopped: false,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .with_context(|| format!("{arg:?} needs a value"))
            };
            match arg.to_str() {
                Some("--disk") => {
                    launch.disks.push(Spec {
                        path: value()?.into(),
                        ..Spec::default()
                    });
                }
                Some("--disk-ro") => launch.disks.push(Spec {
                    path: value()?.into(),
                    readonly: true,
                    ..Spec::default()
                }),
                Some("--cmdline") => launch.cmdline = value()?.clone(),
                Some("--") => launch.daemon_args.extend(args.by_ref().cloned()),
                _ => bail!("unknown argument {arg:?}"),
            }
        }
        Ok(launch)
    }
}

/// Runs the daemon until it ends or the stand-in is told to.
pub(crate) fn run(launch: Launch) -> Result<ExitCode> {
    let mut disks = launch
        .disks
        .iter()
        .map(Attached::new)
        .collect::<Result<Vec<_>>>()?;
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ] {
        signals.add(signal);
    }
    signals.thread_block()?;
    unshare(CloneFlags::CLONE_NEWPID).context("PID namespace (this needs root)")?;
    let clean = launch.clean_exit_when_stopped;
    let (inside, entering) = pipe2(OFlag::O_CLOEXEC)?;
    let Some(child) = sys::fork()? else {
        drop(inside);
        let code = first_process(launch, &disks, entering).unwrap_or_else(|error| {
            eprintln!("hv-standin: {error:#}");
            125
        });
        std::process::exit(code);
    };
    disks.iter_mut().for_each(Attached::release);
    drop(launch);
    drop(entering);
    let mounts = mounts_of(child, inside);
    let mut stopped = false;
    let status = loop {
        if signals.wait()? != Signal::SIGCHLD {
            stopped = true;
            let _ = kill(child, Signal::SIGKILL);
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {}
            status => break status,
        }
    };
    drop(mounts);
    disks.iter().for_each(Attached::wait_detached);
    Ok(match status {
        _ if stopped && clean => ExitCode::SUCCESS,
        WaitStatus::Exited(_, code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        _ => ExitCode::from(128 + 9),
    })
}

/// Keeps the sandbox's mounts, once it has them, until all its processes have ended. Otherwise the
/// last one unmounts; and if that serves one of the filesystems, such as NTFS, it waits for itself
/// then, and all who sync wait for it.
fn mounts_of(first: Pid, inside: OwnedFd) -> Option<File> {
    // It ends when the sandbox is there, or will never be.
    let _ = File::from(inside).read(&mut [0]);
    File::open(format!("/proc/{first}/ns/mnt")).ok()
}

/// The sandbox's first process; returns the daemon's exit status. Lets go of `entering` when it is
/// in the sandbox.
fn first_process(launch: Launch, disks: &[Attached], entering: OwnedFd) -> Result<i32> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let daemon = std::env::var_os("GUESTFSD_BIN").context("GUESTFSD_BIN is not set")?;
    let daemon = std::fs::canonicalize(&daemon)
        .with_context(|| PathBuf::from(&daemon).display().to_string())?;
    sandbox::enter(disks, &daemon, &launch.cmdline).context("sandbox")?;
    drop(entering);

    let mut command = command();
    let channel = launch.channel;
    fcntl(&channel, FcntlArg::F_SETFD(FdFlag::empty()))?;
    command
        .arg("--channel")
        .arg(format!("fd:{}", channel.as_raw_fd()));
    command.args(&launch.daemon_args);
    command.args(split(std::env::var_os("GUESTFSD_ARGS").as_deref()));
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root");
    for keep in [
        "TERM",
        "RUST_BACKTRACE",
        "LLVM_PROFILE_FILE",
        "GUESTFSD_WORKER_SECONDS",
        "GUESTFSD_WORKER_MEMORY",
        "GUESTFSD_PROGRESS_MILLISECONDS",
    ] {
        if let Some(value) = std::env::var_os(keep) {
            command.env(keep, value);
        }
    }
    // The daemon's programs can be ended by the signals that the stand-in blocks for itself.
    SigSet::empty().thread_set_mask()?;
    tell_start()?;
    let daemon = command
        .stdin(Stdio::null())
        .spawn()
        .context("starting the daemon")?;
    // The library must see the channel close when the daemon goes.
    drop(channel);
    let daemon = Pid::from_raw(i32::try_from(daemon.id())?);
    loop {
        match waitpid(None, None)? {
            WaitStatus::Exited(pid, code) if pid == daemon => return Ok(code),
            WaitStatus::Signaled(pid, signal, _) if pid == daemon => {
                eprintln!("hv-standin: the daemon was killed by {signal}");
                return Ok(128 + signal as i32);
            }
            _ => {}
        }
    }
}

/// Writes when the daemon is started, in nanoseconds of the monotonic clock, to
/// the descriptor that `STANDIN_START_FD` names: a benchmark wants to know, and
/// the sandbox takes longer to make than the daemon to start.
fn tell_start() -> Result<()> {
    let Some(fd) = std::env::var_os("STANDIN_START_FD") else {
        return Ok(());
    };
    let mut pipe = std::fs::OpenOptions::new()
        .write(true)
        .open(Path::new("/proc/self/fd").join(fd))
        .context("STANDIN_START_FD")?;
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let nanoseconds = u64::try_from(Duration::from(now).as_nanos())?;
    pipe.write_all(&nanoseconds.to_ne_bytes())?;
    Ok(())
}

/// The daemon, under `STANDIN_WRAP` if that is set.
fn command() -> Command {
    let wrap = std::env::var_os("STANDIN_WRAP");
    let mut words = split(wrap.as_deref());
    match words.next() {
        Some(program) => {
            let mut command = Command::new(program);
            command.args(words).arg(sandbox::DAEMON);
            command
        }
        None => {
            let mut command = Command::new(sandbox::DAEMON);
            command.arg0("guestfsd");
            command
        }
    }
}

fn split(words: Option<&OsStr>) -> impl Iterator<Item = String> {
    let words = words
        .map(|words| words.to_string_lossy().into_owned())
        .unwrap_or_default();
    words
        .split_whitespace()
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}
