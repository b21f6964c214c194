//! Parts, counts, kinds and dumps of file contents.

mod content;
mod lines;
mod printable;

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use protocol::api::TextActions;
use protocol::{Context, DeviceOrPath, Error, GuestPath, Result};

use printable::Encoding;

use crate::Daemon;
use crate::guest::file_type;

/// How many lines [`TextActions::head`] and [`TextActions::tail`] give.
const FEW: u64 = 10;

impl TextActions for Daemon {
    fn file(&mut self, path: DeviceOrPath) -> Result<Vec<u8>> {
        match path {
            DeviceOrPath::Device(device) => {
                let file = self.devices.open(&device, OFlag::O_RDONLY)?;
                content::describe(&self.workers, &file).context(&device)
            }
            DeviceOrPath::Path(path) => {
                let kind = match file_type(&self.guest.lstat(&path)?) {
                    SFlag::S_IFREG => {
                        let file = self.regular(&path)?;
                        return content::describe(&self.workers, &file).context(&path);
                    }
                    SFlag::S_IFDIR => "directory",
                    SFlag::S_IFCHR => "character device",
                    SFlag::S_IFBLK => "block device",
                    SFlag::S_IFIFO => "FIFO",
                    SFlag::S_IFLNK => "symbolic link",
                    _ => "socket",
                };
                Ok(kind.as_bytes().to_vec())
            }
        }
    }

    fn strings(&mut self, path: GuestPath) -> Result<Vec<Vec<u8>>> {
        printable::strings(&self.regular(&path)?, Encoding::Ascii).context(&path)
    }

    fn strings_e(&mut self, encoding: &str, path: GuestPath) -> Result<Vec<Vec<u8>>> {
        let encoding = Encoding::from_letter(encoding).ok_or_else(|| {
            Error::with_errno(Errno::EINVAL, format!("{encoding}: invalid encoding"))
        })?;
        printable::strings(&self.regular(&path)?, encoding).context(&path)
    }

    fn hexdump(&mut self, path: GuestPath) -> Result<Vec<u8>> {
        printable::dump(&self.regular(&path)?).context(&path)
    }

    fn wc_l(&mut self, path: GuestPath) -> Result<i32> {
        let mut count = 0;
        lines::for_each_block(&self.regular(&path)?, |block| {
            count += lines::newlines(block);
        })
        .context(&path)?;
        number(count, &path)
    }

    fn wc_w(&mut self, path: GuestPath) -> Result<i32> {
        let mut words = Words::default();
        lines::for_each_block(&self.regular(&path)?, |block| {
            words.add(block);
        })
        .context(&path)?;
        number(words.count, &path)
    }

    fn wc_c(&mut self, path: GuestPath) -> Result<i32> {
        let size = self.regular(&path)?.metadata().context(&path)?.size();
        number(size, &path)
    }

    fn head(&mut self, path: GuestPath) -> Result<Vec<Vec<u8>>> {
        lines::first(&self.regular(&path)?, FEW).context(&path)
    }

    fn head_n(&mut self, nrlines: i32, path: GuestPath) -> Result<Vec<Vec<u8>>> {
        let file = self.regular(&path)?;
        let count = u64::from(nrlines.unsigned_abs());
        if nrlines < 0 {
            lines::all_but_last(&file, count).context(&path)
        } else {
            lines::first(&file, count).context(&path)
        }
    }

    fn tail(&mut self, path: GuestPath) -> Result<Vec<Vec<u8>>> {
        lines::last(&self.regular(&path)?, FEW).context(&path)
    }

    fn tail_n(&mut self, nrlines: i32, path: GuestPath) -> Result<Vec<Vec<u8>>> {
        let file = self.regular(&path)?;
        let count = u64::from(nrlines.unsigned_abs());
        if nrlines < 0 {
            lines::from_line(&file, count).context(&path)
        } else {
            lines::last(&file, count).context(&path)
        }
    }

    fn zfile(&mut self, meth: &str, path: GuestPath) -> Result<Vec<u8>> {
        let program = match meth {
            // gzip reads the format of the compress program too.
            "gzip" | "compress" => "gzip",
            "bzip2" => "bzip2",
            _ => {
                return Err(Error::with_errno(
                    Errno::EINVAL,
                    format!("{meth}: unknown method"),
                ));
            }
        };
        let file = self.regular(&path)?;
        content::describe_compressed(&self.workers, program, file).context(&path)
    }
}

impl Daemon {
    fn regular(&self, path: &GuestPath) -> Result<File> {
        self.guest.open_regular(path, OFlag::O_RDONLY)
    }
}

fn number(count: u64, path: &GuestPath) -> Result<i32> {
    i32::try_from(count).map_err(|_| {
        Error::with_errno(
            Errno::EOVERFLOW,
            format!("{path}: {count} is too large for this call's result"),
        )
    })
}

/// Counts words as `wc` does in the C locale: what is between white space is a
/// word if there is something printable in it.
#[derive(Default)]
struct Words {
    count: u64,
    inside: bool,
}

impl Words {
    fn add(&mut self, block: &[u8]) {
        for byte in block {
            match byte {
                b'\t'..=b'\r' | b' ' => self.inside = false,
                b'!'..=b'~' if !self.inside => {
                    self.inside = true;
                    self.count += 1;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    /// A file with this content, to be read from its beginning.
    pub(super) fn with(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a scratch file");
        file.write_all(content).expect("fill it");
        file.rewind().expect("rewind it");
        file
    }

    #[test]
    fn words_need_something_printable() {
        let mut words = Words::default();
        words.add(b"one two\x0bthr");
        words.add(b"ee \x01\xff \0x\xa0y\n\0\n");
        assert_eq!(words.count, 4);
    }
}
