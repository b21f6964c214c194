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
        let error = Error::new(fatal.to_string());
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

    /// What `Read` has left of the current chunk, or the next one.
    fn next_range(&mut self) -> Result<Option<(usize, usize)>> {
        match std::mem::take(&mut self.block) {
            (_, 0) => self.next_chunk(),
            rest => Ok(Some(rest)),
        }
    }

    /// The next block of the file, never empty; `None` at the end.
    ///
    /// # Errors
    ///
    /// EINTR when the library gave up sending, or the channel was lost.
    pub fn next_block(&mut self) -> Result<Option<&[u8]>> {
        match self.next_range()? {
            None => Ok(None),
            Some((start, len)) => Ok(self.input.buffered().get(start..start + len)),
        }
    }

    /// Writes all that is left of the file to `to`, at its current position, and
    /// gives back how many bytes that was. Progress is measured against the
    /// library's hint.
    ///
    /// # Errors
    ///
    /// Those of writing, without a subject, and those of [`FileIn::next_block`].
    pub fn copy_to(
        &mut self,
        to: impl AsFd,
        mut progress: Option<&mut Progress<'_>>,
    ) -> Result<u64> {
        let mut total = 0;
        while let Some((start, len)) = self.next_range()? {
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
                progress.update(total, progress.hint());
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
        skip_chunk(input)?;
    }
    Ok(())
}

/// Takes the next chunk of a file off the channel.
pub(crate) fn skip_chunk(input: &mut Input) -> Result<(), Fatal> {
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::channel::{Output, open};
    use crate::wire::{CANCEL_FLAG, CHUNK_MAX};
    use crate::xdr::Encoder;

    fn chunk(cancel: u32, data: &[u8]) -> Vec<u8> {
        let mut out = Encoder::new();
        out.len(8 + data.len().next_multiple_of(4));
        out.u32(cancel);
        out.opaque(data);
        out.into_bytes()
    }

    /// An input whose library has sent `bytes` and gone away.
    fn sent(bytes: &[u8]) -> (Input, Output) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        std::thread::spawn(move || theirs.write_all(&bytes));
        let (mut input, output) = open(ours.into());
        input.stream = Stream::Incoming;
        (input, output)
    }

    fn sample() -> Vec<u8> {
        (0..300_001u32).map(|n| (n % 251) as u8).collect()
    }

    fn stream_of(data: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = data
            .chunks(CHUNK_MAX)
            .flat_map(|part| chunk(0, part))
            .collect();
        bytes.extend(chunk(0, b""));
        bytes
    }

    #[test]
    fn a_file_arrives_whole_by_every_way_of_reading() {
        let data = sample();
        let bytes = stream_of(&data);

        let (mut input, _output) = sent(&bytes);
        let mut read = Vec::new();
        FileIn::new(&mut input).read_to_end(&mut read).unwrap();
        assert_eq!(read, data);
        assert_eq!(input.stream, Stream::Received);

        let (mut input, _output) = sent(&bytes);
        let mut read = Vec::new();
        let mut file = FileIn::new(&mut input);
        while let Some(block) = file.next_block().unwrap() {
            read.extend_from_slice(block);
        }
        assert_eq!(read, data);

        let (mut input, _output) = sent(&bytes);
        let mut file = tempfile::tempfile().unwrap();
        let copied = FileIn::new(&mut input).copy_to(&file, None).unwrap();
        assert_eq!(copied, data.len() as u64);
        let mut read = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut read).unwrap();
        assert_eq!(read, data);
    }

    #[test]
    fn every_way_of_reading_goes_on_where_another_ended() {
        let data = sample();
        let bytes = stream_of(&data);
        let (mut input, _output) = sent(&bytes);
        let mut file = FileIn::new(&mut input);
        let mut read = vec![0; 3];
        file.read_exact(&mut read).unwrap();
        read.extend_from_slice(file.next_block().unwrap().unwrap());
        assert_eq!(read.len(), CHUNK_MAX);
        let mut more = [0; 5];
        file.read_exact(&mut more).unwrap();
        read.extend_from_slice(&more);
        let mut rest = tempfile::tempfile().unwrap();
        file.copy_to(&rest, None).unwrap();
        std::io::Seek::rewind(&mut rest).unwrap();
        rest.read_to_end(&mut read).unwrap();
        assert!(read == data);
    }

    #[test]
    fn the_library_can_give_up() {
        let bytes = [chunk(0, b"some"), chunk(1, b"")].concat();
        let (mut input, _output) = sent(&bytes);
        let mut file = FileIn::new(&mut input);
        assert_eq!(file.next_block().unwrap(), Some(&b"some"[..]));
        let error = file.next_block().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EINTR));
        // And asking again does not read what is not this file's.
        assert!(file.next_block().is_err());
        assert_eq!(input.stream, Stream::LibraryGaveUp);
        assert!(input.fatal.is_none());
    }

    #[test]
    fn a_stray_cancel_flag_between_chunks_is_skipped() {
        let bytes = [
            chunk(0, b"one"),
            CANCEL_FLAG.to_be_bytes().to_vec(),
            chunk(0, b"two"),
            chunk(0, b""),
        ]
        .concat();
        let (mut input, _output) = sent(&bytes);
        let mut read = Vec::new();
        FileIn::new(&mut input).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"onetwo");
    }

    #[test]
    fn draining_stops_at_the_end_of_the_file() {
        let mut bytes = stream_of(&sample());
        bytes.extend_from_slice(b"next");
        let (mut input, _output) = sent(&bytes);
        drain(&mut input).unwrap();
        assert_eq!(input.stream, Stream::Received);
        assert!(input.want(4).unwrap());
        assert_eq!(&input.buffered()[..4], b"next");
    }

    #[test]
    fn nonsense_is_fatal_and_not_believed() {
        let too_long = [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        let data_too_long = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9].to_vec();
        let odd_cancel = chunk(7, b"x");
        let cut = chunk(0, b"abcdefgh")[..14].to_vec();
        for bytes in [too_long, data_too_long, odd_cancel, cut] {
            let (mut input, _output) = sent(&bytes);
            let mut read = Vec::new();
            assert!(
                FileIn::new(&mut input).read_to_end(&mut read).is_err(),
                "{bytes:?}"
            );
            assert!(input.fatal.is_some(), "{bytes:?}");
        }
    }
}
