//! Attributes and generations of files, with the letters of chattr(1).

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use protocol::{Context, Error, GuestPath, Result};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use super::super::ioctl;
use crate::guest::{Guest, file_type, reopen};

/// The letters in the order of a reply, with their bits in `linux/fs.h`.
const LETTERS: [(char, u32); 22] = [
    ('A', 0x80),
    ('C', 0x80_0000),
    ('D', DIRSYNC),
    ('E', 0x800),
    ('F', 0x4000_0000),
    ('I', 0x1000),
    ('N', 0x1000_0000),
    ('P', 0x2000_0000),
    ('S', 0x8),
    ('T', 0x2_0000),
    ('V', 0x10_0000),
    ('a', 0x20),
    ('c', 0x4),
    ('d', 0x40),
    ('e', 0x8_0000),
    ('i', 0x10),
    ('j', 0x4000),
    ('m', 0x400),
    ('s', 0x1),
    ('t', 0x8000),
    ('u', 0x2),
    ('x', 0x200_0000),
];

/// What only the filesystem itself sets and clears.
const READ_ONLY: [char; 4] = ['E', 'I', 'N', 'V'];

const DIRSYNC: u32 = 0x1_0000;

/// The letters of what a file has.
///
/// # Errors
///
/// ENOTSUP if its filesystem knows no attributes, or it is neither a file nor a directory; the errno
/// of the system call.
pub(super) fn letters(guest: &Guest, path: &GuestPath) -> Result<Vec<u8>> {
    let flags = flags(&open(guest, path)?.0, path)?;
    Ok(letters_of(flags).into_bytes())
}

/// Sets, or clears, what these letters stand for.
///
/// # Errors
///
/// EINVAL for letters that cannot be set; ENOTSUP if the filesystem does not know one of them, and
/// as for [`letters`].
pub(super) fn change(guest: &Guest, path: &GuestPath, letters: &str, clear: bool) -> Result<()> {
    let changed = bits_of(letters)?;
    if changed == 0 {
        return Ok(());
    }
    let (file, kind) = open(guest, path)?;
    let now = flags(&file, path)?;
    let mut wanted = if clear { now & !changed } else { now | changed };
    // As chattr has it. Most filesystems would pass over it, some refuse it.
    if kind != SFlag::S_IFDIR {
        wanted &= !DIRSYNC;
    }
    ioctl_setflags(&file, IFlags::from_bits_retain(wanted))
        .map_err(io::Error::from)
        .context(path)
}

/// The generation of a file's inode.
///
/// # Errors
///
/// As for [`letters`].
pub(super) fn generation(guest: &Guest, path: &GuestPath) -> Result<i64> {
    let (file, _) = open(guest, path)?;
    ioctl::generation(&file)
        .map(i64::from)
        .map_err(|errno| unknown(errno, path))
}

/// Sets the generation of a file's inode.
///
/// # Errors
///
/// EINVAL if it does not fit in 32 bits; ENOTSUP if the filesystem does not let it be changed, and
/// as for [`letters`].
pub(super) fn set_generation(guest: &Guest, path: &GuestPath, generation: i64) -> Result<()> {
    let generation = u32::try_from(generation)
        .map_err(|_| Error::invalid(format!("{generation}: generation must fit in 32 bits")))?;
    let (file, _) = open(guest, path)?;
    ioctl::set_generation(&file, generation).map_err(|errno| unknown(errno, path))
}

/// Opens a file or directory. For anything else, the answer would be that of a driver.
fn open(guest: &Guest, path: &GuestPath) -> Result<(File, SFlag)> {
    let handle = guest.handle(path)?;
    let kind = file_type(&fstat(&handle).context(path)?);
    match kind {
        SFlag::S_IFREG | SFlag::S_IFDIR => {
            let file = reopen(&handle, OFlag::O_RDONLY).context(path)?;
            Ok((file, kind))
        }
        _ => Err(Error::os(Errno::EOPNOTSUPP, path)),
    }
}

fn flags(file: &File, path: &GuestPath) -> Result<u32> {
    ioctl_getflags(file)
        .map(|flags| flags.bits())
        .map_err(|error| unknown(Errno::from_raw(error.raw_os_error()), path))
}

/// The error of a request that cannot be wrong but in that the filesystem does not know it. FUSE's
/// have their own word for that.
fn unknown(errno: Errno, path: &GuestPath) -> Error {
    match errno {
        Errno::ENOTTY | Errno::EINVAL => Error::os(Errno::EOPNOTSUPP, path),
        _ => Error::os(errno, path),
    }
}

fn letters_of(flags: u32) -> String {
    LETTERS
        .into_iter()
        .filter(|(_, bit)| flags & bit != 0)
        .map(|(letter, _)| letter)
        .collect()
}

fn bits_of(letters: &str) -> Result<u32> {
    let mut bits = 0;
    for letter in letters.chars() {
        let wrong = match LETTERS.iter().find(|(known, _)| *known == letter) {
            _ if READ_ONLY.contains(&letter) => "read-only",
            None => "unknown",
            Some((_, bit)) if bits & bit != 0 => "duplicate",
            Some((_, bit)) => {
                bits |= bit;
                continue;
            }
        };
        return Err(Error::invalid(format!("{wrong} file attribute '{letter}'")));
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_sorted_and_mean_one_bit_each() {
        let all = letters_of(u32::MAX);
        assert_eq!(all, "ACDEFINPSTVacdeijmstux");
        assert!(all.is_ascii() && all.bytes().is_sorted());
        assert!(LETTERS.iter().all(|(_, bit)| bit.is_power_of_two()));
        let together = LETTERS.iter().fold(0, |bits, (_, bit)| bits | bit);
        assert_eq!(together.count_ones() as usize, LETTERS.len());
        assert_eq!(letters_of(0), "");
        assert_eq!(letters_of(IFlags::IMMUTABLE.bits() | 0x100), "i");
    }

    #[test]
    fn letters_that_can_be_set() {
        for letter in (0..=0x7f).map(char::from) {
            let found = bits_of(&letter.to_string());
            let settable = "aAcCdDeFijmPsStTux".contains(letter);
            assert_eq!(found.is_ok(), settable, "{letter:?}");
            if let Ok(bits) = found {
                assert_eq!(letters_of(bits), letter.to_string());
            }
        }
        assert_eq!(bits_of(""), Ok(0));
        let both = IFlags::IMMUTABLE | IFlags::NOATIME;
        assert_eq!(bits_of("iA"), Ok(both.bits()));
    }

    #[test]
    fn letters_that_cannot_be_set() {
        let message = |letters| bits_of(letters).unwrap_err().message().to_owned();
        assert_eq!(message("iai"), "duplicate file attribute 'i'");
        assert_eq!(message("aE"), "read-only file attribute 'E'");
        assert_eq!(message("aR"), "unknown file attribute 'R'");
        assert_eq!(message("-i"), "unknown file attribute '-'");
        assert_eq!(message("\u{e9}"), "unknown file attribute '\u{e9}'");
    }

    #[test]
    fn a_filesystem_that_knows_no_attributes_does_not_support_them() {
        let path = GuestPath::new("/f").unwrap();
        for errno in [Errno::ENOTTY, Errno::EINVAL] {
            let error = unknown(errno, &path);
            assert_eq!(error.message(), "/f: Operation not supported");
            assert_eq!(error.errno(), Some(Errno::EOPNOTSUPP));
        }
        assert_eq!(unknown(Errno::EROFS, &path).errno(), Some(Errno::EROFS));
    }
}
