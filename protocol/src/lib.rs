//! The libguestfs wire protocol.
