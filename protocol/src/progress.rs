//! Progress messages, limited in rate.

use std::time::{Duration, Instant};

use crate::channel::{Output, OutputState};
use crate::error::Result;
use crate::pulse;
use crate::wire::ProgressMessage;

/// How soon and how often progress messages leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Calls shorter than this send none.
    pub first: Duration,
    /// How long after a message the next one may leave.
    pub next: Duration,
}

impl Default for Pace {
    /// What libraries expect: none for two seconds, then at most three a second.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            next: pulse::INTERVAL,
        }
    }
}

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
    /// is handy: messages leave at the [`Pace`], and the end is sent if anything
    /// was. Libraries never see it go back, beyond the total, or on after its end,
    /// whatever is measured; and nothing of a total of 0, which nobody knows.
    pub fn update(&mut self, position: u64, total: u64) {
        let mut state = self.output.lock();
        if state.ended || total == 0 {
            return;
        }
        let position = position.max(state.position).min(total);
        let wait = if state.sent == 0 {
            state.pace.first
        } else if position == total {
            Duration::ZERO
        } else {
            state.pace.next
        };
        if state.since.elapsed() >= wait {
            send(self.output, &mut state, position, total);
        }
    }

    /// The same, sent at once: for tests of what libraries do with many messages.
    pub fn update_now(&mut self, position: u64, total: u64) {
        send(self.output, &mut self.output.lock(), position, total);
    }

    /// Sends pulses while `work` runs, which cannot measure itself, and the end
    /// once it has succeeded.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub fn pulse_while<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let pulses = self.pulse();
        let result = work();
        drop(pulses);
        let mut state = self.output.lock();
        if result.is_ok() && state.sent > 0 && state.fatal.is_none() {
            send(self.output, &mut state, 1, 1);
        }
        result
    }

    fn pulse(&self) -> Pulses<'_> {
        let mut state = self.output.lock();
        let mut first = state.since + state.pace.first;
        if first <= Instant::now() {
            send(self.output, &mut state, 0, 1);
            first = Instant::now() + pulse::INTERVAL;
        }
        drop(state);
        self.output.pulser.start(first, || {
            let output = self.output.downgrade();
            Box::new(move || output.upgrade().is_some_and(|output| send_pulse(&output)))
        });
        Pulses(self.output)
    }
}

/// Pulses are sent until it is dropped.
struct Pulses<'c>(&'c Output);

impl Drop for Pulses<'_> {
    fn drop(&mut self) {
        self.0.pulser.stop();
    }
}

/// Sends a pulse; `false` if the channel has failed.
fn send_pulse(output: &Output) -> bool {
    let mut state = output.lock();
    if state.fatal.is_none() {
        send(output, &mut state, 0, 1);
    }
    state.fatal.is_none()
}

fn send(output: &Output, state: &mut OutputState, position: u64, total: u64) {
    let message = ProgressMessage {
        procedure: state.procedure,
        serial: state.serial,
        position,
        total,
    };
    state.sent += 1;
    state.position = position;
    state.ended = position == total;
    state.since = Instant::now();
    if let Err(fatal) = output.send_locked(&message.to_bytes()) {
        state.fatal = Some(fatal);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::channel::open;
    use crate::error::Error;
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
            .checked_sub(Pace::default().first)
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
            // Longer than this can take on any machine.
            progress.output.lock().pace.next = Duration::from_secs(3600);
            for position in 10..=100 {
                progress.update(position, 100);
            }
        });
        assert_eq!(sent, [(10, 100), (100, 100)]);
    }

    #[test]
    fn whatever_is_measured_goes_forward_to_one_end() {
        let sent = messages(long_ago(), |progress| {
            progress.output.lock().pace.next = Duration::ZERO;
            for position in [10, 5, 20, 100, 120, 99] {
                progress.update(position, 100);
            }
            progress.update(1, 0);
        });
        assert_eq!(sent, [(10, 100), (10, 100), (20, 100), (100, 100)]);
    }

    #[test]
    fn pulses_stop_with_the_work() {
        let work = |sleep, result: Result<()>| {
            messages(long_ago(), move |progress| {
                let _ = progress.pulse_while(|| {
                    std::thread::sleep(sleep);
                    result
                });
            })
        };
        // A busy machine may have taken its time.
        let few = work(Duration::ZERO, Ok(()));
        assert!(few.ends_with(&[(0, 1), (1, 1)]), "{few:?}");
        let more = work(pulse::INTERVAL * 3 / 2, Ok(()));
        assert!(more.len() > 2 && more.ends_with(&[(0, 1), (1, 1)]));
        // What has failed does not come to its end.
        let failed = work(Duration::ZERO, Err(Error::new("failed")));
        assert!(!failed.is_empty(), "{failed:?}");
        assert!(failed.iter().all(|sent| *sent == (0, 1)), "{failed:?}");
        let none = messages(Instant::now(), |progress| {
            progress.pulse_while(|| Ok(())).unwrap();
        });
        assert_eq!(none, []);
    }

    #[test]
    fn the_pace_can_be_set() {
        let all: Vec<_> = (0..=100).map(|position| (position, 100)).collect();
        let sent = messages(Instant::now(), |progress| {
            progress.output.lock().pace = Pace {
                first: Duration::ZERO,
                next: Duration::ZERO,
            };
            for (position, total) in &all {
                progress.update(*position, *total);
            }
        });
        assert_eq!(sent, all);
    }
}
