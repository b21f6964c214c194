//! Checksums and comparison.

mod blocks;
mod comparison;
mod digests;

use std::fs::File;
use std::io::{Seek, SeekFrom};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::ChecksumsActions;
use protocol::{Context, Device, Error, FileOut, GuestPath, Progress, Result, Sent};

use crate::Daemon;
use crate::walk::Walk;
use comparison::{Named, same_content};
use digests::{Algorithm, Checksum};

/// How much of a file is read at a time: it stays in the processor's cache until
/// it is looked at, and costs a small file nothing.
const BLOCK: usize = 64 << 10;

impl ChecksumsActions for Daemon {
    fn checksum(
        &mut self,
        csumtype: &str,
        path: GuestPath,
        progress: &mut Progress<'_>,
    ) -> Result<String> {
        let algorithm = Algorithm::from_word(csumtype)?;
        let file = self.guest.open_regular(&path, OFlag::O_RDONLY)?;
        checksum(algorithm, &file, progress).context(path)
    }

    fn equal(&mut self, file1: GuestPath, file2: GuestPath) -> Result<bool> {
        let first = self.guest.open_regular(&file1, OFlag::O_RDONLY)?;
        let second = self.guest.open_regular(&file2, OFlag::O_RDONLY)?;
        same_content(
            &Named {
                file: &first,
                path: &file1,
            },
            &Named {
                file: &second,
                path: &file2,
            },
        )
    }

    fn checksum_device(
        &mut self,
        csumtype: &str,
        device: Device,
        progress: &mut Progress<'_>,
    ) -> Result<String> {
        let algorithm = Algorithm::from_word(csumtype)?;
        let file = self.devices.open(&device, OFlag::O_RDONLY)?;
        checksum(algorithm, &file, progress).context(device)
    }

    fn checksums_out(
        &mut self,
        csumtype: &str,
        directory: GuestPath,
        sumsfile: FileOut<'_>,
    ) -> Result<Sent> {
        let algorithm = Algorithm::from_word(csumtype)?;
        let top = super::open_directory(&self.guest, &directory)?;
        let mut walk = Walk::new(&top).context(&directory)?;
        let mut out = sumsfile.start()?;
        let mut block = buffer();
        while let Some(entry) = walk.next().context(&directory)? {
            let subject = || directory.join(entry.path);
            if !entry.is_regular().with_context(subject)? {
                continue;
            }
            let (file, _) = entry.open_regular().with_context(subject)?;
            let sum = algorithm.of(&file, &mut block).with_context(subject)?;
            out.send(&line(&sum, entry.path))?;
        }
        out.finish()
    }
}

/// The checksum of all of a file or device.
fn checksum(algorithm: Algorithm, mut file: &File, progress: &mut Progress<'_>) -> Result<String> {
    if let Algorithm::Program(_) = algorithm {
        let sum = progress.pulse_while(|| algorithm.of(file, &mut []))?;
        return Ok(sum.text);
    }
    let total = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let sum = algorithm.measured(file, &mut buffer(), |done| progress.update(done, total))?;
    Ok(sum.text)
}

/// A line as the program of the checksum prints it.
fn line(sum: &Checksum, path: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(sum.text.len() + path.len() + 8);
    if let Some(size) = sum.size {
        // cksum shows names as they are.
        line.extend_from_slice(format!("{} {size} ./", sum.text).as_bytes());
        line.extend_from_slice(path);
    } else {
        let special = path.iter().any(|byte| b"\\\n\r".contains(byte));
        if special {
            line.push(b'\\');
        }
        line.extend_from_slice(sum.text.as_bytes());
        line.extend_from_slice(b"  ./");
        for &byte in path {
            match byte {
                b'\\' => line.extend_from_slice(b"\\\\"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                _ => line.push(byte),
            }
        }
    }
    line.push(b'\n');
    line
}

fn buffer() -> Vec<u8> {
    vec![0; BLOCK]
}

/// Reads until the buffer is full or the file ends.
fn fill<'b>(file: &File, buffer: &'b mut [u8]) -> nix::Result<&'b mut [u8]> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match nix::unistd::read(file, room) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(buffer.get_mut(..filled).unwrap_or_default())
}

fn unknown() -> Error {
    Error::with_errno(
        Errno::EINVAL,
        "unknown checksum type, expecting crc|md5|sha1|sha224|sha256|sha384|sha512|gost|gost12",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_programs() {
        let sum = |size| Checksum {
            text: "ab".to_owned(),
            size,
        };
        assert_eq!(line(&sum(None), b"d/x"), b"ab  ./d/x\n");
        assert_eq!(line(&sum(None), b"a\n\\"), b"\\ab  ./a\\n\\\\\n");
        assert_eq!(line(&sum(Some(7)), b"a b"), b"ab 7 ./a b\n");
    }
}
