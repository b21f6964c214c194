//! The parts of the harness.

pub mod boot;
pub mod direct;
pub mod ldm;
pub mod raw;
