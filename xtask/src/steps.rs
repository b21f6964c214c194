//! What is shown while long steps run: on a terminal one line with the time
//! that has passed, elsewhere a line at the start and one at the end.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often something moves on a terminal.
const FRAME: Duration = Duration::from_millis(100);
/// How often a log is told that a step still runs.
const REMINDER: Duration = Duration::from_secs(60);
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// Runs one step and shows that it runs.
pub(crate) fn step<T, E>(name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    let (done, waiting) = channel::<()>();
    let shown = name.to_owned();
    let display = std::thread::spawn(move || {
        if std::io::stderr().is_terminal() {
            animate(&shown, start, &waiting);
        } else {
            log(&shown, start, &waiting);
        }
    });
    let result = work();
    drop(done);
    // A display that broke is no reason for the step to fail.
    let _ = display.join();
    let outcome = if result.is_ok() { "done" } else { "failed" };
    let clear = if std::io::stderr().is_terminal() {
        "\r\x1b[K"
    } else {
        ""
    };
    eprintln!(
        "{clear}  {outcome:<6} {:>6.1} s  {name}",
        start.elapsed().as_secs_f64()
    );
    result
}

fn animate(name: &str, start: Instant, waiting: &Receiver<()>) {
    for frame in FRAMES.iter().cycle() {
        eprint!(
            "\r\x1b[K  {frame}      {:>6.1} s  {name}",
            start.elapsed().as_secs_f64()
        );
        // Nothing can be done about a terminal that has gone away.
        let _ = std::io::stderr().flush();
        if waiting.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn log(name: &str, start: Instant, waiting: &Receiver<()>) {
    eprintln!("  start            {name}");
    while waiting.recv_timeout(REMINDER) == Err(RecvTimeoutError::Timeout) {
        eprintln!("  ...    {:>6.1} s  {name}", start.elapsed().as_secs_f64());
    }
}
