//! Reading directories: many entries with each system call, none copied that
//! nobody keeps, and large ones from two places at once.

mod halves;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::sync_channel;
use std::thread;

use nix::errno::Errno;
use rustix::fs::{RawDir, RawDirEntry};

use crate::processors;

/// How much the kernel is asked for at a time. One entry with the longest name
/// takes some 280 bytes, though a filesystem may have longer ones.
const BUFFER: usize = 32 << 10;

/// How many parts of the second half may wait for the first half to end.
const WAITING: usize = 32;

/// Reads a directory that has just been opened. `render` adds an entry to a part
/// of the listing, `.` and `..` among them; `deliver` gets the parts, in order.
///
/// # Errors
///
/// The errno of the system call, and those of `deliver`.
pub(crate) fn read<P: Default + Send, E: From<Errno>>(
    directory: &impl AsFd,
    render: impl Fn(&RawDirEntry<'_>, &mut P) + Sync,
    mut deliver: impl FnMut(P) -> Result<(), E>,
) -> Result<(), E> {
    let directory = directory.as_fd();
    let Some((second, middle)) = halves::second_reader(directory) else {
        return read_until(directory, None, render, deliver);
    };
    let render = &render;
    thread::scope(|scope| {
        // Ends with this block, and the thread soon after it: nobody takes its parts then.
        let (queue, parts) = sync_channel(WAITING);
        let busy = processors::current();
        let thread = thread::Builder::new()
            .name("entries".to_owned())
            .spawn_scoped(scope, move || {
                processors::avoid(busy);
                let result = read_until(second.as_fd(), None, render, |part| {
                    queue.send(Ok(part)).map_err(|_| Errno::ECANCELED)
                });
                if let Err(errno) = result {
                    let _ = queue.send(Err(errno));
                }
            });
        // If it waits for this thread's processor, the scheduler would move it too late for work
        // as short as this.
        processors::give_way();
        let middle = thread.is_ok().then_some(middle);
        read_until(directory, middle, render, &mut deliver)?;
        for part in parts {
            deliver(part?)?;
        }
        Ok(())
    })
}

/// The same by one reader, to the first entry whose successor is at `end` or
/// behind it.
fn read_until<P: Default, E: From<Errno>>(
    directory: BorrowedFd<'_>,
    end: Option<u64>,
    render: impl Fn(&RawDirEntry<'_>, &mut P),
    mut deliver: impl FnMut(P) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut part = P::default();
    loop {
        let at_end = match entries.next() {
            Some(Ok(entry)) => {
                render(&entry, &mut part);
                end.is_some_and(|end| entry.next_entry_cookie() >= end)
            }
            Some(Err(rustix::io::Errno::INTR)) => continue,
            // A directory that was removed while it is open has no entries.
            None | Some(Err(rustix::io::Errno::NOENT)) => return Ok(()),
            Some(Err(error)) => return Err(Errno::from_raw(error.raw_os_error()).into()),
        };
        if at_end || entries.is_buffer_empty() {
            deliver(std::mem::take(&mut part))?;
        }
        if at_end {
            return Ok(());
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
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use super::*;

    type Names = Vec<Vec<u8>>;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    fn render(entry: &RawDirEntry<'_>, part: &mut Names) {
        part.push(entry.file_name().to_bytes().to_vec());
    }

    fn names(directory: &OwnedFd) -> nix::Result<Names> {
        let mut names = Vec::new();
        read(directory, render, |part| {
            names.extend(part);
            Ok::<(), Errno>(())
        })?;
        Ok(names)
    }

    fn names_by_one(directory: &OwnedFd) -> Names {
        let mut names = Vec::new();
        let result = read_until(directory.as_fd(), None, render, |part: Names| {
            names.extend(part);
            Ok::<(), Errno>(())
        });
        assert_eq!(result, Ok(()));
        names
    }

    fn fill(directory: &Path, count: usize) {
        let stem = "n".repeat(200);
        for number in 0..count {
            File::create(directory.join(format!("{stem}{number}"))).unwrap();
        }
    }

    #[test]
    fn more_entries_than_the_memory_holds_come_once_each() {
        let top = tempfile::tempdir().unwrap();
        let count = BUFFER / 50;
        fill(top.path(), count);
        let found = names(&open(top.path())).unwrap();
        assert_eq!(found.len(), count + 2);
        let distinct: HashSet<Vec<u8>> = found.into_iter().collect();
        assert_eq!(distinct.len(), count + 2);
    }

    #[test]
    fn two_readers_find_what_one_finds_in_the_same_order() {
        // Where the filesystem or the processors allow no second reader, it is one both times.
        let top = tempfile::tempdir_in("/var/tmp").unwrap();
        fill(top.path(), 3000);
        let directory = open(top.path());
        let found = names(&directory).unwrap();
        assert_eq!(found.len(), 3002);
        assert_eq!(found, names_by_one(&open(top.path())));
    }

    #[test]
    fn a_directory_that_is_gone_has_no_entries_and_a_file_is_none() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let directory = open(&inner);
        fs::remove_dir(&inner).unwrap();
        assert_eq!(names(&directory), Ok(Vec::new()));
        let file = tempfile::tempfile().unwrap();
        assert_eq!(names(&file.into()), Err(Errno::ENOTDIR));
    }

    #[test]
    fn a_part_that_is_refused_ends_the_reading() {
        let top = tempfile::tempdir_in("/var/tmp").unwrap();
        fill(top.path(), 3000);
        let parts = {
            let mut parts = 0;
            let directory = open(top.path());
            let result = read(&directory, render, |_: Names| {
                parts += 1;
                Ok::<(), Errno>(())
            });
            assert_eq!(result, Ok(()));
            parts
        };
        assert!(parts > 2);
        // In each half.
        for refused in [1, parts] {
            let mut delivered = 0;
            let result = read(&open(top.path()), render, |_: Names| {
                delivered += 1;
                match delivered == refused {
                    true => Err(Errno::E2BIG),
                    false => Ok(()),
                }
            });
            assert_eq!((result, delivered), (Err(Errno::E2BIG), refused));
        }
    }
}
