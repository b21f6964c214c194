//! What the tests of several crates share. It depends on nothing, so that any of them can use it.

mod bound;
mod numbers;
mod rsync;

pub use bound::bound;
pub use numbers::Numbers;
pub use rsync::Remote;
