//! Files of the guest: one module per file of `idl/file/`, and what they share.

mod contents;
mod descent;
mod directories;
mod fresh;
mod lines;
mod links;
mod printable;
mod removal;
mod status;
mod text;
mod xattrs;
