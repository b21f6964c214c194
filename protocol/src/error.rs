//! Errors as the client sees them: an errno and a message.

use std::fmt;
use std::io;

use nix::errno::Errno;

use crate::xdr::Malformed;

/// What every handler returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error reply: a message that names its subject, and an errno where the
/// cause has one (callers test it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    errno: Option<Errno>,
    message: String,
    /// The part of the message that a program said.
    said: Option<Box<str>>,
}

impl Error {
    /// An error without an errno.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            errno: None,
            message: message.into(),
            said: None,
        }
    }

    /// `SUBJECT: ...`
    #[must_use]
    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// Notes that a part of the message is the words of a program, which knows
    /// devices by the appliance's names for them.
    #[must_use]
    pub fn repeating(mut self, said: &str) -> Self {
        self.said = Some(said.into());
        self
    }

    /// Says something else in place of a text, wherever that is in the message.
    #[must_use]
    pub fn replacing(mut self, text: &str, other: &str) -> Self {
        self.message = self.message.replace(text, other);
        self.said = self.said.map(|said| said.replace(text, other).into());
        self
    }

    /// Changes the words of a program in the message, if there are any.
    #[must_use]
    pub fn map_said(mut self, change: impl FnOnce(&str) -> String) -> Self {
        if let Some(said) = self.said.take()
            && let Some(start) = self.message.rfind(&*said)
        {
            let end = start + said.len();
            self.message.replace_range(start..end, &change(&said));
        }
        self
    }

    /// An error with an errno, whose message stands as it is.
    pub fn with_errno(errno: Errno, message: impl Into<String>) -> Self {
        Self {
            errno: Some(errno),
            message: message.into(),
            said: None,
        }
    }

    /// `SUBJECT: TEXT OF THE ERRNO`
    pub fn os(errno: Errno, subject: impl fmt::Display) -> Self {
        Self::with_errno(errno, format!("{subject}: {}", strerror(errno)))
    }

    /// EINVAL, for arguments that make no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::with_errno(Errno::EINVAL, message)
    }

    /// ENOTSUP, for what this daemon or appliance cannot do.
    pub fn not_supported(message: impl Into<String>) -> Self {
        Self::with_errno(Errno::ENOTSUP, message)
    }

    /// The errno, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// The whole message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The errno's name as the protocol has it; empty when there is none.
    pub(crate) fn errno_name(&self) -> String {
        match self.errno {
            None | Some(Errno::UnknownErrno) => String::new(),
            // Linux has one number for both names; clients know this one.
            Some(Errno::EOPNOTSUPP) => "ENOTSUP".to_owned(),
            // The same: clients only know the older name.
            Some(Errno::EDEADLK) => "EDEADLOCK".to_owned(),
            Some(errno) => format!("{errno:?}"),
        }
    }
}

/// The errno of that name.
pub(crate) fn errno_from_name(name: &str) -> Option<Errno> {
    /// Beyond the largest that Linux has.
    const END: i32 = 256;
    if name.is_empty() {
        return None;
    }
    (1..END)
        .map(Errno::from_raw)
        .find(|&errno| Error::from(errno).errno_name() == name)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::with_errno(errno, strerror(errno))
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if let Some(inner) = error.get_ref()
            && let Some(inner) = inner.downcast_ref::<Error>()
        {
            return inner.clone();
        }
        match error.raw_os_error() {
            Some(code) => Self::from(Errno::from_raw(code)),
            None if error.kind() == io::ErrorKind::OutOfMemory => Self::from(Errno::ENOMEM),
            None => Self::new(error.to_string()),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::other(error)
    }
}

/// The C library's text for an errno.
pub fn strerror(errno: Errno) -> String {
    let text = io::Error::from_raw_os_error(errno as i32).to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Puts the subject before an error's message; the errno survives.
pub trait Context<T> {
    /// `SUBJECT: ...`
    fn context(self, subject: impl fmt::Display) -> Result<T>;

    /// The same, for subjects that cost something to make.
    fn with_context<S: fmt::Display>(self, subject: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, subject: impl fmt::Display) -> Result<T> {
        self.with_context(|| subject)
    }

    fn with_context<S: fmt::Display>(self, subject: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| {
            let error: Error = error.into();
            error.about(subject())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_the_errno() {
        let error = Err::<(), _>(Errno::ENOENT).context("/x").unwrap_err();
        assert_eq!(error.message(), "/x: No such file or directory");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        let through_io: Error = io::Error::from(error.clone()).into();
        assert_eq!(through_io, error);
    }

    #[test]
    fn only_a_programs_words_are_changed() {
        let error = Error::new("cannot open /dev/a").repeating("cannot open /dev/a");
        let error = Err::<(), _>(error).context("/dev/a").unwrap_err();
        let changed = error.map_said(|said| said.replace("/dev/a", "/dev/b"));
        assert_eq!(changed.message(), "/dev/a: cannot open /dev/b");
        let error = Error::new("x: on /tmp/1").repeating("on /tmp/1");
        let changed = error
            .replacing("/tmp/1", "/dev/a")
            .map_said(|said| said.replace("/dev/a", "/dev/b"));
        assert_eq!(changed.message(), "x: on /dev/b");
        let same = Error::new("/dev/a").map_said(|_| String::new());
        assert_eq!(same.message(), "/dev/a");
    }

    #[test]
    fn names_are_those_that_clients_know() {
        assert_eq!(Error::not_supported("x").errno_name(), "ENOTSUP");
        assert_eq!(Error::from(Errno::EDEADLK).errno_name(), "EDEADLOCK");
        assert_eq!(Error::from(Errno::EINVAL).errno_name(), "EINVAL");
        assert_eq!(Error::new("x").errno_name(), "");
        for errno in [
            Errno::EPERM,
            Errno::ENOTSUP,
            Errno::EDEADLK,
            Errno::EHWPOISON,
        ] {
            let name = Error::from(errno).errno_name();
            assert_eq!(errno_from_name(&name), Some(errno));
        }
        assert_eq!(errno_from_name(""), None);
        assert_eq!(errno_from_name("ENOSUCH"), None);
    }
}
