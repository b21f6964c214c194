//! The parts of the harness.

pub mod boot;
pub mod direct;
pub mod given;
pub mod images;
pub mod ldm;
pub mod machine;
pub mod raw;
pub mod skip;
pub mod tang;
