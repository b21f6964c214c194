//! Opening the channel to the library.

use std::ffi::OsStr;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::logging;

/// The virtio-serial port that the library gives the appliance.
pub const DEFAULT: &str = "/dev/virtio-ports/org.libguestfs.channel.0";

/// Where the library is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// A port or other device, or a Unix socket to listen on.
    Path(PathBuf),
    /// An open descriptor that the daemon was started with.
    Descriptor(RawFd),
}

impl Channel {
    /// `PATH` or `fd:N`.
    ///
    /// # Errors
    ///
    /// When what follows `fd:` is no descriptor's number.
    pub fn parse(text: &OsStr) -> anyhow::Result<Self> {
        let Some(number) = text.as_bytes().strip_prefix(b"fd:") else {
            if text.is_empty() {
                bail!("the channel is empty: give a PATH or fd:N");
            }
            return Ok(Self::Path(PathBuf::from(text)));
        };
        match std::str::from_utf8(number).map(str::parse::<RawFd>) {
            Ok(Ok(number)) if number >= 0 => Ok(Self::Descriptor(number)),
            _ => bail!(
                "{}: what follows fd: must be the number of an open descriptor",
                text.to_string_lossy()
            ),
        }
    }

    /// Opens the channel; with `listen`, waits for a connection to its path.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, with what to do about it.
    pub fn open(&self, listen: bool) -> anyhow::Result<OwnedFd> {
        match self {
            Self::Descriptor(_) if listen => {
                bail!("--listen needs a channel that is a PATH, not fd:N")
            }
            Self::Descriptor(number) => adopt(*number),
            Self::Path(path) if listen => accept(path),
            Self::Path(path) => open_port(path),
        }
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self::Path(PathBuf::from(DEFAULT))
    }
}

/// Takes over a descriptor that the parent process left open.
#[allow(unsafe_code)]
fn adopt(number: RawFd) -> anyhow::Result<OwnedFd> {
    // It is known to be open before it is owned: the owner closes it.
    if !Path::new("/proc/self/fd")
        .join(number.to_string())
        .is_symlink()
    {
        bail!("fd:{number}: the daemon was started without a descriptor of this number");
    }
    // SAFETY: the descriptor is open, as checked above. The daemon is at its
    // start and has opened nothing under a number that it was told to use, and
    // the channel is opened once, so nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // Programs that the daemon runs must not hold the channel open, and the
    // protocol is read and written in turn.
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).with_context(|| format!("fd:{number}"))?;
    let flags = fcntl(&fd, FcntlArg::F_GETFL).with_context(|| format!("fd:{number}"))?;
    let flags = OFlag::from_bits_retain(flags);
    if flags.contains(OFlag::O_NONBLOCK) {
        fcntl(&fd, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))
            .with_context(|| format!("fd:{number}"))?;
    }
    Ok(fd)
}

fn open_port(path: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let fd = open(path, flags, Mode::empty()).map_err(|errno| {
        let hint = match errno {
            Errno::ENOENT => {
                "the appliance has no such port: start it with one \
                 (the library's virtio-serial port has this name), or name another with --channel"
            }
            Errno::ENXIO => {
                "it is a socket: use --listen, or pass a connection with --channel fd:N"
            }
            Errno::EBUSY => "another program has it open: is a second guestfsd running?",
            Errno::EACCES | Errno::EPERM => "the daemon must run as root",
            _ => "check that the appliance's kernel supports this kind of channel",
        };
        let text = protocol::strerror(errno);
        anyhow::anyhow!(
            "cannot open the channel to the library: {}: {text}: {hint}",
            path.display()
        )
    })?;
    if path.as_os_str().as_bytes().starts_with(b"/dev/ttyS") {
        make_raw(&fd, path);
    }
    Ok(fd)
}

/// A serial line would echo, and change line ends and control characters.
fn make_raw(fd: &impl AsFd, path: &Path) {
    let result = tcgetattr(fd).and_then(|mut settings| {
        cfmakeraw(&mut settings);
        tcsetattr(fd, SetArg::TCSANOW, &settings)
    });
    // Channels of that name that are no terminals need no raw mode.
    if let Err(errno) = result {
        logging::warning(format_args!("{}: raw mode: {errno}", path.display()));
    }
}

