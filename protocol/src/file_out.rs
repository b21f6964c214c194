//! A file that streams to the library.

use std::io::{self, IoSliceMut, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::channel::{Fatal, Input, Output, Stream};
use crate::error::{Error, Result};
use crate::wire::{CHUNK_MAX, CHUNK_PREFIX, HEADER_LEN, Header, STATUS_OK};

/// A full chunk on the channel, in bytes.
const SLOT: usize = CHUNK_PREFIX + CHUNK_MAX;
/// Chunks that go into one write.
const BATCH: usize = 32;
/// The reply that precedes the first chunk, with its length word.
const REPLY_LEN: usize = 4 + HEADER_LEN;
/// The reply, a batch, the last chunk and its end.
const BUFFER: usize = REPLY_LEN + (BATCH + 1) * SLOT + CHUNK_PREFIX;

/// Proof that a file was sent to its end; only [`FileSender::finish`] makes it.
#[derive(Debug)]
pub struct Sent(());

/// The stream of a `file_out` parameter, before the reply.
///
/// Until [`FileOut::start`] an error is an ordinary error reply; after it, an
/// error becomes a cancelled chunk.
#[derive(Debug)]
pub struct FileOut<'c> {
    input: &'c mut Input,
    output: &'c Output,
    header: Header,
}

impl<'c> FileOut<'c> {
    pub(crate) fn new(input: &'c mut Input, output: &'c Output, header: Header) -> Self {
        Self {
            input,
            output,
            header,
        }
    }

    /// Replies that the call succeeds so far, and begins the file. The reply
    /// leaves with the first chunks.
    ///
    /// # Errors
    ///
    /// None now; kept so that the place where an error stops being a reply
    /// stands out at the call.
    pub fn start(self) -> Result<FileSender<'c>> {
        let mut buffer = std::mem::take(&mut self.input.scratch);
        buffer.resize(BUFFER, 0);
        let mut reply = crate::xdr::Encoder::new();
        reply.len(HEADER_LEN);
        self.header.reply(STATUS_OK).encode(&mut reply);
        let reply = reply.into_bytes();
        buffer[..reply.len()].copy_from_slice(&reply);
        self.input.stream = Stream::Outgoing;
        Ok(FileSender {
            input: self.input,
            output: self.output,
            buffer,
            end: REPLY_LEN,
            open: None,
        })
    }
}

/// A file on its way to the library.
#[derive(Debug)]
pub struct FileSender<'c> {
    input: &'c mut Input,
    output: &'c Output,
    buffer: Vec<u8>,
    /// End of what is to be written.
    end: usize,
    /// Where the chunk that is being filled begins.
    open: Option<usize>,
}

