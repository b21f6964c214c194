//! `debug progress`: progress messages to order, for tests of libraries.

use std::time::Duration;

use protocol::{Progress, Result};

use super::commands::{number, ok, usage};

/// Between two reports at the usual, limited rate.
const STEP: Duration = Duration::from_millis(100);

/// The longest run, in seconds, and the slowest rate, in microseconds.
const LIMIT: u64 = 1_000_000;

/// `SECONDS`: reports ten times a second, and as many messages leave as leave
/// from any other call. `SECONDS RATE`: one message every RATE microseconds.
pub(super) fn run(progress: &mut Progress<'_>, args: &[&[u8]]) -> Result<Vec<u8>> {
    let expected =
        || usage("progress: expecting the time in seconds, and perhaps a rate in microseconds");
    let within = |text: &[u8], what: &str| match number::<u64>(text) {
        None => Err(expected()),
        Some(value @ 1..=LIMIT) => Ok(value),
        Some(value) => Err(usage(&format!(
            "progress: {what} {value} is not from 1 to {LIMIT}"
        ))),
    };
    let seconds = within(args.first().ok_or_else(expected)?, "the time")?;
    match args.get(1) {
        None => {
            let steps = seconds * 10;
            for step in 1..=steps {
                std::thread::sleep(STEP);
                progress.update(step, steps);
            }
        }
        Some(rate) => {
            let rate = within(rate, "the rate")?;
            let total = seconds * 1_000_000;
            for position in (1..=total / rate).map(|count| count * rate) {
                std::thread::sleep(Duration::from_micros(rate));
                progress.update_now(position, total);
            }
        }
    }
    ok()
}
