//! Directories that a walk meets by several names.
//!
//! A sound filesystem has none. In a forged one, each of forty directories can have the next one
//! twice: a walk through that would not end.

use std::collections::HashSet;

use nix::errno::Errno;
use nix::sys::stat::FileStat;
use protocol::{Error, Result};

/// How often a directory may be met on the average: callers can mount a filesystem in several
/// places.
const TIMES: usize = 16;

/// So many repetitions do no harm, however few directories there are.
const FEW: usize = 1024;

/// How many directories are remembered.
const REMEMBERED: usize = 1 << 20;

/// The directories that were met, and how many of them again.
#[derive(Debug, Default)]
pub(super) struct Repetition {
    met: HashSet<(u64, u64)>,
    again: usize,
}

impl Repetition {
    /// Remembers a directory.
    ///
    /// # Errors
    ///
    /// ELOOP if there are too many that were met before.
    pub(super) fn meet(&mut self, stat: &FileStat) -> Result<()> {
        let id = (stat.st_dev, stat.st_ino);
        if !self.met.contains(&id) {
            if self.met.len() < REMEMBERED {
                self.met.insert(id);
            }
            return Ok(());
        }
        self.again += 1;
        if self.again > FEW + TIMES * self.met.len() {
            return Err(Error::with_errno(
                Errno::ELOOP,
                "the same directories are met again and again: the filesystem is damaged",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::stat;

    use super::*;

    #[test]
    fn a_directory_may_be_met_again_but_not_for_ever() {
        let mut repetition = Repetition::default();
        let mut directory = stat("/").unwrap();
        for number in 0..100 {
            directory.st_ino = number;
            for _ in 0..TIMES {
                repetition.meet(&directory).unwrap();
            }
        }
        for _ in 0..FEW + 100 {
            repetition.meet(&directory).unwrap();
        }
        let error = repetition.meet(&directory).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ELOOP));
        directory.st_dev += 1;
        repetition.meet(&directory).unwrap();
    }
}
