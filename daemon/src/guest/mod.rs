//! The guest: its file tree, and the handlers of `idl/guest/`.
//!
//! Everything below the sysroot was written by somebody else: any directory on
//! the way may be a symbolic link to `/etc`, any file may be a device node or a
//! pipe. [`Guest`] is the only way in. It resolves each path with the guest's
//! root as `/`, so that no link and no `..` leads out, and opens what it found
//! by its handle, so that nothing is opened before its kind is known.

pub(crate) mod inotify;
mod inspection;
mod mounted;
mod resolve;
mod tree;
mod view;

#[cfg(test)]
mod tests;

pub use tree::{Guest, Place, descriptor_path, file_type, reopen};
pub(crate) use view::View;
