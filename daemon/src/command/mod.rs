//! Running external programs: the only place that does.
//!
//! Arguments are handed over as they are, never through a shell. A program
//! gets `/dev/null` for its stdin unless it is fed, the environment of
//! [`crate::environment`], and no descriptors besides those passed to it. What
//! it prints is bounded. It runs in a process group of its own, which ends
//! with the [`Child`].

mod child;
mod names;

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use protocol::{Context, Error, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::guest::{self, View};
use crate::{environment, logging};

pub use child::{Child, Exchanged};
use names::Names;

/// How much a program may print on stdout, unless the handler says otherwise.
pub const STDOUT_LIMIT: usize = 32 << 20;

/// How much of a program's stderr is kept.
pub const STDERR_LIMIT: usize = 32 << 10;

/// A program with its arguments.
///
/// ```no_run
/// # fn f(device: &protocol::Device) -> protocol::Result<()> {
/// use daemon::command::Command;
/// Command::new("mke2fs").args(["-t", "ext4"]).operands([device.path()]).run()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<OwnedFd>,
    fds: Vec<OwnedFd>,
    names: Names,
    stdin: Stdin,
    fold_stderr: bool,
    stdout_limit: usize,
    stdout_cut: bool,
    memory_limit: Option<u64>,
    status_in_error: bool,
    failure: Option<Error>,
}

#[derive(Debug)]
enum Stdin {
    Null,
    Bytes(Vec<u8>),
    File(File),
}

/// What a program left behind that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed on stderr; the beginning, if it was very long.
    pub stderr: Vec<u8>,
}

impl Output {
    /// stderr as text, without white space around it.
    pub fn message(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }

    /// The error that this output of a program is, where its exit status says so.
    pub fn failure(&self, program: &str) -> Error {
        exit_error(program, self, false)
    }

    /// The same of a program that says on stdout what is wrong.
    pub fn failure_on_stdout(&self, program: &str) -> Error {
        match String::from_utf8_lossy(&self.stdout).trim() {
            "" => self.failure(program),
            said => Error::new(said).repeating(said),
        }
    }
}

impl Command {
    /// A program on PATH, or by its absolute path.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            fds: Vec::new(),
            names: Names::default(),
            stdin: Stdin::Null,
            fold_stderr: false,
            stdout_limit: STDOUT_LIMIT,
            stdout_cut: false,
            memory_limit: None,
            status_in_error: false,
            failure: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds arguments that are no options, whatever they begin with: `--` goes
    /// before them.
    #[must_use]
    pub fn operands<S: Into<OsString>>(self, operands: impl IntoIterator<Item = S>) -> Self {
        self.arg("--").args(operands)
    }

    /// Sets an environment variable of the program.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs the program in a directory that is held open.
    #[must_use]
    pub fn cwd(mut self, dir: &impl AsFd) -> Self {
        // The child changes to it before it executes the program, which need not inherit it.
        match dir.as_fd().try_clone_to_owned() {
            Ok(fd) => self.cwd = Some(fd),
            Err(error) => self.fail(Errno::from_raw(error.raw_os_error().unwrap_or_default())),
        }
        self
    }

    /// Passes an open file on, and gives the name under which the program finds
    /// it, to be used as an argument. Where the program speaks of it in an error, it
    /// has the name `known`.
    pub fn fd(&mut self, file: &impl AsFd, known: impl fmt::Display) -> PathBuf {
        match inheritable(file) {
            Ok(fd) => {
                let path = guest::descriptor_path(&fd);
                self.names.add(&path, known);
                self.fds.push(fd);
                path
            }
            Err(errno) => {
                self.fail(errno);
                PathBuf::from("/dev/null")
            }
        }
    }

    /// Passes an open file on as an argument. Where the program speaks of it in an
    /// error, it has the name `known`.
    #[must_use]
    pub fn fd_arg(mut self, file: &impl AsFd, known: impl fmt::Display) -> Self {
        let path = self.fd(file, known);
        self.arg(path)
    }

    /// Lets `known` stand for a path or name of the appliance's where the program speaks of it
    /// in an error.
    pub(crate) fn known_as(&mut self, path: &Path, known: impl fmt::Display) {
        self.names.add(path, known);
    }

    /// Passes a view on as [`Command::fd`] does with a file. Programs may find out where it
    /// is, too.
    pub(crate) fn view(&mut self, view: &View, known: impl fmt::Display + Copy) -> PathBuf {
        self.known_as(view.path(), known);
        self.fd(view, known)
    }

    /// Runs the program in a view of what callers call `known`.
    #[must_use]
    pub(crate) fn in_view(mut self, view: &View, known: impl fmt::Display) -> Self {
        self.known_as(view.path(), known);
        self.cwd(view)
    }

    /// Feeds `bytes` to the program.
    #[must_use]
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Gives the program an open file as its stdin.
    #[must_use]
    pub fn stdin_file(mut self, file: impl Into<File>) -> Self {
        self.stdin = Stdin::File(file.into());
        self
    }

    /// Lets stderr go where stdout goes, for programs that put their results on
    /// either.
    #[must_use]
    pub fn fold_stderr(mut self) -> Self {
        self.fold_stderr = true;
        self
    }

    /// How much the program may print; more is an error.
    #[must_use]
    pub fn stdout_limit(mut self, bytes: usize) -> Self {
        self.stdout_limit = bytes;
        self
    }

