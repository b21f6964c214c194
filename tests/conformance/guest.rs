//! `idl/guest/`.

mod inotify;
mod inspection;