/// One connection to a new Unix socket; its name is gone afterwards, since no
/// other is accepted.
fn accept(path: &Path) -> anyhow::Result<OwnedFd> {
    let listener = UnixListener::bind(path).map_err(|error| {
        let hint = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EADDRINUSE) => ": remove it, or use another path",
            _ => "",
        };
        anyhow::anyhow!("cannot listen on {}: {error}{hint}", path.display())
    })?;
    let result = listener.accept();
    if let Err(error) = std::fs::remove_file(path) {
        logging::warning(format_args!("{}: {error}", path.display()));
    }
    let (stream, _) = result.with_context(|| format!("accept: {}", path.display()))?;
    Ok(OwnedFd::from(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::os::unix::net::UnixStream;

    #[test]
    fn channels_are_paths_or_descriptors() {
        let parse = |text: &str| Channel::parse(OsStr::new(text));
        assert_eq!(parse("fd:7").unwrap(), Channel::Descriptor(7));
        assert_eq!(parse("/dev/x").unwrap(), Channel::Path("/dev/x".into()));
        for bad in ["", "fd:", "fd:-1", "fd:x", "fd:7x", "fd:99999999999"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_adopted_descriptor_is_not_inherited_and_blocks() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        // A number of its own, that the channel then owns.
        let number = nix::unistd::dup(&theirs).unwrap().into_raw_fd();
        let fd = Channel::Descriptor(number).open(false).unwrap();
        assert_eq!(fd.as_raw_fd(), number);
        let flags = fcntl(&fd, FcntlArg::F_GETFD).unwrap();
        assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
        let flags = fcntl(&fd, FcntlArg::F_GETFL).unwrap();
        assert!(!OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK));
        drop(ours);
    }

    #[test]
    fn a_serial_line_hands_over_bytes_as_they_are() {
        let line = nix::pty::openpty(None, None).unwrap();
        make_raw(&line.slave, Path::new("/dev/ttyS0"));
        let mut ours = std::fs::File::from(line.slave);
        let mut theirs = std::fs::File::from(line.master);
        // A cooked line would end at 4, kill at 21, turn 13 into 10, and wait for a line's end.
        let bytes = [0, 3, 4, 13, 10, 17, 19, 21, 26, 28, 127, 255];
        theirs.write_all(&bytes).unwrap();
        let mut read = [0; 12];
        ours.read_exact(&mut read).unwrap();
        assert_eq!(read, bytes);
        ours.write_all(&bytes).unwrap();
        theirs.read_exact(&mut read).unwrap();
        assert_eq!(read, bytes, "and nothing is echoed");
    }

    #[test]
    fn a_closed_descriptor_is_an_error() {
        let error = Channel::Descriptor(987_654).open(false).unwrap_err();
        assert!(error.to_string().contains("fd:987654"), "{error}");
    }

    #[test]
    fn a_missing_port_says_what_to_do() {
        let error = Channel::Path("/nonexistent/port".into())
            .open(false)
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/nonexistent/port") && text.contains("--channel"),
            "{text}"
        );
    }

    #[test]
    fn serial_lines_become_raw() {
        use nix::sys::termios::{InputFlags, LocalFlags, OutputFlags};
        let line = nix::pty::openpty(None, None).unwrap();
        let settings = || tcgetattr(&line.slave).unwrap();
        assert!(settings().local_flags.contains(LocalFlags::ECHO));
        make_raw(&line.slave, Path::new("line"));
        let cooked = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        assert!(!settings().local_flags.intersects(cooked));
        assert!(
            !settings()
                .input_flags
                .intersects(InputFlags::ICRNL | InputFlags::IXON)
        );
        assert!(!settings().output_flags.contains(OutputFlags::OPOST));
        // What is no terminal is left alone.
        make_raw(
            &std::fs::File::open("/dev/null").unwrap(),
            Path::new("null"),
        );
    }

    #[test]
    fn listening_takes_one_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let client = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut stream = loop {
                    match UnixStream::connect(&path) {
                        Ok(stream) => break stream,
                        Err(_) => std::thread::sleep(std::time::Duration::from_millis(2)),
                    }
                };
                stream.write_all(b"hello").unwrap();
            }
        });
        let fd = Channel::Path(path.clone()).open(true).unwrap();
        client.join().unwrap();
        let mut text = String::new();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(!path.exists());
    }

    #[test]
    fn listening_where_something_is_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::write(&path, "").unwrap();
        let error = Channel::Path(path.clone()).open(true).unwrap_err();
        assert!(error.to_string().contains("remove it"), "{error}");
        assert!(path.exists());
    }
}