impl FileSender<'_> {
    /// Sends `bytes` as the next part of the file.
    ///
    /// # Errors
    ///
    /// EINTR when the library cancelled, or the channel was lost.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let begin = match self.open {
                Some(begin) => begin,
                None => {
                    if self.end >= REPLY_LEN + BATCH * SLOT {
                        self.flush_chunks()?;
                    }
                    let begin = self.end;
                    self.open = Some(begin);
                    self.end += CHUNK_PREFIX;
                    begin
                }
            };
            let room = begin + SLOT - self.end;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer[self.end..self.end + now.len()].copy_from_slice(now);
            self.end += now.len();
            bytes = later;
            if self.end == begin + SLOT {
                self.close_chunk();
            }
        }
        Ok(())
    }

    /// Writes the prefix and the padding of the chunk that is being filled.
    fn close_chunk(&mut self) {
        if let Some(begin) = self.open.take() {
            let data = self.end - begin - CHUNK_PREFIX;
            self.end = put_chunk(&mut self.buffer, begin, data);
        }
    }

    /// Sends the rest of `from`, from its current position, or at most
    /// `limit` bytes of it, and gives back how many that was.
    ///
    /// # Errors
    ///
    /// Those of reading, without a subject, and those of [`FileSender::send`].
    pub fn copy_from(&mut self, from: impl AsFd, limit: Option<u64>) -> Result<u64> {
        self.copy_with(from, limit, |_| {})
    }

    /// The same, and calls `progress` with the number of bytes sent so far.
    ///
    /// # Errors
    ///
    /// Those of [`FileSender::copy_from`].
    pub fn copy_with(
        &mut self,
        from: impl AsFd,
        limit: Option<u64>,
        mut progress: impl FnMut(u64),
    ) -> Result<u64> {
        self.close_chunk();
        let mut total = 0;
        loop {
            let left = limit.map_or(u64::MAX, |limit| limit - total);
            if left == 0 {
                return Ok(total);
            }
            if self.end >= REPLY_LEN + BATCH * SLOT {
                self.flush_chunks()?;
            }
            let read = self.read_batch(&from, left)?;
            if read == 0 {
                return Ok(total);
            }
            total += read as u64;
            progress(total);
        }
    }

    /// Reads at most `left` bytes straight into chunks.
    fn read_batch(&mut self, from: &impl AsFd, left: u64) -> Result<usize> {
        let begin = self.end;
        let mut left = usize::try_from(left).unwrap_or(usize::MAX);
        let mut slices = Vec::with_capacity(BATCH);
        // What is after this belongs to the last chunk's prefix.
        let room = &mut self.buffer[begin..REPLY_LEN + (BATCH + 1) * SLOT];
        for slot in room.chunks_exact_mut(SLOT) {
            let take = left.min(CHUNK_MAX);
            if take == 0 {
                break;
            }
            left -= take;
            slices.push(IoSliceMut::new(
                &mut slot[CHUNK_PREFIX..CHUNK_PREFIX + take],
            ));
        }
        let read = loop {
            match nix::sys::uio::readv(from, &mut slices) {
                Ok(read) => break read,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let mut rest = read;
        while rest > 0 {
            let data = rest.min(CHUNK_MAX);
            self.end = put_chunk(&mut self.buffer, self.end, data);
            rest -= data;
        }
        Ok(read)
    }

    /// Writes what is complete, unless the library cancelled.
    fn flush_chunks(&mut self) -> Result<()> {
        match self.input.cancel_requested() {
            Ok(false) => {}
            Ok(true) => {
                self.input.stream = Stream::Sent;
                // The reply may not have left yet.
                let keep = REPLY_LEN - self.unsent();
                let mut bytes = self.buffer[..keep].to_vec();
                bytes.extend_from_slice(&cancelled_chunk());
                if let Err(fatal) = self.output.send(&bytes) {
                    return Err(self.lost(fatal));
                }
                return Err(Error::with_errno(
                    Errno::EINTR,
                    "the transfer was cancelled by the library",
                ));
            }
            Err(fatal) => return Err(self.lost(fatal)),
        }
        self.write_out()
    }

    fn write_out(&mut self) -> Result<()> {
        let begin = self.unsent();
        if let Err(fatal) = self.output.send(&self.buffer[begin..self.end]) {
            return Err(self.lost(fatal));
        }
        // From now on the place of the reply stays unused.
        self.buffer[..4].fill(0);
        self.end = REPLY_LEN;
        Ok(())
    }

    /// Where what has not been written begins.
    fn unsent(&self) -> usize {
        if self.buffer[..4] == [0; 4] {
            REPLY_LEN
        } else {
            0
        }
    }

    /// How many bytes wait to be sent.
    pub fn pending(&self) -> usize {
        self.end - REPLY_LEN
    }

    /// Sends what is complete now, for streams that pause.
    ///
    /// # Errors
    ///
    /// Those of [`FileSender::send`].
    pub fn push(&mut self) -> Result<()> {
        self.close_chunk();
        self.flush_chunks()
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// Those of [`FileSender::send`].
    pub fn finish(mut self) -> Result<Sent> {
        self.close_chunk();
        self.end = put_chunk(&mut self.buffer, self.end, 0);
        self.flush_chunks()?;
        self.input.stream = Stream::Sent;
        Ok(Sent(()))
    }

    fn lost(&mut self, fatal: Fatal) -> Error {
        let error = Error::new(fatal.to_string());
        self.input.fatal = Some(fatal);
        error
    }
}

impl Drop for FileSender<'_> {
    fn drop(&mut self) {
        // After an error the server sends the cancelled chunk, and the reply
        // must be there before it.
        if self.input.stream == Stream::Outgoing
            && self.unsent() == 0
            && let Err(fatal) = self.output.send(&self.buffer[..REPLY_LEN])
        {
            self.input.fatal = Some(fatal);
        }
        self.input.scratch = std::mem::take(&mut self.buffer);
    }
}

impl Write for FileSender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.push()?)
    }
}

/// Writes the prefix and the padding around `data` bytes; gives back the end.
fn put_chunk(buffer: &mut [u8], begin: usize, data: usize) -> usize {
    let padded = data.next_multiple_of(4);
    let words = [8 + padded as u32, 0, data as u32];
    for (word, place) in words.iter().zip(buffer[begin..].chunks_exact_mut(4)) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    let data_end = begin + CHUNK_PREFIX + data;
    let end = begin + CHUNK_PREFIX + padded;
    buffer[data_end..end].fill(0);
    end
}

