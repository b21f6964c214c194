//! Reading all of a file while what was read of it is summed.

use std::fs::File;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use protocol::Result;

use super::fill;
use crate::processors;

/// How many blocks are read before there are two threads: for less they take longer
/// than one.
const FIRST: usize = 64;

/// How many blocks there are, read or being read, for two threads.
const BLOCKS: usize = 4;

/// The size of those, in bytes.
const BLOCK: usize = 256 << 10;

/// How fast a checksum is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as data comes: from another processor that is as slow as from the kernel.
    Fast,
    /// So slowly that another processor can read meanwhile.
    Slow,
}

/// Reads a file to its end from where it is, a block at a time: the first ones into
/// `buffer`. Those of a large file are read by a thread while `take` has others, if that
/// is slow.
///
/// # Errors
///
/// The errno of the system call.
pub(super) fn for_each(
    file: &File,
    buffer: &mut [u8],
    pace: Pace,
    mut take: impl FnMut(&[u8]),
) -> Result<()> {
    for number in 0_usize.. {
        if number == FIRST
            && pace == Pace::Slow
            && processors::several()
            && let Some(result) = in_two_threads(file, &mut take)
        {
            return result;
        }
        let block = fill(file, buffer)?;
        if block.is_empty() {
            break;
        }
        take(block);
    }
    Ok(())
}

/// Reads the rest; `None`, and nothing is read, if there can be no thread.
fn in_two_threads(file: &File, mut take: impl FnMut(&[u8])) -> Option<Result<()>> {
    let (full, read) = sync_channel(BLOCKS);
    let (empty, used) = sync_channel(BLOCKS);
    for _ in 0..BLOCKS {
        let _ = empty.send(vec![0; BLOCK]);
    }
    thread::scope(|scope| {
        let ahead = move || read_ahead(file, &used, &full);
        let reader = thread::Builder::new().name("checksum".to_owned());
        reader.spawn_scoped(scope, ahead).ok()?;
        // Ends with what ends the reader.
        for block in read {
            let (block, len): (Vec<u8>, usize) = match block {
                Ok(block) => block,
                Err(errno) => return Some(Err(errno.into())),
            };
            take(block.get(..len).unwrap_or_default());
            let _ = empty.send(block);
        }
        Some(Ok(()))
    })
}

/// Reads into empty blocks to the end of the file, or to an error.
fn read_ahead(
    file: &File,
    empty: &Receiver<Vec<u8>>,
    full: &SyncSender<nix::Result<(Vec<u8>, usize)>>,
) {
    for mut block in empty {
        let read = fill(file, &mut block).map(|read| read.len());
        let goes_on = read.is_ok_and(|len| len > 0);
        let sent = match read {
            Ok(0) => return,
            Ok(len) => full.send(Ok((block, len))),
            Err(errno) => full.send(Err(errno)),
        };
        if sent.is_err() || !goes_on {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use nix::errno::Errno;

    use super::*;

    #[test]
    fn every_byte_comes_once_and_in_order() {
        const SMALL: usize = 1 << 10;
        // One block, as many as one thread reads, and some more, to the block and beside it.
        for len in [
            0,
            1,
            FIRST * SMALL,
            FIRST * SMALL + 1,
            FIRST * SMALL + 9 * BLOCK,
            FIRST * SMALL + 9 * BLOCK - 1,
        ] {
            let data: Vec<u8> = (0..len).map(|n| (n * 7 / 5) as u8).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&data).unwrap();
            for pace in [Pace::Fast, Pace::Slow] {
                file.rewind().unwrap();
                let mut seen = Vec::new();
                for_each(&file, &mut [0; SMALL], pace, |block| {
                    seen.extend_from_slice(block);
                })
                .unwrap();
                assert!(seen == data, "of {len} bytes {} came", seen.len());
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_of_either_thread() {
        let directory = File::open("/").unwrap();
        let errors = [
            for_each(&directory, &mut [0; 16], Pace::Slow, |_| {}),
            in_two_threads(&directory, |_| {}).unwrap(),
        ];
        for error in errors {
            assert_eq!(error.unwrap_err().errno(), Some(Errno::EISDIR));
        }
    }
}
