//! The names in an archive, as paths below the directory it is unpacked into.

use nix::errno::Errno;
use protocol::{Error, Result};

/// A member's name as a path below the base: no leading slash, no `.`.
pub(super) fn clean(name: &[u8]) -> Result<Vec<u8>> {
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(Error::with_errno(
                    Errno::EINVAL,
                    "the member's name contains '..'",
                ));
            }
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// The target of a hard link, without anything up to its last `..`.
pub(super) fn clean_target(name: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = name.split(|&byte| byte == b'/').collect();
    let start = parts
        .iter()
        .rposition(|&part| part == b"..")
        .map_or(0, |at| at + 1);
    parts
        .get(start..)
        .unwrap_or_default()
        .iter()
        .filter(|part| !matches!(**part, b"" | b"."))
        .copied()
        .collect::<Vec<_>>()
        .join(&b'/')
}

/// Whether a link's target is below the link's own directory.
pub(super) fn is_harmless(target: &[u8]) -> bool {
    !target.starts_with(b"/") && target.split(|&byte| byte == b'/').all(|part| part != b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_directory() {
        assert_eq!(clean(b"./a//b/./c/").unwrap(), b"a/b/c");
        assert_eq!(clean(b"/etc/passwd").unwrap(), b"etc/passwd");
        assert_eq!(clean(b"./").unwrap(), b"");
        assert!(clean(b"a/../../b").is_err());
        assert!(clean(b"..").is_err());
        assert_eq!(clean(b"..a/b..").unwrap(), b"..a/b..");
        assert_eq!(clean_target(b"../../etc/passwd"), b"etc/passwd");
        assert_eq!(clean_target(b"/a/b/../c"), b"c");
        assert!(is_harmless(b"a/b") && !is_harmless(b"a/../b") && !is_harmless(b"/a"));
    }
}
