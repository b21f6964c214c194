//! A running program, with its pipes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ChildStdin;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, read, write};
use protocol::{Context, Error, Result};

use super::{Names, Output, STDERR_LIMIT, exit_code, exit_error};
use crate::logging;

const BLOCK: usize = 64 << 10;

/// A running program whose stdin and stdout are pipes to here.
///
/// Reading and writing never deadlock: what the program says on stderr is taken
/// along meanwhile, and what it prints while it is being fed is kept for reading.
/// A `Child` that is dropped before [`Child::finish`] is killed with everything that
/// it started, and reaped.
#[derive(Debug)]
pub struct Child {
    name: String,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Printed while the program was being fed.
    printed: VecDeque<u8>,
    stdout_limit: usize,
    said: Vec<u8>,
    said_more: bool,
    status_in_error: bool,
    /// What callers call the files that the program was given.
    pub(super) names: Names,
    reaped: bool,
}

impl Child {
    pub(super) fn new(
        name: String,
        mut process: std::process::Child,
        stdout: Option<OwnedFd>,
        stdout_limit: usize,
        status_in_error: bool,
    ) -> Result<Self> {
        let child = Self {
            name,
            stdin: process.stdin.take(),
            stdout: stdout.or_else(|| process.stdout.take().map(OwnedFd::from)),
            stderr: process.stderr.take().map(OwnedFd::from),
            process,
            printed: VecDeque::new(),
            stdout_limit,
            said: Vec::new(),
            said_more: false,
            status_in_error,
            names: Names::default(),
            reaped: false,
        };
        for fd in [
            child.stdin.as_ref().map(AsFd::as_fd),
            child.stdout.as_ref().map(AsFd::as_fd),
            child.stderr.as_ref().map(AsFd::as_fd),
        ]
        .into_iter()
        .flatten()
        {
            nonblocking(fd).context(&child.name)?;
        }
        Ok(child)
    }

    /// Lets the program see the end of its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits for the program's end, throwing away what it still prints; a
    /// non-zero exit status is an error.
    ///
    /// # Errors
    ///
    /// What the program said on stderr; when it was killed by a signal.
    pub fn finish(mut self) -> Result<()> {
        self.close_stdin();
        self.printed.clear();
        let mut block = [0; 4096];
        while self.read_some(&mut block).context(&self.name)? > 0 {}
        let (name, status) = (self.name.clone(), self.status_in_error);
        let output = self.finish_with(Vec::new())?;
        if output.code == 0 {
            Ok(())
        } else {
            Err(exit_error(&name, &output, status))
        }
    }

    /// The error to report when a stream to or from the program broke: what
    /// the program says about it, if it failed; `otherwise`, if it did not.
    pub fn failure(self, otherwise: Error) -> Error {
        match self.finish() {
            Ok(()) => otherwise,
            Err(error) => error,
        }
    }

    /// Gives the program some of `input`, which is not empty, or takes some of
    /// its output, or both: for streams that pass through a program.
    ///
    /// # Errors
    ///
    /// EPIPE when it no longer reads; [`Child::failure`] tells why.
    pub fn exchange(&mut self, input: &[u8], output: &mut [u8]) -> nix::Result<Exchanged> {
        let mut exchanged = Exchanged::default();
        if !self.printed.is_empty() {
            exchanged.taken = Some(self.read_some(output)?);
        }
        while exchanged == Exchanged::default() {
            let ready = self.wait_for(self.stdin.is_some(), true)?;
            if ready.stdout {
                exchanged.taken = self.take_stdout(output)?;
            }
            if ready.stdin {
                match self.give_stdin(input) {
                    Ok(given) => exchanged.given = given,
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    // What it has printed is worth more than what it refused.
                    Err(Errno::EPIPE) if exchanged.taken.is_some() => {}
                    Err(errno) => return Err(errno),
                }
            } else if self.stdin.is_none() && exchanged.taken.is_none() {
                return Err(Errno::EPIPE);
            }
        }
        Ok(exchanged)
    }

    pub(super) fn finish_with(mut self, stdout: Vec<u8>) -> Result<Output> {
        self.close_stdin();
        self.stdout = None;
        while self.stderr.is_some() {
            self.wait_for(false, false).context(&self.name)?;
        }
        let status = self.process.wait().context(&self.name)?;
        self.reaped = true;
        let mut stderr = self.names.put_back(std::mem::take(&mut self.said));
        if self.said_more {
            stderr.extend_from_slice(b" ...");
        }
        let code = exit_code(&self.name, status)?;
        logging::debug(format_args!("command: {} returned {code}", self.name));
        if logging::is_verbose() && !stderr.is_empty() {
            let text = String::from_utf8_lossy(&stderr);
            logging::debug(format_args!(
                "command: {}: stderr:\n{}",
                self.name,
                text.trim_end()
            ));
        }
        Ok(Output {
            code,
            stdout,
            stderr,
        })
    }

