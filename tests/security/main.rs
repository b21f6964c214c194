//! What a hostile guest or a hostile call must not achieve.

mod access;
mod archives;
mod content;
mod damaged;
mod escape;
mod hostile;
