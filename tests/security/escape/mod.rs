//! The escape matrix: every action at every place where a guest's name can
//! stand, with names that lead out of the guest.
//!
//! The calls are generated from the IDL. Each is made in two worlds, with a
//! canary outside of the guest and without. A test fails when the canary is
//! read, changed, or let out (in an answer, a file that is sent, or into the
//! guest); when another guest's disk is; when the two answers differ, which
//! tells that the canary exists; when something is mounted or left outside; and
//! when the daemon hangs.

use std::os::unix::net::UnixStream;

use conformance::{Client, ClientError};
use protocol::api::*;

use answer::Received;
use conformance::support::given::{self, Given};

mod answer;
mod canary;
mod control;
mod guest;
mod images;
mod matrix;
mod positions;
mod race;
mod values;
mod world;

include!(concat!(env!("OUT_DIR"), "/escapes.rs"));
