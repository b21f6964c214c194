//! Progress messages, limited in rate.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::channel::{Output, OutputState};
use crate::wire::ProgressMessage;

/// Calls shorter than this send no progress.
const INITIAL_DELAY: Duration = Duration::from_secs(2);
/// At most three messages a second after that.
const PERIOD: Duration = Duration::from_millis(334);

/// Tells the library how far a call has come.
#[derive(Debug)]
pub struct Progress<'c> {
    output: &'c Output,
    hint: u64,
}

impl<'c> Progress<'c> {
    pub(crate) fn new(output: &'c Output, hint: u64) -> Self {
        Self { output, hint }
    }

    /// How much the library expects to send, or 0 when it does not say.
    pub fn hint(&self) -> u64 {
        self.hint
    }

    /// `position` of `total` is done, in any unit. May be called as often as
    /// is handy: the first message leaves after two seconds, then at most
    /// three a second, and the end is sent if anything was.
    pub fn update(&mut self, position: u64, total: u64) {
        let mut state = self.output.lock();
        let wait = if state.sent == 0 {
            INITIAL_DELAY
        } else if position == total {
            Duration::ZERO
        } else {
            PERIOD
        };
        if state.since.elapsed() >= wait {
            send(self.output, &mut state, position, total);
        }
    }

    /// The same, sent at once: for tests of what libraries do with many messages.
    pub fn update_now(&mut self, position: u64, total: u64) {
        send(self.output, &mut self.output.lock(), position, total);
    }

    /// Sends a pulse three times a second, for work that cannot measure
    /// itself, until the guard is dropped.
    #[must_use = "the pulse stops when this is dropped"]
    pub fn pulse(&self) -> Pulse {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let output = self.output.clone();
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("pulse".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || pulse(&output, &seen))
            // Without a thread to spare the call goes on without progress.
            .ok();
        Pulse {
            stop,
            thread,
            output: self.output.clone(),
        }
    }
}

fn send(output: &Output, state: &mut OutputState, position: u64, total: u64) {
    let message = ProgressMessage {
        procedure: state.procedure,
        serial: state.serial,
        position,
        total,
    };
    state.sent += 1;
    state.since = Instant::now();
    if let Err(fatal) = output.send_locked(&message.to_bytes()) {
        state.fatal = Some(fatal);
    }
}

fn pulse(output: &Output, stop: &(Mutex<bool>, Condvar)) {
    let mut wait = INITIAL_DELAY.saturating_sub(output.lock().since.elapsed());
    let (flag, wake) = stop;
    loop {
        let stopped = flag.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = wake
            .wait_timeout_while(stopped, wait, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return;
        }
        drop(stopped);
        let mut state = output.lock();
        if state.fatal.is_some() {
            return;
        }
        send(output, &mut state, 0, 1);
        wait = PERIOD;
    }
}

/// Pulses until dropped; see [`Progress::pulse`].
#[derive(Debug)]
pub struct Pulse {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    output: Output,
}

impl Drop for Pulse {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported, and ends nothing here.
            drop(thread.join());
        }
        let mut state = self.output.lock();
        if state.sent > 0 && state.fatal.is_none() {
            send(&self.output, &mut state, 1, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::channel::open;
    use crate::xdr::Decoder;

    /// The messages that `work` sends, as position and total.
    fn messages(started: Instant, work: impl FnOnce(&mut Progress<'_>)) -> Vec<(u64, u64)> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (input, output) = open(ours.into());
        output.lock().since = started;
        work(&mut Progress::new(&output, 0));
        drop((input, output));
        let mut bytes = Vec::new();
        theirs.read_to_end(&mut bytes).unwrap();
        bytes
            .chunks(28)
            .map(|message| {
                let message = ProgressMessage::decode(&mut Decoder::new(&message[4..])).unwrap();
                (message.position, message.total)
            })
            .collect()
    }

    fn long_ago() -> Instant {
        Instant::now()
            .checked_sub(INITIAL_DELAY)
            .expect("the clock has run for two seconds")
    }

    #[test]
    fn a_short_call_sends_nothing() {
        let sent = messages(Instant::now(), |progress| {
            for position in 0..=100 {
                progress.update(position, 100);
            }
        });
        assert_eq!(sent, []);
    }

    #[test]
    fn the_rate_is_limited_and_the_end_always_sent() {
        let sent = messages(long_ago(), |progress| {
            for position in 10..=100 {
                progress.update(position, 100);
            }
        });
        assert_eq!(sent, [(10, 100), (100, 100)]);
    }

    #[test]
    fn pulses_stop_with_their_guard() {
        let sent = messages(long_ago(), |progress| {
            let pulse = progress.pulse();
            std::thread::sleep(PERIOD / 2);
            drop(pulse);
        });
        assert_eq!(sent, [(0, 1), (1, 1)]);
        let none = messages(Instant::now(), |progress| drop(progress.pulse()));
        assert_eq!(none, []);
    }
}
