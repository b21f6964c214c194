//! base64 as the program of that name writes and reads it, in a stream.

use std::fs::File;
use std::io::Write;

use base64::Engine;
use nix::errno::Errno;
use protocol::{Error, FileSender, Result};

use crate::encoding::BASE64;

/// Bytes of data in a full line.
const LINE: usize = 57;
/// Decoded bytes that go into one write.
const BATCH: usize = 256 << 10;

/// Writes lines of 76 characters.
pub(super) struct Encoder<'o, 'c> {
    out: &'o mut FileSender<'c>,
    /// Data of a line that is not full.
    pending: Vec<u8>,
    text: String,
}

impl<'o, 'c> Encoder<'o, 'c> {
    pub(super) fn new(out: &'o mut FileSender<'c>) -> Self {
        Self {
            out,
            pending: Vec::with_capacity(LINE),
            text: String::new(),
        }
    }

    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<()> {
        if !self.pending.is_empty() {
            let take = (LINE - self.pending.len()).min(bytes.len());
            let (now, later) = bytes.split_at(take);
            self.pending.extend_from_slice(now);
            bytes = later;
            if self.pending.len() < LINE {
                return Ok(());
            }
            let line = std::mem::take(&mut self.pending);
            self.line(&line);
        }
        let lines = bytes.chunks_exact(LINE);
        self.pending.extend_from_slice(lines.remainder());
        for line in lines {
            self.line(line);
        }
        self.flush()
    }

    pub(super) fn finish(mut self) -> Result<()> {
        if !self.pending.is_empty() {
            let line = std::mem::take(&mut self.pending);
            self.line(&line);
        }
        self.flush()
    }

    fn line(&mut self, bytes: &[u8]) {
        BASE64.encode_string(bytes, &mut self.text);
        self.text.push('\n');
    }

    fn flush(&mut self) -> Result<()> {
        self.out.send(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }
}

/// Reads text, whatever its lines, and passes over what is not base64.
pub(super) struct Decoder<W> {
    to: W,
    /// Characters that are not decoded yet; fewer than four after each feed.
    text: Vec<u8>,
    data: Vec<u8>,
}

impl Decoder<File> {
    pub(super) fn new(to: File) -> Self {
        Self {
            to,
            text: Vec::new(),
            data: Vec::new(),
        }
    }
}

impl<W: Write> Decoder<W> {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let wanted = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        self.text.extend(bytes.iter().copied().filter(wanted));
        let whole = self.text.len() / 4 * 4;
        let groups = self.text.get(..whole).unwrap_or_default();
        let decoded = if groups.contains(&b'=') {
            // A text may go on after its padding.
            groups
                .chunks_exact(4)
                .try_for_each(|group| decode(group, &mut self.data))
        } else {
            decode(groups, &mut self.data)
        };
        self.text.drain(..whole);
        if decoded.is_err() || self.data.len() >= BATCH {
            self.write()?;
        }
        decoded
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.write()?;
        if self.text.is_empty() {
            Ok(())
        } else {
            Err(invalid())
        }
    }

    fn write(&mut self) -> Result<()> {
        self.to.write_all(&self.data)?;
        self.data.clear();
        Ok(())
    }
}

/// Adds what a text stands for, or nothing.
fn decode(text: &[u8], data: &mut Vec<u8>) -> Result<()> {
    let before = data.len();
    BASE64.decode_vec(text, data).map_err(|_| {
        data.truncate(before);
        invalid()
    })
}

fn invalid() -> Error {
    Error::with_errno(Errno::EINVAL, "the base64 text is invalid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder<W>(to: W) -> Decoder<W> {
        Decoder {
            to,
            text: Vec::new(),
            data: Vec::new(),
        }
    }

    fn decoded(pieces: &[&str]) -> Option<Vec<u8>> {
        let mut decoder = decoder(Vec::new());
        for piece in pieces {
            decoder.feed(piece.as_bytes()).ok()?;
        }
        // What was decoded is still there, as nothing fills a batch.
        let data = decoder.data.clone();
        decoder.finish().ok().map(|()| data)
    }

    #[test]
    fn what_is_not_base64_is_passed_over() {
        assert_eq!(decoded(&["aGVs\nbG8", " =\n"]).unwrap(), b"hello");
        assert_eq!(decoded(&["QQ==", "Qg=="]).unwrap(), b"AB");
        assert_eq!(decoded(&["QR=="]).unwrap(), b"A");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn what_ends_within_a_group_is_an_error() {
        assert_eq!(decoded(&["aGVsbG8"]), None);
        assert_eq!(decoded(&["a==="]), None);
        assert_eq!(decoded(&["=aaa"]), None);
    }

    #[test]
    fn what_comes_before_an_error_is_written() {
        let mut written = Vec::new();
        let mut decoder = decoder(&mut written);
        assert!(decoder.feed(b"aGVsQQ==bG8=A===").is_err());
        assert_eq!(written, b"helAlo");
    }
}
