//! Giving files their data and metadata.
//!
//! Making a file and finishing it take the kernel about as long. In an archive
//! of many small files a thread of its own therefore finishes them, each by the
//! descriptor with which it was made: whatever later members do to its name, it
//! is still that file.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, fstat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};
use protocol::Error;

use super::problems::{Problems, about};
use crate::archive::attributes::{self, Wanted};
use crate::archive::member::Member;
use crate::processors;

/// Files with more data are finished where the archive is read: their data
/// need not be in memory as a whole.
pub(super) const SMALL: u64 = 64 << 10;
/// Files that are handed over at a time: to wake the thread for each would take
/// longer than to finish it.
const BATCH: usize = 64;
/// Or fewer, when they have this much data and attributes.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait.
const WAITING: usize = 2;

/// What of a member's metadata counts.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) attributes: Wanted,
    /// Whether the filesystem has owners.
    owners: AtomicBool,
}

/// A file that has been made.
pub(super) struct Made {
    pub(super) file: OwnedFd,
    pub(super) data: Vec<u8>,
    pub(super) member: Member,
    /// The member's place in the archive.
    pub(super) place: u64,
}

/// Finishes files, in a thread if there are many.
pub(super) struct Finisher {
    pub(super) rules: Arc<Rules>,
    batch: Vec<Made>,
    bytes: usize,
    thread: Thread,
    problems: Problems,
}

enum Thread {
    NotYet,
    Running(SyncSender<Vec<Made>>, JoinHandle<Problems>),
    /// There is one processor, or no thread could be had.
    None,
}

impl Rules {
    pub(super) fn new(attributes: Wanted) -> Self {
        Self {
            attributes,
            owners: AtomicBool::new(true),
        }
    }

    pub(super) fn owners(&self) -> bool {
        self.owners.load(Ordering::Relaxed)
    }

    /// Filesystems without owners say EPERM; their files are everybody's.
    pub(super) fn tolerate_missing_owners(&self, result: nix::Result<()>) -> nix::Result<()> {
        match result {
            Err(Errno::EPERM) => {
                self.owners.store(false, Ordering::Relaxed);
                Ok(())
            }
            result => result,
        }
    }

    /// Owner, mode, attributes and times of what is open. The owner comes first:
    /// a new one takes away bits of the mode. What is right already is left
    /// alone: each change costs the filesystem's journal more than the look.
    pub(super) fn set_metadata(&self, fd: &OwnedFd, member: &Member) -> nix::Result<()> {
        let made = fstat(fd)?;
        let owned = (made.st_uid, made.st_gid) == (member.uid, member.gid);
        if self.owners() && !owned {
            let owner = fchown(
                fd,
                Some(Uid::from_raw(member.uid)),
                Some(Gid::from_raw(member.gid)),
            );
            self.tolerate_missing_owners(owner)?;
        }
        let mode = mode_of(member);
        if !owned || Mode::from_bits_truncate(made.st_mode) != mode {
            fchmod(fd, mode)?;
        }
        attributes::restore(fd, member, self.attributes);
        futimens(fd, &TimeSpec::UTIME_OMIT, &mtime(member))
    }
}

impl Finisher {
    pub(super) fn new(attributes: Wanted) -> Self {
        Self {
            rules: Arc::new(Rules::new(attributes)),
            batch: Vec::new(),
            bytes: 0,
            thread: Thread::NotYet,
            problems: Problems::default(),
        }
    }

    /// Has the file finished some time before [`Finisher::wait`] is back.
    pub(super) fn add(&mut self, made: Made) {
        self.bytes += made.data.len() + made.member.memory();
        self.batch.push(made);
        if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
            self.hand_over();
        }
    }

    /// Finishes what is left, and gives back what went wrong.
    pub(super) fn wait(mut self) -> Problems {
        if matches!(self.thread, Thread::NotYet) {
            // Too few for a thread.
            self.thread = Thread::None;
        }
        self.hand_over();
        if let Thread::Running(queue, thread) = self.thread {
            drop(queue);
            match thread.join() {
                Ok(problems) => self.problems.append(problems),
                Err(_) => {
                    let error = Error::new("files were left unfinished by an internal error");
                    self.problems.add(0, error);
                }
            }
        }
        self.problems
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        let mut batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        if matches!(self.thread, Thread::NotYet) {
            self.thread = Thread::start(&self.rules);
        }
        if let Thread::Running(queue, _) = &self.thread {
            match queue.send(batch) {
                Ok(()) => return,
                Err(unsent) => batch = unsent.0,
            }
        }
        finish(batch, &self.rules, &mut self.problems);
    }
}

impl Thread {
    fn start(rules: &Arc<Rules>) -> Self {
        if !processors::several() {
            return Self::None;
        }
        let (queue, batches) = sync_channel(WAITING);
        let rules = Arc::clone(rules);
        match thread::Builder::new()
            .name("finisher".to_owned())
            .spawn(move || run(&batches, &rules))
        {
            Ok(thread) => Self::Running(queue, thread),
            Err(_) => Self::None,
        }
    }
}

fn run(batches: &Receiver<Vec<Made>>, rules: &Rules) -> Problems {
    let mut problems = Problems::default();
    while let Ok(batch) = batches.recv() {
        finish(batch, rules, &mut problems);
    }
    problems
}

fn finish(batch: Vec<Made>, rules: &Rules, problems: &mut Problems) {
    for made in batch {
        let done = write_at(&made.file, &made.data, 0)
            .and_then(|()| rules.set_metadata(&made.file, &made.member));
        if let Err(errno) = done {
            problems.add(made.place, about(&made.member.name, &errno.into()));
        }
    }
}

/// Writes all bytes.
pub(super) fn write_at(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> nix::Result<()> {
    while !bytes.is_empty() {
        let at = i64::try_from(offset).map_err(|_| Errno::EFBIG)?;
        match nix::sys::uio::pwrite(file, bytes, at) {
            Ok(n) => {
                offset += n as u64;
                bytes = bytes.get(n..).unwrap_or_default();
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The time of what is not open, by its name.
pub(super) fn set_time(dir: &OwnedFd, name: &std::ffi::OsStr, member: &Member) -> nix::Result<()> {
    utimensat(
        dir,
        name,
        &TimeSpec::UTIME_OMIT,
        &mtime(member),
        UtimensatFlags::NoFollowSymlink,
    )
}

pub(super) fn mode_of(member: &Member) -> Mode {
    Mode::from_bits_truncate(member.mode)
}

fn mtime(member: &Member) -> TimeSpec {
    TimeSpec::new(member.mtime.0, member.mtime.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_much_to_keep_are_not_kept_waiting() {
        let mut finisher = Finisher::new(Wanted::default());
        finisher.thread = Thread::None;
        let made = |value: usize| {
            let mut member = Member::default();
            let attribute = (b"user.a".to_vec(), vec![0; value]);
            member.attributes.xattrs.push(attribute);
            Made {
                file: tempfile::tempfile().unwrap().into(),
                data: vec![0; 10],
                member,
                place: 1,
            }
        };
        finisher.add(made(10));
        assert_eq!(finisher.batch.len(), 1);
        finisher.add(made(BATCH_BYTES));
        assert_eq!(finisher.batch.len(), 0);
        finisher.wait().result().unwrap();
    }
}
