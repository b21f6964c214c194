//! The wire protocol, byte by byte.

mod headers;
