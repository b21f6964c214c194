//! A file that streams from the library.

use std::io::{self, IoSlice, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::channel::{Chunk, Fatal, Input, Stream, write_all_vectored};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Chunks that go into one `writev`.
const GATHER: usize = 32;

/// The stream of a `file_in` parameter.
///
/// What a handler leaves unread when it fails is taken off the channel by the
/// server, so a handler just returns its error.
#[derive(Debug)]
pub struct FileIn<'c> {
    input: &'c mut Input,
    /// Bytes at the front of the buffer that the last block has used.
    used: usize,
    /// What `Read` has left of the current block: offset in the buffer, length.
    block: (usize, usize),
}

impl<'c> FileIn<'c> {
    pub(crate) fn new(input: &'c mut Input) -> Self {
        Self {
            input,
            used: 0,
            block: (0, 0),
        }
    }

    fn lost(&mut self, fatal: Fatal) -> Error {
        let error = Error::from(Fatal::Framing(fatal.to_string()));
        self.input.fatal = Some(fatal);
        error
    }

    /// The next data chunk, left in the buffer.
    fn next_chunk(&mut self) -> Result<Option<(usize, usize)>> {
        self.input.consume(std::mem::take(&mut self.used));
        match self.input.stream {
            Stream::Incoming => {}
            Stream::LibraryGaveUp => return Err(gave_up()),
            _ => return Ok(None),
        }
        match self.input.chunk() {
            Ok(Chunk::Data { start, len, whole }) => {
                self.used = whole;
                Ok(Some((start, len)))
            }
            Ok(Chunk::End(whole)) => {
                self.input.consume(whole);
                self.input.stream = Stream::Received;
                Ok(None)
            }
            Ok(Chunk::Cancelled(whole)) => {
                self.input.consume(whole);
                self.input.stream = Stream::LibraryGaveUp;
                Err(gave_up())
            }
            Err(fatal) => Err(self.lost(fatal)),
        }
    }

    /// The next block of the file, never empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// EINTR when the library gave up sending, or the channel was lost.
    pub fn next_block(&mut self) -> Result<Option<&[u8]>> {
        match self.next_chunk()? {
            None => Ok(None),
            Some((start, len)) => Ok(self.input.buffered().get(start..start + len)),
        }
    }

    /// Writes all of the file to `to`, at its current position, and gives
    /// back how many bytes that was. Progress is measured against the
    /// library's hint.
    ///
    /// # Errors
    ///
    /// Those of writing, without a subject, and those of [`FileIn::next_block`].
    pub fn copy_to(&mut self, to: impl AsFd, progress: Option<&mut Progress<'_>>) -> Result<u64> {
        self.copy_to_from(to, progress, 0)
    }

    fn copy_to_from(
        &mut self,
        to: impl AsFd,
        mut progress: Option<&mut Progress<'_>>,
        mut total: u64,
    ) -> Result<u64> {
        while let Some((start, len)) = self.next_chunk()? {
            let mut ranges = [(0, 0); GATHER];
            ranges[0] = (start, len);
            let mut count = 1;
            let mut gathered = len;
            while count < GATHER {
                // An end, a cancellation or nonsense is left for the next turn.
                let Ok(Some(Chunk::Data { start, len, whole })) = self.input.chunk_at(self.used)
                else {
                    break;
                };
                ranges[count] = (start, len);
                count += 1;
                gathered += len;
                self.used += whole;
            }
            let buffered = self.input.buffered();
            let mut slices = [IoSlice::new(&[]); GATHER];
            for (slice, (start, len)) in slices.iter_mut().zip(&ranges[..count]) {
                *slice = IoSlice::new(buffered.get(*start..start + len).unwrap_or_default());
            }
            write_all_vectored(to.as_fd(), &mut slices[..count])?;
            total += gathered as u64;
            if let Some(progress) = progress.as_deref_mut() {
                let hint = progress.hint();
                if hint > 0 {
                    progress.update(total.min(hint), hint);
                }
            }
        }
        Ok(total)
    }
}

impl Read for FileIn<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.block.1 == 0 {
            match self.next_chunk()? {
                None => return Ok(0),
                Some(block) => self.block = block,
            }
        }
        let (start, len) = self.block;
        let take = len.min(out.len());
        let bytes = self
            .input
            .buffered()
            .get(start..start + take)
            .unwrap_or_default();
        out[..bytes.len()].copy_from_slice(bytes);
        self.block = (start + take, len - take);
        Ok(take)
    }
}

fn gave_up() -> Error {
    Error::with_errno(Errno::EINTR, "the transfer was cancelled by the library")
}

/// Takes the rest of a file off the channel, until its end or until the
/// library gives up.
pub(crate) fn drain(input: &mut Input) -> Result<(), Fatal> {
    while input.stream == Stream::Incoming {
        match input.chunk()? {
            Chunk::Data { whole, .. } => input.consume(whole),
            Chunk::End(whole) => {
                input.consume(whole);
                input.stream = Stream::Received;
            }
            Chunk::Cancelled(whole) => {
                input.consume(whole);
                input.stream = Stream::LibraryGaveUp;
            }
        }
    }
    Ok(())
}
