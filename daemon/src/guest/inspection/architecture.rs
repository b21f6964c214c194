//! For which architecture a file is.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use protocol::Result;

use super::headers;
use crate::archive::input::Input;
use crate::archive::{cpio, initrd};

/// How much of a file is looked at: headers are at its beginning.
const BEGINNING: u64 = 64 << 10;

/// Programs that an initial ramdisk may have, as their last names, those first that are most
/// likely to be what they say.
const PROGRAMS: [&[u8]; 10] = [
    b"ls",
    b"rm",
    b"modprobe",
    b"sh",
    b"bash",
    b"dash",
    b"nash",
    b"kmod",
    b"busybox",
    b"systemd",
];

/// The directories of an initial ramdisk that have programs.
const DIRECTORIES: [&[u8]; 5] = [b"bin", b"sbin", b"usr/bin", b"usr/sbin", b"usr/lib/systemd"];

/// How many programs' data is waited for: many times as many as there can be of such names.
const AWAITED_MAX: usize = 1 << 10;

/// The architecture of a program, library, kernel module or kernel, which may be compressed, or
/// of the programs in an initial ramdisk. `None` if it is nothing of this.
pub(super) fn of_file(file: File) -> Result<Option<String>> {
    let mut beginning = Vec::new();
    // What is wrong with a compressed file further on does not matter: the program ends here.
    Input::open(file.try_clone()?, 0)?
        .take(BEGINNING)
        .read_to_end(&mut beginning)?;
    if let Some(found) = headers::architecture(&beginning) {
        return Ok(Some(found));
    }
    if cpio::is_magic(&beginning) {
        return of_initrd(file);
    }
    Ok(None)
}

/// The architecture of the likeliest program. They all have the same, but for surprises.
fn of_initrd(file: File) -> Result<Option<String>> {
    let mut best: Option<(usize, String)> = None;
    let read = initrd::read(file, |reader| {
        // Inodes of programs with several names: the data comes with the last of them.
        let mut awaited = HashMap::new();
        while let Some(member) = reader.next()? {
            if !member.is_regular() {
                continue;
            }
            let several = member.links > 1;
            let earlier = awaited.get(&member.inode).copied().filter(|_| several);
            let Some(rank) = rank(&member.name).into_iter().chain(earlier).min() else {
                continue;
            };
            if best.as_ref().is_some_and(|(best, _)| *best <= rank) {
                continue;
            }
            if member.size == 0 && several {
                if awaited.len() < AWAITED_MAX {
                    awaited.insert(member.inode, rank);
                }
                continue;
            }
            if let Some(found) = headers::architecture(&reader.beginning(BEGINNING)?) {
                best = Some((rank, found));
                if rank == 0 {
                    break;
                }
            }
        }
        Ok(())
    });
    match best {
        Some((_, found)) => Ok(Some(found)),
        None => read.map(|()| None),
    }
}

/// How good a witness the member of that name is; 0 is best.
fn rank(name: &[u8]) -> Option<usize> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let slash = name.iter().rposition(|&byte| byte == b'/')?;
    let (directory, program) = (name.get(..slash)?, name.get(slash + 1..)?);
    let directory = DIRECTORIES.iter().position(|&known| known == directory)?;
    let program = PROGRAMS.iter().position(|&known| known == program)?;
    Some(program * DIRECTORIES.len() + directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_program_is_first() {
        assert_eq!(rank(b"bin/ls"), Some(0));
        assert_eq!(rank(b"./bin/ls"), Some(0));
        assert!(rank(b"usr/bin/ls") < rank(b"bin/sh"));
        assert!(rank(b"bin/sh") < rank(b"bin/busybox"));
        for other in [
            &b"ls"[..],
            b"/bin/ls",
            b"lib/ls",
            b"bin/ls/",
            b"bin/lsx",
            b"x/bin/ls",
            b"",
        ] {
            assert_eq!(rank(other), None);
        }
    }
}
