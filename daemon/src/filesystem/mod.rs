//! Handlers of `idl/filesystem/`: filesystems: mounting, making, checking, describing.
