//! Tests that cannot do their work on this machine.

use std::fs::OpenOptions;
use std::io::Write;

/// Says why a test ends at once, so that it does not count as one that has passed: `cargo xtask
/// test` names the file in `GUESTFSD_SKIPPED`, and reads it.
///
/// # Panics
///
/// When that file cannot be written to.
pub fn skipped(why: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    if let Some(file) = std::env::var_os("GUESTFSD_SKIPPED") {
        let file = OpenOptions::new().append(true).open(file);
        // In one piece, since others may write as well.
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("GUESTFSD_SKIPPED");
    }
}
