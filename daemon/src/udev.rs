//! Waiting until udev has dealt with the devices that the kernel announced.
//!
//! `udevadm settle` asks udevd whether it has seen all that the kernel has
//! sent, and then waits for its queue to be empty. The same is done here, in
//! process: a program costs more than most waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket,
};

use crate::command::Command;
use crate::{environment, logging};

const RUN: &str = "/run/udev";
/// In there: the socket that udevd listens on.
const CONTROL: &str = "control";
/// In there while udevd has something to do.
const QUEUE: &str = "queue";

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
    let run = Path::new(RUN);
    if run.join(CONTROL).exists() {
        match settle_in_process(run, Instant::now() + LIMIT) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                logging::warning(format_args!("udev is still busy after {LIMIT:?}"));
                return true;
            }
            Err(error) => logging::debug(format_args!("udev: {error}; asking udevadm")),
        }
    }
    settle_by_program()
}

fn settle_in_process(run: &Path, deadline: Instant) -> io::Result<()> {
    ping(&run.join(CONTROL), deadline)?;
    wait_for_queue(run, deadline)
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
fn ping(control: &Path, deadline: Instant) -> io::Result<()> {
    let fd = socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    connect(fd.as_raw_fd(), &UnixAddr::new(control)?)?;
    for kind in [PING, END] {
        match send(fd.as_raw_fd(), &message(kind), MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => {}
            // Old ones close after the first message.
            Err(Errno::EPIPE) if kind == END => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    while Instant::now() < deadline {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left(deadline)) {
            Ok(0) | Err(Errno::EINTR) => {}
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

fn wait_for_queue(run: &Path, deadline: Instant) -> io::Result<()> {
    let queue = run.join(QUEUE);
    if !queue.exists() {
        return Ok(());
    }
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(run, AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM)?;
    // Looked at only after the watch is there, so that its end is not missed.
    while queue.exists() {
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut fds = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, left(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let _ = inotify.read_events();
    }
    Ok(())
}

fn left(deadline: Instant) -> PollTimeout {
    // Rounded up, so that a remainder below a millisecond does not spin.
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{Backlog, accept, bind, listen, recv};

    /// Answers one connection as udevd does: reads until the end message, and
    /// closes. Gives back the kinds of the messages.
    fn answer(control: &Path, delay: Duration) -> std::thread::JoinHandle<Vec<u32>> {
        let fd = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        bind(fd.as_raw_fd(), &UnixAddr::new(control).unwrap()).unwrap();
        listen(&fd, Backlog::new(1).unwrap()).unwrap();
        std::thread::spawn(move || {
            let peer = accept(fd.as_raw_fd()).unwrap();
            let mut kinds = Vec::new();
            loop {
                let mut buffer = [0; 1024];
                let len = recv(peer, &mut buffer, MsgFlags::empty()).unwrap();
                assert_eq!(len, MESSAGE_LEN);
                let word = |at: usize| u32::from_ne_bytes(buffer[at..at + 4].try_into().unwrap());
                assert_eq!(word(16), MAGIC);
                kinds.push(word(20));
                if word(20) == END {
                    break;
                }
            }
            std::thread::sleep(delay);
            nix::unistd::close(peer).unwrap();
            kinds
        })
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn the_answer_is_waited_for() {
        let run = tempfile::tempdir().unwrap();
        let delay = Duration::from_millis(150);
        let udevd = answer(&run.path().join(CONTROL), delay);
        let start = Instant::now();
        settle_in_process(run.path(), soon()).unwrap();
        assert!(start.elapsed() >= delay);
        assert_eq!(udevd.join().unwrap(), [PING, END]);
    }

    #[test]
    fn the_queue_is_waited_for() {
        let run = tempfile::tempdir().unwrap();
        let queue = run.path().join(QUEUE);
        std::fs::write(&queue, "").unwrap();
        let udevd = answer(&run.path().join(CONTROL), Duration::ZERO);
        let delay = Duration::from_millis(150);
        let start = Instant::now();
        let remover = std::thread::spawn(move || {
            std::thread::sleep(delay);
            std::fs::remove_file(queue).unwrap();
        });
        settle_in_process(run.path(), soon()).unwrap();
        assert!(start.elapsed() >= delay);
        remover.join().unwrap();
        udevd.join().unwrap();
    }

    #[test]
    fn the_wait_is_bounded() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(QUEUE), "").unwrap();
        let deadline = Instant::now() + Duration::from_millis(100);
        let error = wait_for_queue(run.path(), deadline).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_socket_without_udevd_is_an_error() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join(CONTROL), "").unwrap();
        assert!(settle_in_process(run.path(), soon()).is_err());
    }
}
