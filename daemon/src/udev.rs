//! Waiting until udev has dealt with the devices that the kernel announced.
//!
//! `udevadm settle` asks udevd whether it has seen all that the kernel has
//! sent, and then waits for its queue to be empty. The same is done here, in
//! process: a program costs more than most waits.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};

use crate::command::Command;
use crate::{environment, logging};

const RUN: &str = "/run/udev";
/// udevd listens on it.
const CONTROL: &str = "/run/udev/control";
/// There while udevd has something to do.
const QUEUE: &str = "/run/udev/queue";

/// As long as `udevadm settle` waits.
const LIMIT: Duration = Duration::from_secs(120);

/// Begins every message to udevd.
const MAGIC: u32 = 0xdead_1dea;
const MESSAGE_LEN: usize = 280;
const END: u32 = 0;
const PING: u32 = 7;

/// Waits until udev has dealt with all that happened to block devices up to
/// now. To be called after changing one, and never for the sake of plain files.
/// Gives back whether there was anything to wait for: `false` where there is no
/// udev at all.
pub fn settle() -> bool {
    let deadline = Instant::now() + LIMIT;
    if Path::new(CONTROL).exists() {
        match ping(deadline).and_then(|()| wait_for_queue(deadline)) {
            Ok(true) => return true,
            Ok(false) => {
                logging::warning(format_args!("udev is still busy after {LIMIT:?}"));
                return true;
            }
            Err(error) => logging::debug(format_args!("udev: {error}; asking udevadm")),
        }
    }
    settle_by_program()
}

fn settle_by_program() -> bool {
    if environment::find_program("udevadm").is_none() {
        return false;
    }
    if let Err(error) = Command::new("udevadm").arg("settle").run() {
        logging::warning(format_args!("udevadm settle: {error}"));
    }
    true
}

/// Makes sure that udevd has read what the kernel sent before this call: it
/// answers (by closing the connection) after everything else that it has to read.
fn ping(deadline: Instant) -> io::Result<()> {
    let fd = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    connect(
        std::os::fd::AsRawFd::as_raw_fd(&fd),
        &UnixAddr::new(CONTROL)?,
    )?;
    for kind in [PING, END] {
        match send(
            std::os::fd::AsRawFd::as_raw_fd(&fd),
            &message(kind),
            MsgFlags::MSG_NOSIGNAL,
        ) {
            Ok(_) => {}
            // Old ones close after the first message.
            Err(nix::errno::Errno::EPIPE) if kind == END => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    while Instant::now() < deadline {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left(deadline)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn message(kind: u32) -> [u8; MESSAGE_LEN] {
    let mut message = [0; MESSAGE_LEN];
    let fields: [(usize, &[u8]); 3] = [
        (0, b"udev-250"),
        (16, &MAGIC.to_ne_bytes()),
        (20, &kind.to_ne_bytes()),
    ];
    for (at, bytes) in fields {
        if let Some(place) = message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
    message
}

fn wait_for_queue(deadline: Instant) -> io::Result<bool> {
    let queue = Path::new(QUEUE);
    if !queue.exists() {
        return Ok(true);
    }
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(RUN, AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM)?;
    // Looked at only after the watch is there, so that its end is not missed.
    while queue.exists() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left(deadline)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let _ = inotify.read_events();
    }
    Ok(true)
}

fn left(deadline: Instant) -> PollTimeout {
    // Rounded up, so that a remainder below a millisecond does not spin.
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
