//! The room in a reply.

use std::fmt::Display;

use nix::errno::Errno;
use protocol::wire::MESSAGE_MAX;
use protocol::{Error, Result};

/// What is left of the largest message. A result that grows is refused when it
/// is full, and not when all of it is in memory.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
}

impl Room {
    /// All of a reply.
    pub(super) fn new() -> Self {
        Self { left: MESSAGE_MAX }
    }

    /// Takes room for `bytes` of a result about `subject`.
    ///
    /// # Errors
    ///
    /// E2BIG if there is not that much.
    pub(super) fn take(&mut self, bytes: usize, subject: impl Display) -> Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            Error::with_errno(
                Errno::E2BIG,
                format!(
                    "{subject}: the result is larger than a message of the protocol may be \
                     ({MESSAGE_MAX} bytes)"
                ),
            )
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named_when_it_is_passed() {
        let mut room = Room::new();
        room.take(MESSAGE_MAX, "/a").unwrap();
        room.take(0, "/a").unwrap();
        let error = room.take(1, "/a").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::E2BIG));
        let message = error.to_string();
        assert!(message.starts_with("/a: ") && message.contains("4194304 bytes"));
    }
}
