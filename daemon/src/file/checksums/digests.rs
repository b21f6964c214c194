//! The checksum algorithms, each giving what the program of its name prints.

use std::fs::File;
use std::io::{Seek, SeekFrom};

use crc_fast::CrcAlgorithm;
use fast_md5::Md5;
use protocol::{Error, Result};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::blocks::{self, Pace};
use super::unknown;
use crate::command::Command;
use crate::features;

/// A checksum algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc,
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    /// Left to a program that few appliances have.
    Program(&'static str),
}

/// A checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum {
    /// Hexadecimal, or decimal for CRC.
    pub(super) text: String,
    /// Length of the data, where it is part of the checksum.
    pub(super) size: Option<u64>,
}

impl Algorithm {
    /// The algorithm of that name, in upper or lower case.
    pub(super) fn from_word(word: &str) -> Result<Self> {
        let algorithm = match word.to_ascii_lowercase().as_str() {
            "crc" => Self::Crc,
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            "gost" => Self::Program("gostsum"),
            "gost12" => Self::Program("gost12sum"),
            _ => return Err(unknown()),
        };
        match algorithm {
            Self::Program(program) if !features::program_exists(program) => {
                Err(Error::not_supported(format!(
                    "checksum type {word} is not supported: the appliance has no {program}"
                )))
            }
            _ => Ok(algorithm),
        }
    }

    /// The checksum of a file's data, from its current position on.
    pub(super) fn of(self, file: &File, buffer: &mut [u8]) -> Result<Checksum> {
        self.measured(file, buffer, |_| {})
    }

    /// The same, and calls `progress` with the number of bytes read so far.
    pub(super) fn measured(
        self,
        file: &File,
        buffer: &mut [u8],
        progress: impl FnMut(u64),
    ) -> Result<Checksum> {
        let data = Data {
            file,
            buffer,
            progress,
        };
        match self {
            Self::Crc => crc(data),
            Self::Md5 => md5(data),
            Self::Sha1 => digest::<Sha1>(data),
            Self::Sha224 => digest::<Sha224>(data),
            Self::Sha256 => digest::<Sha256>(data),
            Self::Sha384 => digest::<Sha384>(data),
            Self::Sha512 => digest::<Sha512>(data),
            Self::Program(program) => external(program, file),
        }
    }
}

/// What is summed.
struct Data<'d, P> {
    file: &'d File,
    buffer: &'d mut [u8],
    progress: P,
}

impl<P: FnMut(u64)> Data<'_, P> {
    /// Reads the file to its end, a block at a time.
    fn each_block(mut self, pace: Pace, mut take: impl FnMut(&[u8])) -> Result<()> {
        let mut done = 0;
        blocks::for_each(self.file, self.buffer, pace, |block| {
            take(block);
            done += block.len() as u64;
            (self.progress)(done);
        })
    }
}

fn digest<D: Digest>(data: Data<'_, impl FnMut(u64)>) -> Result<Checksum> {
    let mut digest = D::new();
    data.each_block(Pace::Slow, |block| digest.update(block))?;
    Ok(hexadecimal(&digest.finalize()))
}

fn md5(data: Data<'_, impl FnMut(u64)>) -> Result<Checksum> {
    let mut digest = Md5::new();
    data.each_block(Pace::Slow, |block| digest.update(block))?;
    Ok(hexadecimal(&digest.finalize()))
}

/// The CRC of POSIX cksum.
fn crc(data: Data<'_, impl FnMut(u64)>) -> Result<Checksum> {
    let mut digest = crc_fast::Digest::new(CrcAlgorithm::Crc32Cksum);
    let mut size = 0;
    data.each_block(Pace::Fast, |block| {
        size += block.len() as u64;
        digest.update(block);
    })?;
    // The length is part of what is summed, its lowest byte first.
    let mut rest = size;
    while rest > 0 {
        digest.update(&[(rest & 0xff) as u8]);
        rest >>= 8;
    }
    Ok(Checksum {
        text: digest.finalize().to_string(),
        size: Some(size),
    })
}

fn hexadecimal(digest: &[u8]) -> Checksum {
    let text = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Checksum { text, size: None }
}

fn external(program: &str, file: &File) -> Result<Checksum> {
    let mut stdin = file.try_clone()?;
    stdin.seek(SeekFrom::Start(0))?;
    let output = Command::new(program).stdin_file(stdin).run()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    Ok(Checksum { text, size: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn sum(word: &str, data: &[u8]) -> String {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(data).unwrap();
        file.rewind().unwrap();
        let algorithm = Algorithm::from_word(word).unwrap();
        algorithm.of(&file, &mut [0; 64]).unwrap().text
    }

    #[test]
    fn known_checksums() {
        let data = [b'x'; 300];
        assert_eq!(sum("crc", b"hello"), "3287646509");
        assert_eq!(sum("crc", b""), "4294967295");
        assert_eq!(sum("crc", &data), "3786917833");
        assert_eq!(sum("md5", b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(sum("MD5", &data), "8a4876ea55d998a5d91ed59db796af28");
        assert_eq!(
            sum("sha1", b"abc"),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            sum("sha224", b"abc"),
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"
        );
        assert_eq!(
            sum("sha256", b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(sum("sha384", b"abc").starts_with("cb00753f45a35e8bb5a03d699ac65007"));
        assert!(sum("sha512", b"abc").starts_with("ddaf35a193617abacc417349ae204131"));
        assert!(Algorithm::from_word("foo").is_err());
    }

    /// One sum over those of data of every length, so that blocks end anywhere
    /// in the algorithm's own; the expected ones are coreutils'.
    #[test]
    fn checksums_of_all_lengths() {
        let data: Vec<u8> = (0..300u32).map(|n| (n * 7 % 256) as u8).collect();
        let all = |word| {
            let sums: String = (0..data.len())
                .map(|len| sum(word, data.get(..len).unwrap()) + "\n")
                .collect();
            sum(word, sums.as_bytes())
        };
        assert_eq!(all("crc"), "2597289846");
        assert_eq!(all("md5"), "e0d6b84ba010d969b31c5e867fc40a3d");
        assert_eq!(
            all("sha512"),
            "047cad87a0b615d4de20a29b4778f4321e9f129df5bdb22fc2c63ce7c57dc301f1bcde1a0c05561e10b5f7be67444b34efa39058b8a74321674c0d1ad2d6a18f"
        );
    }

    /// Algorithms go other ways through more data; the expected ones are coreutils'.
    #[test]
    fn checksums_of_much_data() {
        let data: Vec<u8> = (0..1_000_003u32).map(|n| (n * 7 / 5) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        for (word, expected) in [
            ("crc", "2489311570"),
            ("md5", "8f25a2c12cd8bc4f9e7316cd33fcbf1a"),
            ("sha1", "5bcaf0524b955e8c9b527cbef1d69d0f6061f5ed"),
            (
                "sha256",
                "58f6163d33646253d58c85e3553660ba8049af76253cbe91240f0daad9e5e80a",
            ),
        ] {
            // Blocks of a size that is a multiple of the algorithms', and of one that is not.
            for block in [1 << 16, 4099] {
                file.rewind().unwrap();
                let algorithm = Algorithm::from_word(word).unwrap();
                let sum = algorithm.of(&file, &mut vec![0; block]).unwrap();
                assert_eq!(sum.text, expected, "{word}");
            }
        }
    }
}
