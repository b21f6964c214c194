//! Watching files for changes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use protocol::api::{InotifyActions, InotifyEvent};
use protocol::{Context, Error, GuestPath, List, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

use super::descriptor_path;
use crate::Daemon;

/// How many events the kernel keeps for a handle that is opened from now on.
const MAX_EVENTS: &str = "/proc/sys/fs/inotify/max_queued_events";

/// How many bytes of events are taken from the kernel at a time.
const BLOCK: usize = 16 << 10;

/// Where a reply is full. The rest of a message is more than a block of events can become.
const REPLY_MAX: usize = protocol::wire::MESSAGE_MAX / 2;

/// What an event takes in a message besides its name: numbers, the name's length and its filling.
const EVENT_MAX: usize = 8 + 4 + 4 + 4 + 3;

/// What a name takes in a message besides its bytes.
const NAME_MAX: usize = 4 + 3;

/// `IN_UNMOUNT`, which every watch has whether it was asked for or not.
const UNMOUNT: WatchFlags = WatchFlags::from_bits_retain(ReadFlags::UNMOUNT.bits());

/// The inotify handle. An open one keeps no filesystem from being unmounted: the kernel drops the
/// watches on it then, and says so in an event.
#[derive(Debug, Default)]
pub(crate) struct State {
    handle: Option<OwnedFd>,
}

impl State {
    fn open(&self, action: &str) -> Result<&OwnedFd> {
        self.handle.as_ref().ok_or_else(|| {
            Error::new(format!(
                "{action}: you must call 'inotify_init' first to initialize inotify"
            ))
        })
    }
}

impl InotifyActions for Daemon {
    fn inotify_init(&mut self, maxevents: i32) -> Result<()> {
        self.guest.require_root()?;
        let maxevents = u32::try_from(maxevents)
            .map_err(|_| Error::with_errno(Errno::EINVAL, "maxevents must not be negative"))?;
        let handle = match maxevents {
            0 => new_handle(),
            _ => with_max_events(maxevents, new_handle),
        }?;
        self.inotify.handle = Some(handle);
        Ok(())
    }

    fn inotify_add_watch(&mut self, path: GuestPath, mask: i32) -> Result<i64> {
        let inotify = self.inotify.open("inotify_add_watch")?;
        let flags = WatchFlags::from_bits_retain(mask.cast_unsigned());
        let file = if flags.contains(WatchFlags::DONT_FOLLOW) {
            self.guest.handle_nofollow(&path)?
        } else {
            self.guest.handle(&path)?
        };
        // The file is found; but the kernel's link to it has still to be followed. Flags alone are
        // a mask to the kernel, and none at all is not: there is always one that is in effect
        // anyway.
        let flags = if flags.contains(WatchFlags::DONT_FOLLOW) {
            (flags - WatchFlags::DONT_FOLLOW) | UNMOUNT
        } else {
            flags
        };
        let watch = inotify::add_watch(inotify, descriptor_path(&file), flags)
            .map_err(io::Error::from)
            .context(&path)?;
        Ok(watch.into())
    }

    fn inotify_rm_watch(&mut self, wd: i32) -> Result<()> {
        let inotify = self.inotify.open("inotify_rm_watch")?;
        inotify::remove_watch(inotify, wd)
            .map_err(io::Error::from)
            .context(wd)
    }

    fn inotify_read(&mut self) -> Result<List<InotifyEvent>> {
        let mut events = Vec::new();
        let mut len = 0;
        drain(self.inotify.open("inotify_read")?, |event| {
            len += EVENT_MAX + event.in_name.len();
            events.push(event);
            len < REPLY_MAX
        })?;
        Ok(events.into())
    }

    fn inotify_files(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut names = BTreeSet::new();
        let mut len = 0;
        drain(self.inotify.open("inotify_files")?, |event| {
            let name_len = event.in_name.len();
            if name_len > 0 && names.insert(event.in_name) {
                len += NAME_MAX + name_len;
            }
            len < REPLY_MAX
        })?;
        Ok(names.into_iter().collect())
    }

    fn inotify_close(&mut self) -> Result<()> {
        self.inotify.open("inotify_close")?;
        self.inotify.handle = None;
        Ok(())
    }
}

fn new_handle() -> Result<OwnedFd> {
    inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
        .map_err(io::Error::from)
        .context("inotify_init1")
}

/// Calls `make` while the kernel has another limit of events, which a handle gets when it is made.
fn with_max_events<T>(limit: u32, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let usual = fs::read(MAX_EVENTS).context(MAX_EVENTS)?;
    fs::write(MAX_EVENTS, format!("{limit}\n")).context(MAX_EVENTS)?;
    let made = make();
    fs::write(MAX_EVENTS, usual).context(MAX_EVENTS)?;
    made
}

/// Takes what has happened, in order, until nothing is left or `take` has enough. What has been
/// read from the kernel by then is taken all the same, the rest stays there for the next time.
fn drain(inotify: &OwnedFd, mut take: impl FnMut(InotifyEvent) -> bool) -> Result<()> {
    let mut block = vec![MaybeUninit::uninit(); BLOCK];
    let mut events = Reader::new(inotify, &mut block);
    let mut enough = false;
    while !enough || !events.is_buffer_empty() {
        let event = match events.next() {
            Ok(event) => event,
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => return Err(io::Error::from(error)).context("read"),
        };
        enough |= !take(InotifyEvent {
            in_wd: event.wd().into(),
            in_mask: event.events().bits(),
            in_cookie: event.cookie(),
            in_name: event
                .file_name()
                .map_or_else(Vec::new, |name| name.to_bytes().to_vec()),
        });
    }
    Ok(())
}
