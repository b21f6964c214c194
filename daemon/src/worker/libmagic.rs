//! libmagic's functions, loaded at run time.
#![allow(unsafe_code, reason = "these are C functions")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{NonNull, null};

use nix::errno::Errno;
use protocol::{Error, Result};

use super::Library;
use super::run::unusable;

const MAGIC_NONE: c_int = 0;
const MAGIC_COMPRESS: c_int = 0x0000_0004;

/// How to look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flags {
    /// At what is there.
    Plain,
    /// At what is compressed in it, too.
    Decompress,
}

/// `magic_t`
type Handle = NonNull<c_void>;

type Open = unsafe extern "C" fn(c_int) -> Option<Handle>;
type Close = unsafe extern "C" fn(Handle);
type Load = unsafe extern "C" fn(Handle, *const c_char) -> c_int;
type SetFlags = unsafe extern "C" fn(Handle, c_int) -> c_int;
type Descriptor = unsafe extern "C" fn(Handle, c_int) -> *const c_char;
type Buffer = unsafe extern "C" fn(Handle, *const c_void, usize) -> *const c_char;
type Message = unsafe extern "C" fn(Handle) -> *const c_char;
type Number = unsafe extern "C" fn(Handle) -> c_int;

/// The functions that are used.
struct Functions {
    open: Open,
    close: Close,
    load: Load,
    set_flags: SetFlags,
    descriptor: Descriptor,
    buffer: Buffer,
    error: Message,
    errno: Number,
}

impl Functions {
    fn find(library: &libloading::Library) -> Result<Self, libloading::Error> {
        // SAFETY: the types are those of magic.h, in all versions of this soname.
        unsafe {
            Ok(Self {
                open: *library.get(b"magic_open\0")?,
                close: *library.get(b"magic_close\0")?,
                load: *library.get(b"magic_load\0")?,
                set_flags: *library.get(b"magic_setflags\0")?,
                descriptor: *library.get(b"magic_descriptor\0")?,
                buffer: *library.get(b"magic_buffer\0")?,
                error: *library.get(b"magic_error\0")?,
                errno: *library.get(b"magic_errno\0")?,
            })
        }
    }
}

/// The library with its database in memory.
pub(super) struct Cookie {
    handle: Handle,
    functions: Functions,
    /// Goes last: the functions are in it.
    _library: libloading::Library,
}

impl Cookie {
    /// Loads the library and its default database.
    ///
    /// # Errors
    ///
    /// ENOTSUP when one of them is missing.
    pub(super) fn load() -> Result<Self> {
        let unusable = |error: &dyn std::error::Error| unusable(Library::Magic, error);
        // SAFETY: nothing that libmagic does when it is loaded and unloaded needs care.
        let library = unsafe { libloading::Library::new(Library::Magic.file()) }
            .map_err(|error| unusable(&error))?;
        let functions = Functions::find(&library).map_err(|error| unusable(&error))?;
        // SAFETY: it takes any flags.
        let handle = unsafe { (functions.open)(MAGIC_NONE) }
            .ok_or_else(|| unusable(&Error::new("magic_open failed")))?;
        let cookie = Self {
            handle,
            functions,
            _library: library,
        };
        // SAFETY: the handle is open; no name stands for the default database.
        if unsafe { (cookie.functions.load)(cookie.handle, null()) } == -1 {
            return Err(unusable(&cookie.error()));
        }
        Ok(cookie)
    }

    /// Describes an open file from where it stands.
    ///
    /// # Errors
    ///
    /// What libmagic says, such as that there is not enough memory.
    pub(super) fn describe_file(&mut self, file: impl AsFd, flags: Flags) -> Result<Vec<u8>> {
        self.set_flags(flags);
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: the handle is open, and the descriptor is open during the call.
        let text = unsafe { (self.functions.descriptor)(self.handle, fd) };
        self.text(text)
    }

    /// Describes bytes.
    ///
    /// # Errors
    ///
    /// What libmagic says, such as that there is not enough memory.
    pub(super) fn describe_bytes(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.set_flags(Flags::Plain);
        let (start, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the handle is open, and the bytes are there during the call.
        let text = unsafe { (self.functions.buffer)(self.handle, start, len) };
        self.text(text)
    }

    fn set_flags(&mut self, flags: Flags) {
        let flags = match flags {
            Flags::Plain => MAGIC_NONE,
            Flags::Decompress => MAGIC_COMPRESS,
        };
        // It only refuses flags about access times, where the system has none.
        // SAFETY: the handle is open.
        unsafe { (self.functions.set_flags)(self.handle, flags) };
    }

    /// What a function gave back.
    fn text(&self, text: *const c_char) -> Result<Vec<u8>> {
        if text.is_null() {
            return Err(self.error());
        }
        // SAFETY: it is a string, which the library keeps until its next call.
        Ok(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
    }

    fn error(&self) -> Error {
        // SAFETY: the handle is open.
        let (text, errno) = unsafe {
            (
                (self.functions.error)(self.handle),
                (self.functions.errno)(self.handle),
            )
        };
        if text.is_null() {
            // It fails without an error only when it cannot allocate what it reads a file into.
            return Error::os(Errno::ENOMEM, Library::Magic.file());
        }
        // SAFETY: it is a string, which the library keeps until its next call.
        let text = unsafe { CStr::from_ptr(text) };
        let text = text.to_string_lossy().into_owned();
        match errno {
            0 => Error::new(text),
            errno => Error::with_errno(Errno::from_raw(errno), text),
        }
    }
}

impl Drop for Cookie {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and not used afterwards.
        unsafe { (self.functions.close)(self.handle) };
    }
}
