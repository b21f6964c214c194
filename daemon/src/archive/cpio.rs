//! cpio archives of the "new" portable format, as in a Linux initramfs.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, fstat, major, minor};
use protocol::{Context, Error, Result};

use super::Sink;
use crate::guest::file_type;
use crate::room;
use crate::walk::{Entry, HardLinks, Walk};

/// Length of a header: a magic number and thirteen fields of eight digits.
const HEADER: usize = 110;
/// Archives end on a multiple of this many bytes.
const RECORD: u64 = 512;
const TRAILER: &[u8] = b"TRAILER!!!";
/// Longer names are nonsense.
const NAME_MAX: u64 = 64 << 10;
const BUFFER: usize = 256 << 10;

/// The two variants of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Newc,
    /// With the sum of each file's bytes.
    Crc,
}

impl Format {
    /// The format of that name.
    ///
    /// # Errors
    ///
    /// EINVAL if there is none.
    pub(crate) fn from_word(word: &str) -> Result<Self> {
        match word {
            "newc" => Ok(Self::Newc),
            "crc" => Ok(Self::Crc),
            _ => Err(Error::with_errno(
                Errno::EINVAL,
                format!("{word}: format must be 'newc' or 'crc'"),
            )),
        }
    }
}

/// Packs what is in `top`, a directory, and the directory itself as `.`.
pub(crate) fn pack(top: &OwnedFd, format: Format, out: &mut dyn Sink) -> Result<()> {
    let mut packer = Packer {
        out,
        format,
        written: 0,
        linked: HardLinks::default(),
        buffer: vec![0; BUFFER],
    };
    packer.member(&fstat(top)?, b".", &[], 0)?;
    let mut walk = Walk::new(top)?;
    while let Some(entry) = walk.next()? {
        packer
            .entry(&entry)
            .with_context(|| String::from_utf8_lossy(entry.path).into_owned())?;
    }
    packer.finish()
}

struct Packer<'o> {
    out: &'o mut dyn Sink,
    format: Format,
    written: u64,
    /// Files with several names whose data are in the archive.
    linked: HardLinks,
    buffer: Vec<u8>,
}

impl Packer<'_> {
    fn entry(&mut self, entry: &Entry<'_>) -> Result<()> {
        let stat = entry.stat()?;
        match file_type(&stat) {
            SFlag::S_IFREG => self.regular(entry),
            SFlag::S_IFLNK => {
                let target = readlinkat(entry.dir, entry.name)?.into_vec();
                self.member(&stat, entry.path, &target, 0)
            }
            _ => self.member(&stat, entry.path, &[], 0),
        }
    }

    fn regular(&mut self, entry: &Entry<'_>) -> Result<()> {
        let (mut file, mut stat) = entry.open_regular()?;
        if self.linked.met_as(&stat, b"")?.is_some() {
            // A further name of data that went before.
            stat.st_size = 0;
        }
        let sum = match self.format {
            Format::Newc => 0,
            Format::Crc => sum(&mut file, stat.st_size, &mut self.buffer)?,
        };
        self.header(&stat, entry.path, size_of(&stat)?, sum)?;
        let mut left = u64::try_from(stat.st_size).unwrap_or(0);
        self.written += left;
        if left > BUFFER as u64 {
            left -= self.out.copy_from(&file, left)?;
        }
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let read = file.read(self.buffer.get_mut(..want).unwrap_or_default())?;
            if read == 0 {
                let message = "the file is shorter than its size";
                return Err(Error::with_errno(Errno::EIO, message));
            }
            self.out.send(self.buffer.get(..read).unwrap_or_default())?;
            left -= read as u64;
        }
        self.pad(4)
    }

    fn member(&mut self, stat: &FileStat, name: &[u8], data: &[u8], sum: u32) -> Result<()> {
        let size = u32::try_from(data.len()).map_err(|_| Errno::EFBIG)?;
        self.header(stat, name, size, sum)?;
        self.put(data)?;
        self.pad(4)
    }

    fn header(&mut self, stat: &FileStat, name: &[u8], size: u32, sum: u32) -> Result<()> {
        let fields = [
            // Only there to tell which names belong to one file.
            (stat.st_ino & 0xffff_ffff) as u32,
            stat.st_mode,
            stat.st_uid,
            stat.st_gid,
            number(stat.st_nlink)?,
            // Times that do not fit become the nearest that does.
            u32::try_from(stat.st_mtime.max(0)).unwrap_or(u32::MAX),
            size,
            number(major(stat.st_dev))?,
            number(minor(stat.st_dev))?,
            number(major(stat.st_rdev))?,
            number(minor(stat.st_rdev))?,
            number(name.len() as u64 + 1)?,
            sum,
        ];
        let mut header = match self.format {
            Format::Newc => "070701",
            Format::Crc => "070702",
        }
        .to_owned();
        for field in fields {
            header.push_str(&format!("{field:08X}"));
        }
        self.put(header.as_bytes())?;
        self.put(name)?;
        self.put(b"\0")?;
        self.pad(4)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.send(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        let missing = self.written.next_multiple_of(to) - self.written;
        let zeroes = [0; RECORD as usize];
        self.put(zeroes.get(..missing as usize).unwrap_or_default())
    }

    fn finish(mut self) -> Result<()> {
        let magic = if self.format == Format::Newc {
            "070701"
        } else {
            "070702"
        };
        let fields = "00000000".repeat(4) + "00000001" + &"00000000".repeat(6);
        self.put(format!("{magic}{fields}0000000B00000000").as_bytes())?;
        self.put(TRAILER)?;
        self.put(b"\0")?;
        self.pad(RECORD)
    }
}

