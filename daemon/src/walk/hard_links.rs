//! Files that a walk meets by several names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use nix::sys::stat::FileStat;
use protocol::Result;

use crate::memory::Kept;

const PURPOSE: &str = "to know files with several names again";

/// Device and inode of a file, and the name by which it was met first.
type Met = ((u64, u64), Vec<u8>);

/// The files with several names that were met so far.
#[derive(Debug)]
pub(crate) struct HardLinks {
    met: HashMap<(u64, u64), Vec<u8>>,
    kept: Kept,
}

impl Default for HardLinks {
    fn default() -> Self {
        Self {
            met: HashMap::new(),
            kept: Kept::new(PURPOSE),
        }
    }
}

impl HardLinks {
    /// The name by which a file was met before. If it has several and was not, it
    /// is from now on known by this one.
    ///
    /// # Errors
    ///
    /// E2BIG if there are too many of them; the message names the limit.
    pub(crate) fn met_as(&mut self, stat: &FileStat, name: &[u8]) -> Result<Option<&[u8]>> {
        if stat.st_nlink < 2 {
            return Ok(None);
        }
        match self.met.entry((stat.st_dev, stat.st_ino)) {
            Entry::Occupied(met) => Ok(Some(met.into_mut())),
            Entry::Vacant(new) => {
                self.kept.take(size_of::<Met>() + name.len())?;
                new.insert(name.to_vec());
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use nix::errno::Errno;
    use nix::sys::stat::fstat;

    use super::*;

    /// Of two files: one with two names, one with a single one.
    fn stats() -> (FileStat, FileStat) {
        let top = tempfile::tempdir().unwrap();
        let [one, other, single] = ["one", "other", "single"].map(|name| top.path().join(name));
        let (linked, alone) = (File::create(&one).unwrap(), File::create(single).unwrap());
        fs::hard_link(one, other).unwrap();
        (fstat(linked).unwrap(), fstat(alone).unwrap())
    }

    #[test]
    fn the_first_name_is_told_to_the_others() {
        let (linked, alone) = stats();
        let mut links = HardLinks::default();
        assert_eq!(links.met_as(&alone, b"a").unwrap(), None);
        assert_eq!(links.met_as(&alone, b"b").unwrap(), None);
        assert_eq!(links.met_as(&linked, b"c").unwrap(), None);
        assert_eq!(links.met_as(&linked, b"d").unwrap(), Some(&b"c"[..]));
        assert_eq!(links.met_as(&linked, b"e").unwrap(), Some(&b"c"[..]));
    }

    #[test]
    fn memory_is_bounded_and_what_is_known_stays_so() {
        let (linked, _) = stats();
        let mut links = HardLinks {
            kept: Kept::with_max(PURPOSE, size_of::<Met>() + 1),
            ..HardLinks::default()
        };
        assert_eq!(links.met_as(&linked, b"a").unwrap(), None);
        let mut next = linked;
        next.st_ino += 1;
        let error = links.met_as(&next, b"").unwrap_err();
        assert_eq!(error.errno(), Some(Errno::E2BIG));
        assert_eq!(links.met_as(&linked, b"b").unwrap(), Some(&b"a"[..]));
    }
}
