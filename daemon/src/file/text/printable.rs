//! Printable characters among others: strings and hexadecimal dumps.

use std::fmt::Write as _;
use std::fs::File;

use protocol::{Error, Result};

use super::lines::BLOCK;
use crate::reading::{Piece, for_each_piece};
use crate::room::{self, Strings};

/// Runs of fewer printable characters are chance.
const SHORTEST: usize = 4;

/// The bytes on a line of a dump.
const PER_LINE: usize = 16;

/// How characters are encoded in a file whose strings are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Bytes, of which only ASCII is printable.
    Ascii,
    /// Bytes, of which those above ASCII are printable too.
    EightBit,
    /// Numbers of 2 or 4 bytes.
    Wide { width: usize, big_endian: bool },
}

impl Encoding {
    /// By the letter that the `strings` program has for it.
    pub(super) fn from_letter(letter: &str) -> Option<Self> {
        let wide = |width, big_endian| Self::Wide { width, big_endian };
        Some(match letter {
            "s" => Self::Ascii,
            "S" => Self::EightBit,
            "b" => wide(2, true),
            "l" => wide(2, false),
            "B" => wide(4, true),
            "L" => wide(4, false),
            _ => return None,
        })
    }

    fn width(self) -> usize {
        match self {
            Self::Ascii | Self::EightBit => 1,
            Self::Wide { width, .. } => width,
        }
    }

    /// The character that `unit` holds, if it is printable.
    fn printable(self, unit: &[u8]) -> Option<u8> {
        let (byte, rest) = match self {
            Self::Wide {
                big_endian: true, ..
            } => unit.split_last()?,
            _ => unit.split_first()?,
        };
        let good = match *byte {
            b'\t' | b' '..=b'~' => true,
            other => self == Self::EightBit && other > 0x7f,
        };
        (good && rest.iter().all(|&high| high == 0)).then_some(*byte)
    }
}

/// The runs of printable characters in a file.
pub(super) fn strings(file: &File, encoding: Encoding) -> Result<Vec<Vec<u8>>> {
    let width = encoding.width();
    let mut found = Found::default();
    // What is left of a block is too short for a character.
    let mut window: Vec<u8> = Vec::new();
    for_each_piece(file, BLOCK, |piece| {
        match piece {
            Piece::Data(bytes) => window.extend_from_slice(bytes),
            // More zeroes than these end no more strings, and begin no others.
            Piece::Hole(len) => window.extend(zeroes(len.min(PER_LINE as u64))),
        }
        let mut at = 0;
        while let Some(unit) = window.get(at..at + width) {
            at += match encoding.printable(unit) {
                Some(character) => found.add(character).map(|()| width),
                None => found.end_run().map(|()| 1),
            }?;
        }
        window.drain(..at);
        Ok::<(), Error>(())
    })?;
    found.end_run()?;
    Ok(found.strings.into_vec())
}

#[derive(Default)]
struct Found {
    strings: Strings,
    run: Vec<u8>,
}

impl Found {
    fn add(&mut self, character: u8) -> Result<()> {
        self.run.push(character);
        self.strings.require(self.run.len())
    }

    fn end_run(&mut self) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        if run.len() >= SHORTEST {
            self.strings.push(run)?;
        } else {
            self.run = run;
            self.run.clear();
        }
        Ok(())
    }
}

/// Offset, sixteen bytes and their characters on each line; `*` for lines that
/// are like the one before them.
pub(super) fn dump(file: &File) -> Result<Vec<u8>> {
    let mut dump = Dump::default();
    let mut window: Vec<u8> = Vec::new();
    for_each_piece(file, BLOCK, |piece| {
        let hole = match piece {
            Piece::Data(bytes) => {
                window.extend_from_slice(bytes);
                0
            }
            Piece::Hole(len) => len,
        };
        // Two lines of zeroes are there to be repeated, after the one that begins with data.
        let shown = hole.min(3 * PER_LINE as u64);
        window.extend(zeroes(shown));
        dump.lines(&mut window)?;
        let (repeated, rest) = (
            (hole - shown) / PER_LINE as u64,
            (hole - shown) % PER_LINE as u64,
        );
        dump.offset += repeated * PER_LINE as u64;
        window.extend(zeroes(rest));
        dump.lines(&mut window)
    })?;
    dump.end(&window)
}

fn zeroes(len: u64) -> impl Iterator<Item = u8> {
    (0..len).map(|_| 0)
}

#[derive(Default)]
struct Dump {
    text: String,
    offset: u64,
    previous: Option<[u8; PER_LINE]>,
    repeating: bool,
}

impl Dump {
    /// Takes the whole lines that are in `window`.
    fn lines(&mut self, window: &mut Vec<u8>) -> Result<()> {
        let (lines, rest) = window.as_chunks::<PER_LINE>();
        for line in lines {
            self.line(line)?;
        }
        let taken = window.len() - rest.len();
        window.drain(..taken);
        Ok(())
    }

