//! The daemon itself, what its appliance can do, and debugging.

mod daemon;
mod debug;
mod features;

use std::fs;

use conformance::Direct;

/// A text that is on no disk by chance.
const MARK: &str = "mark-7d0c8f3e5b1a4296";

/// A daemon with a file of [`MARK`]s in the guest that has not left the page
/// cache.
fn with_dirty_file() -> Direct {
    let mut direct = Direct::mounted();
    direct
        .internal_write("/marks", &MARK.repeat(100))
        .expect("write");
    direct
}

/// Whether the marks have reached the image of the first disk.
fn on_disk(direct: &Direct) -> bool {
    let image = fs::read(direct.disk(0)).expect("image");
    image
        .windows(MARK.len())
        .any(|window| window == MARK.as_bytes())
}