/// The chunk that says the file is incomplete.
pub(crate) fn cancelled_chunk() -> [u8; CHUNK_PREFIX] {
    let mut chunk = [0; CHUNK_PREFIX];
    chunk[3] = 8;
    chunk[7] = 1;
    chunk
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::channel::open;
    use crate::wire::CANCEL_FLAG;
    use crate::xdr::Decoder;

    /// Runs `send` with a stream; gives back what the library received and what `send` gave back.
    fn received<T>(
        before: &[u8],
        send: impl FnOnce(FileOut<'_>) -> Result<T>,
    ) -> (Vec<u8>, Result<T>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(before).unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            theirs.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let (mut input, output) = open(ours.into());
        let result = send(FileOut::new(&mut input, &output, Header::call(67, 1)));
        drop((input, output));
        (reader.join().unwrap(), result)
    }

    /// The file in `bytes`, after a reply; whether it has its end; how many chunks.
    fn parse(bytes: &[u8]) -> (Vec<u8>, Option<u32>, usize) {
        let mut input = Decoder::new(bytes);
        let reply = input.opaque().unwrap();
        assert_eq!(reply.len(), HEADER_LEN);
        let (mut file, mut last, mut chunks) = (Vec::new(), None, 0);
        while !input.is_empty() {
            assert_eq!(last, None, "something comes after the end");
            let mut chunk = Decoder::new(input.opaque().unwrap());
            let cancel = chunk.u32().unwrap();
            let data = chunk.opaque().unwrap();
            assert!(chunk.is_empty());
            assert!(data.len() <= CHUNK_MAX);
            if cancel == 1 || data.is_empty() {
                last = Some(cancel);
            }
            file.extend_from_slice(data);
            chunks += 1;
        }
        (file, last, chunks)
    }

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn files_of_every_size_arrive_whole() {
        for len in [
            0,
            1,
            3,
            4,
            8191,
            8192,
            8193,
            BATCH * CHUNK_MAX - 1,
            BATCH * CHUNK_MAX,
            (BATCH + 1) * CHUNK_MAX,
            (BATCH + 1) * CHUNK_MAX + 1,
            3_000_001,
        ] {
            let data = sample(len);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&data).unwrap();
            file.rewind().unwrap();
            let (bytes, result) = received(b"", |out| {
                let mut sender = out.start()?;
                assert_eq!(sender.copy_from(&file, None)?, len as u64);
                sender.finish()
            });
            result.unwrap();
            let (copied, last, chunks) = parse(&bytes);
            assert!(copied == data, "{len} bytes by copy_from");
            assert_eq!(last, Some(0));
            assert_eq!(chunks, len.div_ceil(CHUNK_MAX) + 1);

            for step in [1usize << 20, 8191] {
                let (bytes, result) = received(b"", |out| {
                    let mut sender = out.start()?;
                    for part in data.chunks(step) {
                        sender.send(part)?;
                    }
                    sender.finish()
                });
                result.unwrap();
                let (copied, last, _) = parse(&bytes);
                assert!(copied == data, "{len} bytes by send in steps of {step}");
                assert_eq!(last, Some(0));
            }
        }
    }

    #[test]
    fn a_limit_is_kept_and_both_ways_can_be_mixed() {
        let data = sample(20_000);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        file.rewind().unwrap();
        let (bytes, result) = received(b"", |out| {
            let mut sender = out.start()?;
            sender.send(b"head")?;
            assert_eq!(sender.copy_from(&file, Some(10_000))?, 10_000);
            sender.send(b"tail")?;
            sender.finish()
        });
        result.unwrap();
        let expected = [b"head", &data[..10_000], b"tail"].concat();
        assert_eq!(parse(&bytes), (expected, Some(0), 5));
    }

    #[test]
    fn a_cancel_is_answered_with_a_cancelled_chunk() {
        let (bytes, result) = received(&CANCEL_FLAG.to_be_bytes(), |out| {
            let mut sender = out.start()?;
            sender.send(&sample(10_000_000))?;
            sender.finish()
        });
        assert_eq!(result.unwrap_err().errno(), Some(Errno::EINTR));
        let (file, last, _) = parse(&bytes);
        assert!(file.is_empty(), "noticed before the first write");
        assert_eq!(last, Some(1));
    }

    #[test]
    fn a_sender_that_is_dropped_has_sent_its_reply() {
        let (bytes, result) = received(b"", |out| -> Result<Sent> {
            let mut sender = out.start()?;
            sender.send(b"some")?;
            Err(Error::new("disk on fire"))
        });
        assert!(result.is_err());
        assert_eq!(
            bytes.len(),
            REPLY_LEN,
            "the server adds the cancelled chunk"
        );
    }
}