    fn line(&mut self, line: &[u8; PER_LINE]) -> Result<()> {
        if self.previous.as_ref() == Some(line) {
            if !self.repeating {
                self.text.push_str("*\n");
            }
            self.repeating = true;
        } else {
            self.repeating = false;
            self.previous = Some(*line);
            self.show(line);
            room::require(self.text.len())?;
        }
        self.offset += PER_LINE as u64;
        Ok(())
    }

    fn show(&mut self, bytes: &[u8]) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{:08x} ", self.offset);
        for column in 0..PER_LINE {
            if column % 8 == 0 {
                self.text.push(' ');
            }
            let _ = match bytes.get(column) {
                Some(byte) => write!(self.text, "{byte:02x} "),
                None => write!(self.text, "   "),
            };
        }
        self.text.push_str(" |");
        let characters = bytes.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        self.text.extend(characters);
        self.text.push_str("|\n");
    }

    fn end(mut self, rest: &[u8]) -> Result<Vec<u8>> {
        if !rest.is_empty() {
            self.show(rest);
        }
        self.offset += rest.len() as u64;
        if self.offset > 0 {
            let _ = writeln!(self.text, "{:08x}", self.offset);
        }
        room::require(self.text.len())?;
        Ok(self.text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::file::text::tests::with;

    fn found(content: &[u8], letter: &str) -> Vec<String> {
        let encoding = Encoding::from_letter(letter).expect("an encoding");
        strings(&with(content), encoding)
            .expect("strings")
            .into_iter()
            .map(|string| String::from_utf8_lossy(&string).into_owned())
            .collect()
    }

    #[test]
    fn strings_are_runs_of_four() {
        assert_eq!(found(b"abc\0abcd\x01a\tbc\x7fxyz", "s"), ["abcd", "a\tbc"]);
        assert_eq!(found(b"ab\xe9cd", "s"), [""; 0]);
        assert_eq!(found(b"ab\xe9cd", "S").len(), 1);
        assert_eq!(found(b"last", "s"), ["last"]);
        assert_eq!(Encoding::from_letter("x"), None);
    }

    #[test]
    fn wide_strings_may_begin_anywhere() {
        let little: Vec<u8> = "Windows".bytes().flat_map(|byte| [byte, 0]).collect();
        assert_eq!(found(&little, "l"), ["Windows"]);
        assert_eq!(found(&[&[9, 9, 9], &little[..]].concat(), "l"), ["Windows"]);
        let wider: Vec<u8> = "wide".bytes().flat_map(|byte| [0, 0, 0, byte]).collect();
        assert_eq!(found(&wider, "B"), ["wide"]);
        assert_eq!(found(&wider, "L"), [""; 0]);
    }

    #[test]
    fn strings_are_found_across_blocks() {
        let mut content = vec![0; 256 * 1024 - 3];
        content.extend(b"across");
        assert_eq!(found(&content, "s"), ["across"]);
    }

    /// A file of which little is stored, and the same with everything stored.
    fn sparse() -> [File; 2] {
        [false, true].map(|stored| {
            let file = tempfile::tempfile().expect("file");
            let content = [&b"begin"[..], &[0; 3 << 20], b"middle", &[0; 77], b"end"].concat();
            if stored {
                file.write_all_at(&content, 0).expect("write");
            } else {
                file.set_len(content.len() as u64).expect("size");
                for (at, bytes) in [
                    (0, &content[..5]),
                    ((3 << 20) + 5, &content[(3 << 20) + 5..]),
                ] {
                    file.write_all_at(bytes, at).expect("write");
                }
            }
            file
        })
    }

    #[test]
    fn holes_are_zeroes() {
        let [file, stored] = sparse();
        assert_eq!(dump(&file).expect("a dump"), dump(&stored).expect("a dump"));
        for letter in ["s", "S", "b", "l", "B", "L"] {
            let encoding = Encoding::from_letter(letter).expect("an encoding");
            let strings = |file| strings(file, encoding).expect("strings");
            assert_eq!(strings(&file), strings(&stored), "{letter}");
        }
        file.set_len(1 << 40).expect("size");
        let text = dump(&file).expect("a dump");
        assert!(text.ends_with(b"\n*\n10000000000\n"));
    }

    #[test]
    fn dumps_squeeze_repeated_lines() {
        let mut content = vec![b'A'; 48];
        content.extend([0, 255, b'z']);
        let text = String::from_utf8(dump(&with(&content)).expect("a dump")).expect("text");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines[0].starts_with("00000000  41 41") && lines[0].ends_with("|AAAAAAAAAAAAAAAA|")
        );
        assert_eq!(lines[1], "*");
        assert!(lines[2].starts_with("00000030  00 ff 7a  ") && lines[2].ends_with("|..z|"));
        assert_eq!(lines[0].find('|'), lines[2].find('|'));
        assert_eq!(lines[3], "00000033");
        assert_eq!(dump(&with(b"")).expect("a dump"), b"");
    }
}
