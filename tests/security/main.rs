//! What a hostile guest or a hostile call must not achieve.

mod archives;
mod damaged;
mod escape;
