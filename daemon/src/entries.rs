//! Reading directories: many entries with each system call, and none copied
//! that nobody keeps.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use rustix::fs::{RawDir, RawDirEntry};

/// How much the kernel is asked for at a time. One entry with the longest name
/// takes some 280 bytes, though a filesystem may have longer ones.
const BUFFER: usize = 64 << 10;

/// Reads directories, one after the other, into the same memory.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// Calls `visit` for each entry from the directory's position on to its end,
    /// `.` and `..` among them.
    ///
    /// # Errors
    ///
    /// The errno of the system call, and those of `visit`.
    pub(crate) fn each<E: From<Errno>>(
        &mut self,
        directory: BorrowedFd<'_>,
        mut visit: impl FnMut(&RawDirEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.some(directory, &mut visit)? {}
        Ok(())
    }

    /// The same for as many entries as the kernel gives at once; `false` at the end.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::each`].
    pub(crate) fn some<E: From<Errno>>(
        &mut self,
        directory: BorrowedFd<'_>,
        mut visit: impl FnMut(&RawDirEntry<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.buffer.clear();
        self.buffer.reserve(BUFFER);
        let mut entries = RawDir::new(directory, self.buffer.spare_capacity_mut());
        let mut found = false;
        loop {
            match entries.next() {
                Some(Ok(entry)) => visit(&entry)?,
                Some(Err(rustix::io::Errno::INTR)) => continue,
                // A directory that was removed while it is open has no entries.
                None | Some(Err(rustix::io::Errno::NOENT)) => return Ok(found),
                Some(Err(error)) => return Err(Errno::from_raw(error.raw_os_error()).into()),
            }
            found = true;
            if entries.is_buffer_empty() {
                return Ok(true);
            }
        }
    }
}

/// Whether an entry is the directory itself or the one above it.
pub(crate) fn is_dots(entry: &RawDirEntry<'_>) -> bool {
    matches!(entry.file_name().to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;

    fn names(reader: &mut Reader, directory: &File) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        reader
            .each(directory.as_fd(), |entry| {
                names.push(entry.file_name().to_bytes().to_vec());
                Ok::<(), Errno>(())
            })
            .unwrap();
        names
    }

    #[test]
    fn more_entries_than_the_memory_holds_come_once_each() {
        let top = tempfile::tempdir().unwrap();
        let stem = "n".repeat(200);
        let count = 2 * BUFFER / stem.len();
        for number in 0..count {
            File::create(top.path().join(format!("{stem}{number}"))).unwrap();
        }
        let mut reader = Reader::default();
        let found = names(&mut reader, &File::open(top.path()).unwrap());
        assert_eq!(found.len(), count + 2);
        let distinct: HashSet<Vec<u8>> = found.into_iter().collect();
        assert_eq!(distinct.len(), count + 2);
        // And nothing of it is left for the next directory.
        let empty = tempfile::tempdir().unwrap();
        let found = names(&mut reader, &File::open(empty.path()).unwrap());
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_directory_that_is_gone_has_no_entries_and_a_file_is_none() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let directory = File::open(&inner).unwrap();
        fs::remove_dir(&inner).unwrap();
        let mut reader = Reader::default();
        assert!(names(&mut reader, &directory).is_empty());
        let file = tempfile::tempfile().unwrap();
        let result = reader.each(file.as_fd(), |_| Ok::<(), Errno>(()));
        assert_eq!(result, Err(Errno::ENOTDIR));
    }

    #[test]
    fn what_the_visitor_refuses_ends_the_reading() {
        let top = tempfile::tempdir().unwrap();
        let directory = File::open(top.path()).unwrap();
        let mut visited = 0;
        let result = Reader::default().each(directory.as_fd(), |_| {
            visited += 1;
            Err(Errno::E2BIG)
        });
        assert_eq!((result, visited), (Err(Errno::E2BIG), 1));
    }
}