    /// Feeds `input` and takes all output, whatever the order in which the
    /// program wants it. What is over the limit is an error, or with `cut`, thrown
    /// away.
    pub(super) fn communicate(&mut self, input: &[u8], limit: usize, cut: bool) -> Result<Vec<u8>> {
        let mut output = Vec::new();
        let mut input = input;
        let mut block = vec![0; BLOCK];
        if input.is_empty() {
            self.close_stdin();
        }
        while self.stdout.is_some() || self.stdin.is_some() {
            let ready = self
                .wait_for(self.stdin.is_some(), true)
                .context(&self.name)?;
            if ready.stdout {
                let n = self.take_stdout(&mut block).context(&self.name)?;
                let n = n.unwrap_or(0);
                let room = limit.saturating_sub(output.len());
                if n > room && !cut {
                    return Err(Error::with_errno(
                        Errno::E2BIG,
                        format!("{}: printed more than {limit} bytes", self.name),
                    ));
                }
                output.extend_from_slice(block.get(..n.min(room)).unwrap_or_default());
            }
            if ready.stdin {
                match self.give_stdin(input) {
                    Ok(n) => input = input.get(n..).unwrap_or_default(),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    // It does not want the rest, which is its business.
                    Err(Errno::EPIPE) => input = &[],
                    Err(errno) => return Err(Error::os(errno, &self.name)),
                }
                if input.is_empty() {
                    self.close_stdin();
                }
            }
        }
        Ok(output)
    }

    /// Reads stdout; 0 is its end.
    fn read_some(&mut self, buf: &mut [u8]) -> nix::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if !self.printed.is_empty() {
            return Ok(self.printed.read(buf).unwrap_or_default());
        }
        while self.stdout.is_some() {
            if self.wait_for(false, true)?.stdout
                && let Some(n) = self.take_stdout(buf)?
            {
                return Ok(n);
            }
        }
        Ok(0)
    }

    /// `None` if there was nothing after all.
    fn take_stdout(&mut self, buf: &mut [u8]) -> nix::Result<Option<usize>> {
        let Some(stdout) = &self.stdout else {
            return Ok(Some(0));
        };
        match read(stdout, buf) {
            Ok(0) => {
                self.stdout = None;
                Ok(Some(0))
            }
            Ok(n) => Ok(Some(n)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// A program that cannot print does not read either.
    fn keep_stdout(&mut self) -> nix::Result<()> {
        let mut block = [0; 4096];
        let n = self.take_stdout(&mut block)?.unwrap_or_default();
        if self.printed.len() + n > self.stdout_limit {
            return Err(Errno::EFBIG);
        }
        self.printed
            .extend(block.get(..n).unwrap_or_default().iter());
        Ok(())
    }

    fn give_stdin(&mut self, bytes: &[u8]) -> nix::Result<usize> {
        match &self.stdin {
            Some(stdin) => write(stdin, bytes),
            None => Err(Errno::EPIPE),
        }
    }

    /// Waits until one of the pipes asked for is ready, and takes stderr along.
    fn wait_for(&mut self, stdin: bool, stdout: bool) -> nix::Result<Ready> {
        let stdin = self.stdin.as_ref().filter(|_| stdin).map(AsFd::as_fd);
        let stdout = self.stdout.as_ref().filter(|_| stdout).map(AsFd::as_fd);
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(3);
        fds.extend(stdin.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        fds.extend(stdout.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(stderr.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // Without anything to wait for it would never end.
        if fds.is_empty() {
            return Ok(Ready::default());
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let mut happened = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut next = |asked: bool| asked && happened.next().unwrap_or(false);
        let ready = Ready {
            stdin: next(stdin.is_some()),
            stdout: next(stdout.is_some()),
        };
        if next(stderr.is_some()) {
            self.take_stderr()?;
        }
        Ok(ready)
    }

    fn take_stderr(&mut self) -> nix::Result<()> {
        let Some(stderr) = &self.stderr else {
            return Ok(());
        };
        let mut block = [0; 4096];
        match read(stderr, &mut block) {
            Ok(0) => self.stderr = None,
            Ok(n) => {
                let keep = n.min(STDERR_LIMIT.saturating_sub(self.said.len()));
                self.said_more |= keep < n;
                self.said
                    .extend_from_slice(block.get(..keep).unwrap_or_default());
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(())
    }
}

/// What [`Child::exchange`] has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Bytes of the input that the program has.
    pub given: usize,
    /// Bytes of output; 0 at its end, `None` if there was none yet.
    pub taken: Option<usize>,
}

#[derive(Default)]
struct Ready {
    stdin: bool,
    stdout: bool,
}

/// The program's stdout.
impl Read for Child {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_some(buf)?)
    }
}

/// The program's stdin. EPIPE when it no longer reads; [`Child::failure`] tells why.
impl Write for Child {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match self.give_stdin(buf) {
                Err(Errno::EAGAIN) => {}
                Err(Errno::EINTR) => continue,
                result => return Ok(result?),
            }
            if self.wait_for(true, true)?.stdout {
                self.keep_stdout()?;
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        // Not reaped, so the number is still this program's.
        if let Ok(id) = i32::try_from(self.process.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.process.wait();
    }
}

fn nonblocking(fd: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(drop)
}
