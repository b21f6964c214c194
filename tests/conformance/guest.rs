//! `idl/guest/`.

mod inotify;
