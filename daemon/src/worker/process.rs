//! A worker as the daemon sees it: a process that is there when it is called.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use protocol::worker::{Caller, Connection, Failure};
use protocol::xdr::Encoder;
use protocol::{Error, Result};

use super::{Library, sandbox};
use crate::logging;

/// How long the end of a process that ends anyway is waited for.
const END: Duration = Duration::from_secs(2);

/// A worker, running or not.
#[derive(Debug)]
pub(crate) struct Process {
    library: Library,
    running: Option<Running>,
    /// The library cannot be had: there is no use in trying again.
    missing: bool,
}

#[derive(Debug)]
struct Running {
    child: Child,
    connection: Connection,
}

impl Process {
    pub(super) fn new(library: Library) -> Self {
        Self {
            library,
            running: None,
            missing: false,
        }
    }

    /// Starts the worker if need be; `false` if the library cannot be had.
    ///
    /// # Errors
    ///
    /// When a process cannot be started now.
    pub(super) fn ready(&mut self) -> Result<bool> {
        if let Some(running) = &mut self.running {
            match running.child.try_wait() {
                Ok(None) => return Ok(true),
                // Nobody was served at that time, so nobody need hear of it.
                Ok(Some(status)) => logging::warning(format_args!(
                    "the {} worker {} between two calls",
                    self.library.name(),
                    manner(status)
                )),
                Err(error) => logging::warning(format_args!("worker: {error}")),
            }
            self.running = None;
        }
        if self.missing {
            return Ok(false);
        }
        match Running::start(self.library) {
            Ok(running) => {
                self.running = Some(running);
                Ok(true)
            }
            Err((child, Failure::Reply(reason))) => {
                logging::warning(format_args!("the {} worker: {reason}", self.library.name()));
                kill(child, self.library);
                self.missing = true;
                Ok(false)
            }
            Err((child, failure)) => Err(self.failed(child, failure)),
        }
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            kill(Some(running.child), self.library);
        }
    }

    /// Ends the worker, and says what was wrong with it.
    fn failed(&self, child: Option<Child>, failure: Failure) -> Error {
        let library = self.library.file();
        match failure {
            Failure::Reply(error) => error,
            Failure::Late => {
                kill(child, self.library);
                Error::with_errno(
                    Errno::ETIMEDOUT,
                    format!(
                        "{library} has not answered within {} seconds, and was ended",
                        sandbox::seconds()
                    ),
                )
            }
            Failure::Closed => {
                let how = ended(child, self.library).map_or("has ended".to_owned(), manner);
                Error::with_errno(
                    Errno::EIO,
                    format!("{library} failed on this: the process that runs it {how}"),
                )
            }
            Failure::Nonsense(what) => {
                kill(child, self.library);
                Error::with_errno(
                    Errno::EIO,
                    format!("what {library} answered makes no sense, and it was ended: {what}"),
                )
            }
            Failure::Io(errno) => {
                kill(child, self.library);
                Error::os(errno, library)
            }
        }
    }
}

impl Caller for Process {
    fn call(
        &mut self,
        procedure: u32,
        options: u64,
        args: Encoder,
        files: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>> {
        let Some(running) = &mut self.running else {
            return Err(Error::not_supported(format!(
                "{} is not available",
                self.library.file()
            )));
        };
        let deadline = Instant::now() + Duration::from_secs(sandbox::seconds());
        match running
            .connection
            .call(deadline, procedure, options, args, files)
        {
            Ok(body) => Ok(body),
            Err(Failure::Reply(error)) => {
                // What memory it has is in pieces now; the next call is to have all of it.
                if error.errno() == Some(Errno::ENOMEM) {
                    self.end();
                }
                Err(error)
            }
            Err(failure) => {
                let child = self.running.take().map(|running| running.child);
                Err(self.failed(child, failure))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Running {
    fn start(library: Library) -> Result<Self, (Option<Child>, Failure)> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| (None, error.into()))?;
        let child = Command::new("/proc/self/exe")
            .arg0("guestfsd")
            .args(["--worker", library.name()])
            .env_clear()
            .envs(sandbox::limits())
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| (None, error.into()))?;
        let deadline = Instant::now() + Duration::from_secs(sandbox::seconds());
        match Connection::launch(ours, deadline) {
            Ok(connection) => Ok(Self { child, connection }),
            Err(failure) => Err((Some(child), failure)),
        }
    }
}

/// How a process ended that closed its socket, which it does on its way out.
fn ended(child: Option<Child>, library: Library) -> Option<ExitStatus> {
    let mut child = child?;
    match wait(&mut child) {
        Some(status) => Some(status),
        None => kill(Some(child), library),
    }
}

/// Ends a process.
fn kill(child: Option<Child>, library: Library) -> Option<ExitStatus> {
    let mut child = child?;
    if let Err(error) = child.kill() {
        logging::warning(format_args!("the {} worker: {error}", library.name()));
    }
    let status = wait(&mut child);
    if status.is_none() {
        // It waits for a device that does not answer; that must not stop the daemon too.
        logging::warning(format_args!(
            "the {} worker (process {}) does not end",
            library.name(),
            child.id()
        ));
    }
    status
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + END;
    let mut pause = Duration::from_micros(50);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => {
                sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            _ => return None,
        }
    }
}

/// `was ended by SIGSEGV`
fn manner(status: ExitStatus) -> String {
    match (status.signal().map(Signal::try_from), status.code()) {
        // A program that gets no memory ends itself so.
        (Some(Ok(Signal::SIGABRT)), _) => format!(
            "was ended by SIGABRT; it may have wanted more than its {} KiB of memory",
            sandbox::memory()
        ),
        (Some(Ok(signal)), _) => format!("was ended by {signal}"),
        (_, Some(code)) => format!("ended with status {code}"),
        _ => "has ended".to_owned(),
    }
}
