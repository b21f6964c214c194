//! Reading directories: many entries with each system call, none copied that
//! nobody keeps, and large ones from two places at once.

mod halves;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
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
    deliver: impl FnMut(P) -> Result<(), E>,
) -> Result<(), E> {
    let directory = directory.as_fd();
    match halves::second_reader(directory) {
        Some((second, middle)) => read_by_two(directory, &second, middle, render, deliver),
        None => read_until(directory, |_| false, render, deliver),
    }
}

/// A part of the second half.
#[derive(Default)]
struct Part<P> {
    first: Option<Identity>,
    entries: P,
}

/// By what an entry is known in two readings of its directory.
#[derive(PartialEq, Eq)]
struct Identity {
    ino: u64,
    name: CString,
}

impl Identity {
    fn of(entry: &RawDirEntry<'_>) -> Self {
        Self {
            ino: entry.ino(),
            name: entry.file_name().to_owned(),
        }
    }
}

/// Has another thread read what `second` has from `middle` on. The reader of
/// `directory` meets the entry where that began, and leaves the rest to it. If it
/// is another entry that it meets there, as in a damaged directory whose positions
/// do not only grow, it reads on alone.
///
/// # Errors
///
/// Those of [`read`], and EUCLEAN if damage that one of them met may have cut the
/// first half short.
fn read_by_two<P: Default + Send, E: From<Errno>>(
    directory: BorrowedFd<'_>,
    second: &OwnedFd,
    middle: u64,
    render: impl Fn(&RawDirEntry<'_>, &mut P) + Sync,
    mut deliver: impl FnMut(P) -> Result<(), E>,
) -> Result<(), E> {
    let render = &render;
    thread::scope(|scope| {
        // Ends with this block, and the thread soon after it: nobody takes its parts then.
        let (queue, parts) = sync_channel(WAITING);
        let busy = processors::current();
        let thread = thread::Builder::new()
            .name("entries".to_owned())
            .spawn_scoped(scope, move || {
                processors::avoid(busy);
                read_second(second, render, &queue);
            });
        if thread.is_err() {
            return read_until(directory, |_| false, render, deliver);
        }
        // If it waits for this thread's processor, the scheduler would move it too late for work
        // as short as this.
        processors::give_way();
        let mut parts = Some(parts);
        let mut rest = None;
        let mut in_middle = false;
        let met = |entry: &RawDirEntry<'_>| {
            if in_middle
                && let Some(parts) = parts.take()
                && let Ok(Ok(part)) = parts.recv()
                && part.first.as_ref() == Some(&Identity::of(entry))
            {
                rest = Some((part, parts));
            }
            in_middle = entry.next_entry_cookie() >= middle;
            rest.is_some()
        };
        read_until(directory, met, render, &mut deliver)?;
        let Some((part, parts)) = rest else {
            return match halves::lost_its_index(directory, middle) {
                true => Err(Errno::EUCLEAN.into()),
                false => Ok(()),
            };
        };
        deliver(part.entries)?;
        for part in parts {
            deliver(part?.entries)?;
        }
        Ok(())
    })
}

/// Reads to the end, or to an error, or until nobody takes the parts.
fn read_second<P: Default>(
    second: &OwnedFd,
    render: impl Fn(&RawDirEntry<'_>, &mut P),
    queue: &SyncSender<nix::Result<Part<P>>>,
) {
    let render = |entry: &RawDirEntry<'_>, part: &mut Part<P>| {
        part.first.get_or_insert_with(|| Identity::of(entry));
        render(entry, &mut part.entries);
    };
    let send = |part| queue.send(Ok(part)).map_err(|_| Errno::ECANCELED);
    if let Err(errno) = read_until(second.as_fd(), |_| false, render, send) {
        let _ = queue.send(Err(errno));
    }
}

/// The same by one reader, up to the entry that is `met`, which is left out.
fn read_until<P: Default, E: From<Errno>>(
    directory: BorrowedFd<'_>,
    mut met: impl FnMut(&RawDirEntry<'_>) -> bool,
    render: impl Fn(&RawDirEntry<'_>, &mut P),
    mut deliver: impl FnMut(P) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut part = P::default();
    loop {
        match entries.next() {
            Some(Ok(entry)) if met(&entry) => return deliver(part),
            Some(Ok(entry)) => render(&entry, &mut part),
            Some(Err(rustix::io::Errno::INTR)) => continue,
            // A directory that was removed while it is open has no entries.
            None | Some(Err(rustix::io::Errno::NOENT)) => return Ok(()),
            Some(Err(error)) => return Err(Errno::from_raw(error.raw_os_error()).into()),
        }
        if entries.is_buffer_empty() {
            deliver(std::mem::take(&mut part))?;
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
    use std::path::Path;

    use rustix::fs::{SeekFrom, seek};

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
        let result = read_until(
            directory.as_fd(),
            |_| false,
            render,
            |part: Names| {
                names.extend(part);
                Ok::<(), Errno>(())
            },
        );
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

    /// A name, the position behind it, and whether a thread of its own read it.
    type Found = (Vec<u8>, u64, bool);

    /// What two readers find of whom the second one begins where it is told to, and the first one
    /// expects it at `middle`.
    fn found_by_two(top: &Path, begin: u64, middle: u64) -> Vec<Found> {
        let main = thread::current().id();
        let render = |entry: &RawDirEntry<'_>, part: &mut Vec<Found>| {
            let name = entry.file_name().to_bytes().to_vec();
            let apart = thread::current().id() != main;
            part.push((name, entry.next_entry_cookie(), apart));
        };
        let second = open(top);
        seek(&second, SeekFrom::Start(begin)).unwrap();
        let mut found = Vec::new();
        let result = read_by_two(open(top).as_fd(), &second, middle, render, |part| {
            found.extend(part);
            Ok::<(), Errno>(())
        });
        assert_eq!(result, Ok(()));
        found
    }

    #[test]
    fn a_second_reader_is_believed_only_where_it_is_met() {
        let top = tempfile::tempdir_in("/var/tmp").unwrap();
        fill(top.path(), 400);
        // No entry is at such a position.
        let alone = found_by_two(top.path(), 0, i64::MAX.unsigned_abs());
        assert!(alone.len() == 402 && alone.iter().all(|(_, _, apart)| !apart));
        let same_names = |found: &[Found]| {
            let names = |found: &[Found]| found.iter().map(|one| one.0.clone()).collect();
            let (found, alone): (Names, Names) = (names(found), names(&alone));
            found == alone
        };
        let positions: Vec<u64> = alone.iter().map(|one| one.1).collect();
        let at = |index: usize| positions[index];
        for (begin, middle) in [(0, at(200)), (at(201), at(200)), (at(401), at(200)), (0, 0)] {
            let found = found_by_two(top.path(), begin, middle);
            assert!(same_names(&found), "from {begin:#x}, {middle:#x}");
            assert!(found.iter().all(|(_, _, apart)| !apart));
        }
        // Not so on a filesystem that counts down, or gives no positions at all.
        if positions.is_sorted_by(|one, next| one < next) {
            for index in [0, 1, 200, 400] {
                let found = found_by_two(top.path(), at(index), at(index));
                assert!(same_names(&found), "from entry {index}");
                let apart = found.iter().position(|(_, _, apart)| *apart);
                assert_eq!(apart, Some(index + 1));
            }
        }
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
