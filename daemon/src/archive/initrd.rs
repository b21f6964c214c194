//! Reading the initial ramdisks of Linux.

use std::fs::File;
use std::io::BufReader;

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use protocol::{Error, Result};

use super::cpio;
use super::input::Input;
use crate::reading::fill_at;
use crate::room::Strings;

/// Archives of microcode that may precede the real one.
const EARLY_MAX: usize = 64;

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
    let size = file.metadata()?.len();
    let mut start = 0;
    for _ in 0..EARLY_MAX {
        let mut magic = [0; 6];
        if !cpio::is_magic(fill_at(file, &mut magic, start)?) {
            break;
        }
        let Some(end) = end_of(file, start) else {
            break;
        };
        let next = end.next_multiple_of(512);
        if next >= size {
            break;
        }
        start = next;
    }
    Ok(start)
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
