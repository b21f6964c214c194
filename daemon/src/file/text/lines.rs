//! The first and last lines of a file, in memory that the reply's size bounds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use protocol::{Error, Result};

use crate::reading::{Piece, for_each_piece, for_each_piece_from, hole_before};
use crate::room::{self, Strings};

/// How much to read at a time.
pub(super) const BLOCK: usize = 256 * 1024;

/// The first `wanted` lines.
pub(super) fn first(file: &File, wanted: u64) -> Result<Vec<Vec<u8>>> {
    collect(file, 0, wanted)
}

/// All lines but the last `left_out`.
pub(super) fn all_but_last(file: &File, left_out: u64) -> Result<Vec<Vec<u8>>> {
    let wanted = count_lines(file)?.saturating_sub(left_out);
    first(file, wanted)
}

/// All lines from the one with the number `start` (counted from 1) on.
pub(super) fn from_line(file: &File, start: u64) -> Result<Vec<Vec<u8>>> {
    collect(file, line_start(file, start)?, u64::MAX)
}

/// Where the line with the number `number` begins; the end of the file if there is
/// none.
fn line_start(file: &File, number: u64) -> Result<u64> {
    let mut left = number.saturating_sub(1);
    let mut at = 0;
    if left == 0 {
        return Ok(0);
    }
    // An error, whose errno nobody sees, ends the search.
    let searched = for_each_piece(file, BLOCK, |piece| {
        let bytes = match piece {
            Piece::Data(bytes) => bytes,
            Piece::Hole(len) => {
                at += len;
                return Ok(());
            }
        };
        let newlines = newlines(bytes);
        if newlines < left {
            left -= newlines;
            at += bytes.len() as u64;
            return Ok(());
        }
        for &byte in bytes {
            at += 1;
            left -= u64::from(byte == b'\n');
            if left == 0 {
                break;
            }
        }
        Err(io::Error::from(Errno::ECANCELED))
    });
    match searched {
        Err(error) if left > 0 => Err(error.into()),
        _ => Ok(at),
    }
}

/// The last `wanted` lines.
pub(super) fn last(file: &File, wanted: u64) -> Result<Vec<Vec<u8>>> {
    collect(file, last_lines_start(file, wanted)?, wanted)
}

/// Where the last `wanted` lines begin, found from the end.
fn last_lines_start(file: &File, wanted: u64) -> Result<u64> {
    let mut end = file.metadata()?.len();
    if wanted == 0 {
        return Ok(end);
    }
    let mut block = vec![0; BLOCK];
    // The newline that ends the last line is no line's beginning.
    let mut last = end.saturating_sub(1);
    // What a reply has of the line that is being read: it may end at a NUL.
    let mut text_end = end;
    let mut seen = 0;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = usize::try_from(end - start)
            .unwrap_or(BLOCK)
            .min(block.len());
        let (part, _) = block.split_at_mut(part);
        file.read_exact_at(part, start)?;
        for (at, &byte) in part
            .iter()
            .enumerate()
            .rev()
            .filter(|&(_, &byte)| matches!(byte, b'\n' | 0))
        {
            let at = start + at as u64;
            if byte == b'\n' && at != last {
                // Before a line that no reply can hold nothing needs to be found.
                let text = text_end - (at + 1);
                room::require(usize::try_from(text).unwrap_or(usize::MAX))?;
                seen += 1;
                if seen == wanted {
                    return Ok(at + 1);
                }
            }
            text_end = at;
        }
        end = start;
        last = u64::MAX;
        if part.first() == Some(&0) {
            end = hole_before(file, start)?;
            text_end = end;
        }
    }
    room::require(usize::try_from(text_end).unwrap_or(usize::MAX))?;
    Ok(0)
}

/// Lines, a last one without its newline included.
fn count_lines(file: &File) -> io::Result<u64> {
    let mut lines = 0;
    let mut last = b'\n';
    for_each_piece::<io::Error>(file, BLOCK, |piece| {
        match piece {
            Piece::Data(bytes) => {
                lines += newlines(bytes);
                last = bytes.last().copied().unwrap_or(last);
            }
            Piece::Hole(_) => last = 0,
        }
        Ok(())
    })?;
    Ok(lines + u64::from(last != b'\n'))
}

/// What of a line goes into a reply: the strings there cannot hold a NUL.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    begun: bool,
    after_nul: bool,
}

impl Line {
    /// Adds what comes next, with the newline if it is the end.
    fn add(&mut self, part: &[u8]) -> Result<()> {
        self.begun = true;
        if self.after_nul {
            return Ok(());
        }
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        let end = part.iter().position(|&byte| byte == 0);
        self.after_nul = end.is_some();
        let part = end.and_then(|end| part.get(..end)).unwrap_or(part);
        room::require(self.text.len() + part.len())?;
        self.text.extend_from_slice(part);
        Ok(())
    }
}

