//! The libguestfs wire protocol: its runtime, and what codegen makes of the IDL.
//!
//! Handlers need the argument types ([`GuestPath`], [`Device`], [`Mountable`],
//! ...), the stream types ([`FileIn`], [`FileOut`], [`Progress`]), [`Error`]
//! and the traits in [`api`]. [`serve`] is the loop that reads calls, and
//! [`api::dispatch`] takes each to its handler.
//!
//! The wire format is that of `guestfs_protocol.x`: XDR (RFC 4506) messages,
//! each after a 4-byte length word, some values of which are flags.

/// Writes a line to stderr, as `eprintln!` does, but goes on when that fails:
/// a log that nobody reads must not end the daemon.
#[macro_export]
macro_rules! log {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let mut line = format!($($arg)*);
        line.push('\n');
        // There is nowhere left to report a log that cannot be written.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }};
}

pub mod channel;
#[cfg(feature = "client")]
pub mod client;
mod error;
mod feature;
mod file_in;
mod file_out;
#[doc(hidden)]
pub mod host;
mod list;
mod progress;
mod pulse;
pub mod resolve;
mod server;
mod types;
pub mod wire;
pub mod worker;
pub mod xdr;

pub use error::{Context, Error, Result, strerror};
pub use feature::{ActionInfo, FeatureInfo, Probe};
pub use file_in::FileIn;
pub use file_out::{FileOut, FileSender, Sent};
pub use host::{Arguments, Call, DeviceNames, Host, Reply};
pub use list::{EncodedList, List, Plain, Structure};
pub use progress::{Pace, Progress};
pub use server::{Ended, serve};
pub use types::{Device, DeviceOrPath, Filename, GuestPath, Key, Mountable, MountableOrPath};

/// What codegen makes of the IDL: structures, option structures, one trait per
/// IDL file, the features, and the dispatch table.
pub mod api {
    include!(concat!(env!("OUT_DIR"), "/api.rs"));
}
