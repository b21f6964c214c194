//! The thread that sends pulses.
//!
//! The first call that may need it starts it, and it stays: most calls end long
//! before a pulse is due, and set and clear an alarm without a system call.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two pulses.
pub(crate) const INTERVAL: Duration = Duration::from_millis(334);

/// Sends a pulse; `false` if the call wants no more.
pub(crate) type Send = Box<dyn Fn() -> bool + std::marker::Send>;

/// An alarm clock whose thread ends when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Pulser {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    clock: Mutex<Clock>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Clock {
    /// When the next pulse is due.
    alarm: Option<Instant>,
    thread: Thread,
    closed: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Thread {
    #[default]
    Absent,
    /// Until then, or until it is woken.
    Asleep(Option<Instant>),
    Sending,
}

impl Pulser {
    /// Has pulses sent from `first` on. `sender` is asked for once, by the first call.
    pub(crate) fn start(&self, first: Instant, sender: impl FnOnce() -> Send) {
        let mut clock = self.shared.lock();
        clock.alarm = Some(first);
        match clock.thread {
            Thread::Absent => {
                let shared = Arc::clone(&self.shared);
                let send = sender();
                let thread = std::thread::Builder::new()
                    .name("pulse".to_owned())
                    .stack_size(64 * 1024)
                    .spawn(move || shared.run(&send));
                // Without a thread to spare the call goes on without progress.
                if thread.is_ok() {
                    clock.thread = Thread::Asleep(Some(first));
                }
            }
            Thread::Asleep(until) if until.is_none_or(|until| first < until) => {
                self.shared.changed.notify_all();
            }
            Thread::Asleep(_) | Thread::Sending => {}
        }
    }

    /// Has no more sent; none is on its way when this returns.
    pub(crate) fn stop(&self) {
        let mut clock = self.shared.lock();
        clock.alarm = None;
        while clock.thread == Thread::Sending {
            clock = self.shared.wait(clock, None);
        }
    }
}

impl Drop for Pulser {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        clock: MutexGuard<'a, Clock>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, Clock> {
        match limit {
            None => self
                .changed
                .wait(clock)
                .unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let woken = self.changed.wait_timeout(clock, limit);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn run(&self, send: &Send) {
        let mut clock = self.lock();
        while !clock.closed {
            let left = clock
                .alarm
                .map(|alarm| alarm.saturating_duration_since(Instant::now()));
            if left != Some(Duration::ZERO) {
                clock.thread = Thread::Asleep(clock.alarm);
                clock = self.wait(clock, left);
                continue;
            }
            clock.thread = Thread::Sending;
            drop(clock);
            let goes_on = send();
            clock = self.lock();
            clock.thread = Thread::Asleep(None);
            // The call may have stopped it meanwhile.
            if clock.alarm.is_some() {
                clock.alarm = goes_on.then(|| Instant::now() + INTERVAL);
            }
            self.changed.notify_all();
        }
    }
}
