//! Handing a key to a program.
//!
//! A key goes through a pipe whose other end the program inherits: it is in no
//! argument, variable or file, cannot be swapped out, and is gone when it has
//! been read.

use std::os::fd::OwnedFd;

use base64::Engine;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::unistd::{pipe2, write};
use protocol::{Context, Error, Key, Result};

use crate::encoding::BASE64;
use crate::logging;

/// A pipe with this key in it, from which it can be read once; an empty file for an empty key.
///
/// # Errors
///
/// EINVAL if the key says that it is base64, and is not; EFBIG if no pipe takes it.
pub(super) fn pipe(key: &Key) -> Result<OwnedFd> {
    let decoded;
    let bytes = match encoding(key.as_bytes()) {
        Encoding::Plain(bytes) => bytes,
        Encoding::Base64(text) => {
            decoded = decode(text)?;
            decoded.as_bytes()
        }
    };
    filled(bytes).map_err(|errno| match errno {
        Errno::EAGAIN | Errno::EPERM => {
            Error::with_errno(Errno::EFBIG, "the key is longer than a pipe can hold")
        }
        errno => Error::os(errno, "key"),
    })
}

fn filled(mut bytes: &[u8]) -> nix::Result<OwnedFd> {
    // cryptsetup takes an empty file for an empty key, but not an empty pipe.
    if bytes.is_empty() {
        return memfd_create("key", MFdFlags::MFD_CLOEXEC);
    }
    // Nobody reads yet, so a write that does not fit must fail.
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let size = fcntl(&writer, FcntlArg::F_GETPIPE_SZ)?;
    if let Ok(needed) = i32::try_from(bytes.len())
        && needed > size
    {
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(needed))?;
    }
    while !bytes.is_empty() {
        let n = write(&writer, bytes)?;
        bytes = bytes.get(n..).unwrap_or_default();
    }
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(reader)
}

#[derive(Debug, PartialEq, Eq)]
enum Encoding<'a> {
    Plain(&'a [u8]),
    Base64(&'a [u8]),
}

/// What a prefix says of the key; a key need not have one.
fn encoding(key: &[u8]) -> Encoding<'_> {
    if let Some(text) = key.strip_prefix(b"base64:") {
        Encoding::Base64(text)
    } else {
        Encoding::Plain(key.strip_prefix(b"text:").unwrap_or(key))
    }
}

fn decode(text: &[u8]) -> Result<Key> {
    // Allocated at their full sizes, since growing would leave copies behind.
    let mut line = Vec::with_capacity(text.len());
    line.extend(text.iter().filter(|&&byte| byte != b'\n'));
    let line = Key::from(line);
    let mut decoded = vec![0; base64::decoded_len_estimate(text.len())];
    let length = BASE64.decode_slice(line.as_bytes(), &mut decoded);
    if let Ok(length) = length {
        decoded.truncate(length);
    }
    // What was decoded before an error is overwritten too.
    let decoded = Key::from(decoded);
    match length {
        Ok(_) => Ok(decoded),
        // The decoder's own words quote the key.
        Err(_) => Err(Error::invalid("the key after base64: is not base64")),
    }
}

/// The limit of core dumps that forbids them in files and in programs that the kernel runs for
/// them: the latter it would run with a limit of 0, too.
const NONE: rlim_t = 1;

/// While this is there, neither the daemon nor a program that it starts leaves
/// a core dump, which would hold the key.
#[derive(Debug)]
pub(super) struct NoCore {
    before: (rlim_t, rlim_t),
}

impl NoCore {
    /// # Errors
    ///
    /// The errno of the system call.
    pub(super) fn new() -> Result<Self> {
        const SUBJECT: &str = "setrlimit (RLIMIT_CORE)";
        let before = getrlimit(Resource::RLIMIT_CORE).context(SUBJECT)?;
        setrlimit(Resource::RLIMIT_CORE, NONE.min(before.1), before.1).context(SUBJECT)?;
        Ok(Self { before })
    }
}

impl Drop for NoCore {
    fn drop(&mut self) {
        let (soft, hard) = self.before;
        if let Err(errno) = setrlimit(Resource::RLIMIT_CORE, soft, hard) {
            logging::warning(format_args!("setrlimit: {errno}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    fn passed(key: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::from(pipe(&Key::new(key))?)
            .read_to_end(&mut bytes)
            .expect("read");
        Ok(bytes)
    }

    #[test]
    fn every_byte_goes_through() {
        for key in [&b""[..], b"k", b"line\n", b"\0\xff\n\0", b"base64", b"text"] {
            assert_eq!(passed(key).unwrap(), key);
        }
        let long: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        assert_eq!(passed(&long).unwrap(), long);
    }

    #[test]
    fn a_program_reads_it_by_its_name() {
        let key = pipe(&Key::new(b"a\nb")).unwrap();
        let output = crate::command::Command::new("cat")
            .fd_arg(&key, "the key")
            .run();
        assert_eq!(output.unwrap().stdout, b"a\nb");
    }

    #[test]
    fn prefixes_are_taken_off() {
        assert_eq!(passed(b"text:base64:aGk=").unwrap(), b"base64:aGk=");
        assert_eq!(passed(b"text:").unwrap(), b"");
        assert_eq!(passed(b"base64:aGkA\n/w==\n").unwrap(), b"hi\0\xff");
        assert_eq!(passed(b"base64:").unwrap(), b"");
    }

    #[test]
    fn a_key_is_not_quoted_when_it_is_wrong() {
        for key in [&b"base64:S3cret!!"[..], b"base64:S3c", b"base64:S3cr t="] {
            let error = passed(key).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINVAL));
            assert!(!error.message().contains("S3c"), "{error}");
        }
    }

    #[test]
    fn core_dumps_are_off_for_a_while() {
        let before = getrlimit(Resource::RLIMIT_CORE).unwrap();
        {
            let _guard = NoCore::new().unwrap();
            assert_eq!(
                getrlimit(Resource::RLIMIT_CORE).unwrap().0,
                NONE.min(before.1)
            );
            let output = crate::command::Command::new("sh")
                .args(["-c", "ulimit -Sc"])
                .run();
            // In units of 512 or 1024 bytes.
            assert_eq!(output.unwrap().stdout, b"0\n");
        }
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), before);
    }
}
