//! Handlers of `idl/file/`: files and directories in the guest.
