//! The direct lane: the daemon without a virtual machine.
//!
//! One module per area of actions, and `protocol` for the wire itself.

mod appliance;
mod block;
mod command_line;
mod coverage;
mod file;
mod filesystem;
mod guest;
mod progress;
mod protocol;
mod standin;
mod streams;
mod traces;
mod worker;
