//! What the test lanes share: daemons to talk to.
//!
//! [`Direct`] is the built daemon without a virtual machine, driven by the
//! generated client or by raw bytes. Every wait has a limit, so a daemon that
//! hangs fails its test; and whatever a test leaves behind goes with it.

pub mod support;

pub use protocol::client::{Client, ClientError};
pub use support::direct::{Direct, DiskSpec, Exit};
pub use support::skip::skipped;
