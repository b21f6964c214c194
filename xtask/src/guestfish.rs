//! An unmodified guestfish in its server mode, one command at a time.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{kvm, process};

/// The first launch has supermin collect the appliance's files, too.
pub(crate) const LAUNCH_LIMIT: Duration = Duration::from_secs(300);
/// No command of ours moves enough data to take this long, even emulated.
pub(crate) const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// A running guestfish server. It ends, and qemu with it, when this is dropped.
pub(crate) struct Session {
    /// Until it has ended.
    server: Option<Pid>,
    errors: File,
    errors_read: u64,
    /// Every command so far, with what came of it.
    pub(crate) transcript: Vec<Entry>,
}

/// One command of a transcript.
pub(crate) struct Entry {
    pub(crate) command: String,
    pub(crate) output: String,
    pub(crate) time: Duration,
}

impl Session {
    /// Starts a server with disks; the virtual machine starts with `run`.
    /// `cache` is where supermin keeps this appliance's root filesystem: with a
    /// shared one, another appliance could be booted instead.
    pub(crate) fn start(
        appliance: &Path,
        cache: &Path,
        disks: &[&Path],
        read_only: bool,
    ) -> Result<Session> {
        std::fs::create_dir_all(cache)?;
        let mut command = Command::new("guestfish");
        command
            .arg("--listen")
            .env("LIBGUESTFS_PATH", appliance)
            .env("LIBGUESTFS_CACHEDIR", cache)
            .env_remove("LIBGUESTFS_DEBUG")
            .env_remove("LIBGUESTFS_TRACE")
            .envs(kvm::environment());
        if read_only {
            command.arg("--ro");
        } else {
            command.arg("--rw").arg("--format=raw");
        }
        for disk in disks {
            command.arg("--add").arg(disk);
        }
        // The server says there why a command failed.
        let errors = tempfile::tempfile()?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?);
        let mut child = process::spawn_interruptible(&mut command)?;
        let mut printed = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut printed)?;
        }
        process::wait(&mut child, COMMAND_LIMIT)?;
        let server = printed
            .split("GUESTFISH_PID=")
            .nth(1)
            .and_then(|rest| rest.split(';').next())
            .and_then(|number| number.trim().parse().ok());
        match server {
            Some(number) => Ok(Session {
                server: Some(Pid::from_raw(number)),
                errors,
                errors_read: 0,
                transcript: Vec::new(),
            }),
            None => bail!("guestfish --listen did not say which process it is: {printed}"),
        }
    }

    /// Launches the virtual machine.
    pub(crate) fn launch(&mut self) -> Result<()> {
        self.within(LAUNCH_LIMIT, &["run"]).map(|_| ()).context(
            "the appliance did not start; to see why, run: \
             LIBGUESTFS_DEBUG=1 LIBGUESTFS_BACKEND=direct \
             LIBGUESTFS_PATH=target/appliance guestfish -a /dev/null run",
        )
    }

    /// Runs one command and returns what it printed.
    pub(crate) fn call(&mut self, words: &[&str]) -> Result<String> {
        self.within(COMMAND_LIMIT, words)
    }

    fn within(&mut self, limit: Duration, words: &[&str]) -> Result<String> {
        let server = self.server.context("guestfish has ended")?;
        let start = Instant::now();
        let finished = process::output(
            Command::new("guestfish")
                .arg(format!("--remote={server}"))
                .arg("--")
                .args(words),
            limit,
        )?;
        let mut output = finished.text();
        let failed = !finished.status.success();
        if failed {
            output.push_str(&String::from_utf8_lossy(&finished.stderr));
            output.push_str(&self.new_errors()?);
        }
        self.transcript.push(Entry {
            command: words.join(" "),
            output: output.clone(),
            time: start.elapsed(),
        });
        if failed {
            bail!("guestfish> {}: {}", words.join(" "), output.trim());
        }
        Ok(output)
    }

    /// What the server has written to its standard error since the last time.
    fn new_errors(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.errors.read_at(&mut buffer, self.errors_read)? {
                0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                count => {
                    bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    self.errors_read += count as u64;
                }
            }
        }
    }

    /// Ends the virtual machine properly, with everything written.
    pub(crate) fn exit(mut self) -> Result<Vec<Entry>> {
        self.end()?;
        Ok(std::mem::take(&mut self.transcript))
    }

    fn end(&mut self) -> Result<()> {
        self.call(&["exit"])?;
        self.server = None;
        Ok(())
    }

    /// The server ends at once, and its virtual machine when that is noticed. Files are left.
    fn terminate(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = kill(server, Signal::SIGTERM);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.server.is_some() && self.end().is_err() {
            self.terminate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a virtual machine.
    fn session() -> (Session, Pid) {
        // As it is where guestfish is started.
        process::interruptions().thread_block().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let session = Session::start(cache.path(), cache.path(), &[], true).unwrap();
        let server = session.server.unwrap();
        assert!(runs(server));
        (session, server)
    }

    fn runs(process: Pid) -> bool {
        // Nothing is there for one that nobody has waited for yet.
        std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|words| !words.is_empty())
    }

    fn ends(process: Pid) -> bool {
        let end = Instant::now() + COMMAND_LIMIT;
        while runs(process) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        !runs(process)
    }

    #[test]
    fn a_session_ends_with_what_has_it() {
        let (session, server) = session();
        drop(session);
        assert!(ends(server));
    }

    #[test]
    fn a_session_that_cannot_be_asked_ends_too() {
        let (mut session, server) = session();
        session.terminate();
        assert!(ends(server));
        let socket = format!("/tmp/.guestfish-{}/socket-{server}", nix::unistd::geteuid());
        // It may have ended before it made that.
        let _ = std::fs::remove_file(socket);
        session.call(&["version"]).unwrap_err();
    }
}
