//! What has room in a reply.
//!
//! Whatever is collected for a reply is counted while it is collected: what
//! cannot be sent anyway need not be in memory.

use nix::errno::Errno;
use protocol::wire::MESSAGE_MAX;
use protocol::{Error, Result};

/// The length that goes before each string of a list.
const STRING_LENGTH: usize = 4;

/// Refuses a result of more bytes than a reply can hold.
///
/// # Errors
///
/// E2BIG; the message names the limit.
pub(crate) fn require(size: usize) -> Result<()> {
    if size > MESSAGE_MAX {
        return Err(Error::with_errno(
            Errno::E2BIG,
            format!("the result is too large for one reply, which holds {MESSAGE_MAX} bytes"),
        ));
    }
    Ok(())
}

/// The room that a growing result takes.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: usize,
}

impl Room {
    /// Takes room for so many bytes more.
    ///
    /// # Errors
    ///
    /// As for [`require`].
    pub(crate) fn take(&mut self, bytes: usize) -> Result<()> {
        require(self.taken + bytes)?;
        self.taken += bytes;
        Ok(())
    }
}

/// A list of strings for a reply.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    strings: Vec<Vec<u8>>,
    room: Room,
}

impl Strings {
    /// Adds a string.
    ///
    /// # Errors
    ///
    /// As for [`require`].
    pub(crate) fn push(&mut self, string: impl Into<Vec<u8>>) -> Result<()> {
        let string = string.into();
        self.room.take(STRING_LENGTH + string.len())?;
        self.strings.push(string);
        Ok(())
    }

    /// Fails unless there is room for a string of this length.
    ///
    /// # Errors
    ///
    /// As for [`require`].
    pub(crate) fn require(&self, len: usize) -> Result<()> {
        require(self.room.taken + STRING_LENGTH + len)
    }

    /// All of them.
    pub(crate) fn into_vec(self) -> Vec<Vec<u8>> {
        self.strings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_strings_take_room_too() {
        let mut strings = Strings::default();
        let mut count = 0;
        let error = loop {
            match strings.push("") {
                Ok(()) => count += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(count, MESSAGE_MAX / STRING_LENGTH);
        assert_eq!(error.errno(), Some(Errno::E2BIG));
        assert!(error.message().contains("4194304"));
        assert_eq!(strings.into_vec().len(), count);
    }
}