    /// How much is kept of what the program prints; the rest is thrown away. For
    /// repairs, which may say something of each file, and must not be ended in the
    /// middle.
    #[must_use]
    pub fn stdout_beginning(mut self, bytes: usize) -> Self {
        self.stdout_limit = bytes;
        self.stdout_cut = true;
        self
    }

    /// How much memory the program, and each that it starts, may use: for those
    /// that take as much as the guest's data want them to.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Lets errors of [`Command::run`] begin with `PROGRAM exited with status N`.
    /// Some actions have always reported failures in this form.
    #[must_use]
    pub fn status_in_error(mut self) -> Self {
        self.status_in_error = true;
        self
    }

    /// Runs the program to its end; a non-zero exit status is an error, whose
    /// message is what the program said on stderr.
    ///
    /// # Errors
    ///
    /// Also as for [`Command::output`].
    pub fn run(self) -> Result<Output> {
        let (program, status) = (self.name(), self.status_in_error);
        let output = self.output()?;
        if output.code == 0 {
            Ok(output)
        } else {
            Err(exit_error(&program, &output, status))
        }
    }

    /// Runs the program to its end and gives its exit status only.
    ///
    /// # Errors
    ///
    /// As for [`Command::output`].
    pub fn status(self) -> Result<i32> {
        self.stdout_beginning(0).output().map(|output| output.code)
    }

    /// Runs the program to its end, whatever its exit status.
    ///
    /// # Errors
    ///
    /// ENOENT if there is no such program; when it was killed by a signal; E2BIG
    /// when it printed more than the bound.
    pub fn output(mut self) -> Result<Output> {
        let (limit, cut) = (self.stdout_limit, self.stdout_cut);
        let stdin = std::mem::replace(&mut self.stdin, Stdin::Null);
        let bytes = match stdin {
            Stdin::Bytes(bytes) => Some(bytes),
            other => {
                self.stdin = other;
                None
            }
        };
        let mut child = self.start(bytes.is_some())?;
        let stdout = child.communicate(bytes.as_deref().unwrap_or_default(), limit, cut)?;
        child.finish_with(stdout)
    }

    /// Starts the program with pipes on its stdin and stdout. Its stdin is
    /// [`Child::close_stdin`]'s to close; if the command was given a stdin,
    /// there is no pipe.
    ///
    /// # Errors
    ///
    /// ENOENT if there is no such program; the errno of the system call.
    pub fn spawn(self) -> Result<Child> {
        let pipe = matches!(self.stdin, Stdin::Null);
        self.start(pipe)
    }

    fn start(mut self, feed: bool) -> Result<Child> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let name = self.name();
        let path = environment::find_program(&self.program)
            .ok_or_else(|| Error::os(Errno::ENOENT, &name))?;
        logging::debug(format_args!("command: {name}{}", self.shown_args()));
        let mut command = std::process::Command::new(path);
        command
            .arg0(&self.program)
            .args(&self.args)
            .envs(environment::overrides())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .process_group(0);
        if let Some(dir) = &self.cwd {
            command.current_dir(guest::descriptor_path(dir));
        }
        command.stdin(match self.stdin {
            _ if feed => Stdio::piped(),
            Stdin::File(file) => Stdio::from(file),
            Stdin::Null | Stdin::Bytes(_) => Stdio::null(),
        });
        let both = if self.fold_stderr {
            Some(folded(&mut command).context(&name)?)
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            None
        };
        let child = command.spawn().context(&name)?;
        if let Some(bytes) = self.memory_limit {
            limit_memory(&child, bytes);
        }
        let mut child = Child::new(name, child, both, self.stdout_limit, self.status_in_error)?;
        child.names = self.names;
        Ok(child)
    }

    fn name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    fn shown_args(&self) -> String {
        self.args
            .iter()
            .map(|arg| format!(" {}", shown(arg)))
            .collect()
    }

    fn fail(&mut self, errno: Errno) {
        if self.failure.is_none() {
            self.failure = Some(Error::os(errno, self.name()));
        }
    }
}

/// Limits the memory of a program that has just been started. What it does not
/// have by now it does not get.
fn limit_memory(child: &std::process::Child, bytes: u64) {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    // A program that has ended already needs no limit.
    let _ = prlimit(Some(Pid::from_child(child)), Resource::As, limit);
}

/// Puts stdout and stderr into one pipe, and gives its other end. The command
/// holds the write end: the pipe's end is seen when it is gone too.
fn folded(command: &mut std::process::Command) -> io::Result<OwnedFd> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    Ok(OwnedFd::from(reader))
}

/// A copy of the descriptor that a program inherits. Only the thread that
/// serves calls starts programs, so no other program gets it by accident.
fn inheritable(file: &impl AsFd) -> nix::Result<OwnedFd> {
    nix::unistd::dup(file)
}

/// An argument in a form that a person can paste.
fn shown(arg: &OsStr) -> String {
    let text = arg.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn exit_error(program: &str, output: &Output, with_status: bool) -> Error {
    let (code, said) = (output.code, output.message());
    if said.is_empty() {
        return Error::new(format!("{program} exited with status {code}"));
    }
    let message = match with_status {
        true => format!("{program} exited with status {code}: {said}"),
        false => said.clone(),
    };
    Error::new(message).repeating(&said)
}

/// The exit code, or an error that names the signal.
fn exit_code(program: &str, status: ExitStatus) -> Result<i32> {
    if let Some(code) = status.code() {
        return Ok(code);
    }
    let signal = status.signal().unwrap_or_default();
    let name = Signal::try_from(signal).map_or("unknown", Signal::as_str);
    Err(Error::new(format!(
        "{program} was killed by signal {signal} ({name})"
    )))
}
