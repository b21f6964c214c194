//! Reading the initial ramdisks of Linux.

use std::fs::File;
use std::io::{self, BufReader};

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use protocol::{Error, Result};

use super::cpio;
use super::input::Input;
use crate::reading::{Piece, fill_at, for_each_piece_from};
use crate::room::Strings;

/// Archives of microcode that may precede the real one.
const EARLY_MAX: usize = 64;

/// How much to read at a time where zeroes are expected.
const PADDING_BLOCK: usize = 64 << 10;

/// The names of all members, in the order of the archive.
pub(crate) fn list(file: File) -> Result<Vec<Vec<u8>>> {
    let mut names = Strings::default();
    read(file, |reader| {
        while let Some(member) = reader.next()? {
            names.push(member.name)?;
        }
        Ok(())
    })?;
    Ok(names.into_vec())
}

/// The contents of the member of that name, a regular file; `None` if there is
/// no such member.
///
/// # Errors
///
/// EISDIR or EINVAL if it is no regular file; E2BIG if no reply can hold it.
pub(crate) fn contents(file: File, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    read(file, |reader| {
        // The inode of a file with several names, whose data may come later.
        let mut awaited = None;
        while let Some(member) = reader.next()? {
            let wanted = member.name == name || awaited == Some(member.inode);
            if wanted && !member.is_regular() {
                return Err(not_regular(member.kind()));
            }
            if wanted && (member.size > 0 || found.is_none()) {
                found = Some(reader.contents()?);
                awaited = (member.links > 1 && member.size == 0).then_some(member.inode);
                if awaited.is_none() {
                    break;
                }
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads the members of the archive that becomes the system's root.
pub(crate) fn read(
    file: File,
    with: impl FnOnce(&mut cpio::Reader<BufReader<Input>>) -> Result<()>,
) -> Result<()> {
    let start = main_archive(&file)?;
    let input = Input::open(file, start)?;
    let mut reader = cpio::Reader::new(BufReader::with_capacity(256 << 10, input));
    with(&mut reader).map_err(|error| reader.into_input().into_inner().failure(error))
}

/// Where the last archive begins. Only it may be compressed.
fn main_archive(file: &File) -> Result<u64> {
    let mut start = 0;
    for _ in 0..EARLY_MAX {
        let mut magic = [0; 6];
        if !cpio::is_magic(fill_at(file, &mut magic, start)?) {
            break;
        }
        let Some(end) = end_of(file, start) else {
            break;
        };
        match after_padding(file, end)? {
            Some(next) => start = next,
            None => break,
        }
    }
    Ok(start)
}

/// Where something else than zeroes comes after an archive. Kernels take any number of them
/// between two.
fn after_padding(file: &File, end: u64) -> Result<Option<u64>> {
    let mut position = end;
    let searched = for_each_piece_from(file, end, PADDING_BLOCK, |piece| {
        let zeroes = match piece {
            Piece::Hole(len) => len,
            Piece::Data(bytes) => match bytes.iter().position(|&byte| byte != 0) {
                Some(other) => {
                    position += other as u64;
                    return Err(io::Error::from(Errno::ECANCELED));
                }
                None => bytes.len() as u64,
            },
        };
        position += zeroes;
        Ok(())
    });
    match searched {
        Ok(()) => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ECANCELED as i32) => Ok(Some(position)),
        Err(error) => Err(error.into()),
    }
}

/// Where the archive that begins at `start` ends, if it is a whole one.
fn end_of(file: &File, start: u64) -> Option<u64> {
    let input = Input::plain(file.try_clone().ok()?, start).ok()?;
    let mut reader = cpio::Reader::new(BufReader::new(input));
    while reader.next().ok()?.is_some() {}
    Some(start + reader.position())
}

/// The error for a name that is not there.
pub(crate) fn missing(path: &str, name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(name);
    Error::os(Errno::ENOENT, format!("{path}:{name}"))
}

fn not_regular(kind: SFlag) -> Error {
    match kind {
        SFlag::S_IFDIR => Errno::EISDIR.into(),
        _ => Error::with_errno(Errno::EINVAL, "not a regular file"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn member(name: &str, mode: u32) -> Vec<u8> {
        let length = name.len() + 1;
        let fields = [1, mode, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let mut out = b"070701".to_vec();
        for field in fields {
            out.extend(format!("{field:08x}").into_bytes());
        }
        out.extend(format!("{length:08x}{:08x}{name}\0", 0).into_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn archive(name: &str) -> Vec<u8> {
        [member(name, 0o100_644), member("TRAILER!!!", 0)].concat()
    }

    fn names(parts: &[&[u8]]) -> Vec<String> {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(&parts.concat()).expect("write");
        let names = list(file).expect("list");
        let text = |name| String::from_utf8(name).expect("text");
        names.into_iter().map(text).collect()
    }

    #[test]
    fn the_last_archive_counts_however_it_is_padded() {
        let (early, main) = (archive("early"), archive("main"));
        for padding in [0, 4, 384, 512, 3 * PADDING_BLOCK + 8] {
            let padding = vec![0; padding];
            assert_eq!(names(&[&early, &padding]), ["early"]);
            assert_eq!(names(&[&early, &padding, &main]), ["main"]);
            assert_eq!(names(&[&early, &padding, &main, &padding]), ["main"]);
        }
    }
}