/// The sum of a file's bytes; its position is back at the start then.
fn sum(file: &mut File, size: i64, buffer: &mut [u8]) -> Result<u32> {
    let mut sum = 0_u32;
    let mut left = usize::try_from(size).unwrap_or(0);
    while left > 0 {
        let want = left.min(buffer.len());
        let read = file.read(buffer.get_mut(..want).unwrap_or_default())?;
        if read == 0 {
            break;
        }
        for &byte in buffer.get(..read).unwrap_or_default() {
            sum = sum.wrapping_add(byte.into());
        }
        left -= read;
    }
    file.rewind()?;
    Ok(sum)
}

fn size_of(stat: &FileStat) -> Result<u32> {
    u32::try_from(stat.st_size).map_err(|_| {
        Error::with_errno(
            Errno::EFBIG,
            "a file of 4 GiB or more does not fit into cpio",
        )
    })
}

fn number(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::from(Errno::EOVERFLOW))
}

/// A member of an archive that is being read.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) inode: u32,
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) size: u64,
}

impl Member {
    pub(crate) fn is_regular(&self) -> bool {
        self.kind() == SFlag::S_IFREG
    }

    /// What kind of file it is.
    pub(crate) fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.mode & SFlag::S_IFMT.bits())
    }
}

/// An archive that is being read.
pub(crate) struct Reader<R> {
    input: R,
    position: u64,
    /// Data of the current member that nobody has read.
    data: u64,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            data: 0,
        }
    }

    /// The next member; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        self.skip(self.data)?;
        self.align()?;
        let mut header = [0; HEADER];
        self.fill(&mut header)?;
        if !is_magic(&header) {
            return Err(damaged());
        }
        let field = |number: usize| {
            let start = 6 + 8 * number;
            header
                .get(start..start + 8)
                .and_then(|digits| str::from_utf8(digits).ok())
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .ok_or_else(damaged)
        };
        let name_len = u64::from(field(11)?);
        if name_len == 0 || name_len > NAME_MAX {
            return Err(damaged());
        }
        let mut name = vec![0; name_len as usize];
        self.fill(&mut name)?;
        let end = name.iter().position(|&byte| byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        self.align()?;
        let member = Member {
            inode: field(0)?,
            mode: field(1)?,
            links: field(4)?,
            size: field(6)?.into(),
            name,
        };
        self.data = member.size;
        if member.name == TRAILER {
            // Its data and the filling up to the next archive are not read.
            return Ok(None);
        }
        Ok(Some(member))
    }

    /// The current member's data.
    ///
    /// # Errors
    ///
    /// E2BIG if no reply can hold it.
    pub(crate) fn contents(&mut self) -> Result<Vec<u8>> {
        room::require(usize::try_from(self.data).unwrap_or(usize::MAX))?;
        self.beginning(self.data)
    }

    /// The first bytes of the current member's data, no more than `limit`.
    pub(crate) fn beginning(&mut self, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let len = self.data.min(limit);
        let read = (&mut self.input).take(len).read_to_end(&mut bytes)?;
        if read as u64 != len {
            return Err(damaged());
        }
        self.data -= len;
        self.position += len;
        Ok(bytes)
    }

    /// The input, with all that was not read.
    pub(crate) fn into_input(self) -> R {
        self.input
    }

    /// How far the archive has been read.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => damaged(),
                _ => error.into(),
            })?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        let skipped = std::io::copy(&mut (&mut self.input).take(len), &mut std::io::sink())?;
        if skipped != len {
            return Err(damaged());
        }
        self.position += len;
        self.data = 0;
        Ok(())
    }

    fn align(&mut self) -> Result<()> {
        self.skip_keeping(self.position.next_multiple_of(4) - self.position)
    }

    fn skip_keeping(&mut self, len: u64) -> Result<()> {
        let data = self.data;
        self.skip(len)?;
        self.data = data;
        Ok(())
    }
}

/// Whether an archive begins with these bytes.
pub(crate) fn is_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"070701") || bytes.starts_with(b"070702")
}

fn damaged() -> Error {
    Error::with_errno(Errno::EINVAL, "damaged cpio archive")
}
