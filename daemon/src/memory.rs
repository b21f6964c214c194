//! What is kept in memory until a call ends.
//!
//! It grows with what there is in a guest or in an archive, so it is counted.

use nix::errno::Errno;
use protocol::{Error, Result};

/// How much a call may keep: enough for some millions of names.
pub(crate) const KEPT_MAX: usize = 256 << 20;

/// The memory that a call keeps for one purpose.
#[derive(Debug)]
pub(crate) struct Kept {
    /// "To do this takes more than N bytes."
    purpose: &'static str,
    bytes: usize,
    max: usize,
}

impl Kept {
    pub(crate) fn new(purpose: &'static str) -> Self {
        Self::with_max(purpose, KEPT_MAX)
    }

    pub(crate) fn with_max(purpose: &'static str, max: usize) -> Self {
        Self {
            purpose,
            bytes: 0,
            max,
        }
    }

    /// Counts so many bytes more.
    ///
    /// # Errors
    ///
    /// E2BIG if they are too many, and then does not count them; the message names the limit.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<()> {
        let all = self.bytes.saturating_add(bytes);
        if all > self.max {
            let message = format!("{} takes more than {} bytes", self.purpose, self.max);
            return Err(Error::with_errno(Errno::E2BIG, message));
        }
        self.bytes = all;
        Ok(())
    }

    /// So many of them are kept no longer.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_not_counted() {
        let mut kept = Kept::with_max("to test", 10);
        kept.take(8).unwrap();
        for too_many in [3, usize::MAX] {
            let error = kept.take(too_many).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::E2BIG));
            assert_eq!(error.message(), "to test takes more than 10 bytes");
        }
        kept.take(2).unwrap();
        kept.give_back(1);
        kept.take(2).unwrap_err();
        kept.take(1).unwrap();
    }
}
