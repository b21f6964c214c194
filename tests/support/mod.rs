//! The parts of the harness.

pub mod direct;
pub mod raw;
