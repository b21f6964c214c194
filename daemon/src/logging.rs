//! What the daemon says on stderr, which is the appliance's console.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static VERBOSE: AtomicBool = AtomicBool::new(false);

/// Turns verbose messages on or off.
pub fn set_verbose(verbose: bool) {
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Whether verbose messages are on.
pub fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// Says something to people who debug; nothing unless verbose.
pub fn debug(message: fmt::Arguments<'_>) {
    if is_verbose() {
        line(message);
    }
}

/// Says that something went wrong which does not fail the call.
pub fn warning(message: fmt::Arguments<'_>) {
    line(format_args!("guestfsd: {message}"));
}

fn line(message: fmt::Arguments<'_>) {
    // One write, so that lines of programs that share the console do not cut
    // it; and a console that is gone must not end the daemon.
    let text = format!("{message}\n");
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