/// Why no more of a file is read.
enum Stop {
    Enough,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The first `wanted` lines from a position on.
fn collect(file: &File, start: u64, wanted: u64) -> Result<Vec<Vec<u8>>> {
    let mut lines = Strings::default();
    let mut line = Line::default();
    let mut left = wanted;
    let stopped = for_each_piece_from(file, start, BLOCK, |piece| {
        let bytes = match piece {
            Piece::Data(bytes) => bytes,
            Piece::Hole(_) => b"\0",
        };
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            if left == 0 {
                return Err(Stop::Enough);
            }
            line.add(part)?;
            if part.ends_with(b"\n") {
                lines.push(std::mem::take(&mut line).text)?;
                left -= 1;
            }
        }
        Ok(())
    });
    if let Err(Stop::Failed(error)) = stopped {
        return Err(error);
    }
    if line.begun {
        lines.push(line.text)?;
    }
    Ok(lines.into_vec())
}

/// Calls `visit` with the content of a file, one large block after the other, but
/// for its holes.
pub(super) fn for_each_block(file: &File, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    for_each_piece(file, BLOCK, |piece| {
        if let Piece::Data(bytes) = piece {
            visit(bytes);
        }
        Ok(())
    })
}

/// The newlines in a block.
pub(super) fn newlines(block: &[u8]) -> u64 {
    // Counting in bytes lets the compiler use vector instructions.
    block
        .chunks(usize::from(u8::MAX))
        .map(|part| u64::from(part.iter().map(|&byte| u8::from(byte == b'\n')).sum::<u8>()))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::text::tests::with;

    fn strings(lines: Vec<Vec<u8>>) -> Vec<String> {
        lines
            .into_iter()
            .map(|line| String::from_utf8(line).expect("text"))
            .collect()
    }

    #[test]
    fn head_and_tail_agree_on_what_a_line_is() {
        for content in ["", "\n", "a", "a\n", "a\n\n", "a\nb\n\nc", "\n\nx\n"] {
            let all: Vec<_> = content.lines().map(str::to_owned).collect();
            for count in 0..6 {
                let n = count as u64;
                let file = || with(content.as_bytes());
                let end = all.len().saturating_sub(count);
                let start = count.saturating_sub(1).min(all.len());
                let few = count.min(all.len());
                assert_eq!(
                    strings(first(&file(), n).unwrap()),
                    all[..few],
                    "{content:?} {n}"
                );
                assert_eq!(strings(all_but_last(&file(), n).unwrap()), all[..end]);
                assert_eq!(
                    strings(last(&file(), n).unwrap()),
                    all[end..],
                    "{content:?} {n}"
                );
                assert_eq!(strings(from_line(&file(), n).unwrap()), all[start..]);
            }
        }
    }

    #[test]
    fn the_last_lines_are_found_across_blocks() {
        let line = "x".repeat(BLOCK / 2 - 7);
        let content = format!("{line}\n").repeat(5);
        let file = with(content.as_bytes());
        for wanted in 1..=6 {
            let lines = last(&file, wanted).expect("the last lines");
            assert_eq!(lines.len() as u64, wanted.min(5));
            assert!(lines.iter().all(|found| found == line.as_bytes()));
        }
    }

    #[test]
    fn what_no_reply_can_hold_is_an_error() {
        let file = with(&vec![b'x'; protocol::wire::MESSAGE_MAX + 2]);
        let error = first(&file, 1).expect_err("a line of 4 MiB");
        assert_eq!(error.errno(), Some(Errno::E2BIG));
    }

    #[test]
    fn a_line_ends_at_a_nul() {
        assert_eq!(strings(first(&with(b"a\0b\nc"), 9).unwrap()), ["a", "c"]);
        // However long it is, and whether what follows is stored or not.
        let zeroes = vec![0; protocol::wire::MESSAGE_MAX + 2];
        let long = [b"a".as_slice(), &zeroes, b"\nb\nc"].concat();
        let file = with(&long);
        assert_eq!(strings(first(&file, 2).unwrap()), ["a", "b"]);
        file.set_len(1 << 40).unwrap();
        assert_eq!(strings(first(&file, 9).unwrap()), ["a", "b", "c"]);
        // The last line is `c` and a hole of a TiB.
        assert_eq!(strings(last(&file, 2).unwrap()), ["b", "c"]);
        assert_eq!(strings(last(&file, 9).unwrap()), ["a", "b", "c"]);
    }

    #[test]
    fn the_last_lines_end_at_a_nul_however_long_they_are() {
        let long = vec![b'x'; protocol::wire::MESSAGE_MAX + 2];
        let content = [b"first\na\0".as_slice(), &long, b"\0", &long, b"\nlast\n"].concat();
        let file = with(&content);
        assert_eq!(strings(last(&file, 2).unwrap()), ["a", "last"]);
        assert_eq!(strings(last(&file, 9).unwrap()), ["first", "a", "last"]);
        // A NUL that comes too late does not help.
        let content = [b"first\n".as_slice(), &long, b"\0\nlast\n"].concat();
        let file = with(&content);
        assert_eq!(strings(last(&file, 1).unwrap()), ["last"]);
        let error = last(&file, 2).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::E2BIG));
    }
}
