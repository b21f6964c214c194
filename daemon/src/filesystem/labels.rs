//! What labels and UUIDs may be.

use nix::errno::Errno;
use protocol::{Error, Result, resolve};

const EXT_MAX: usize = 16;
const XFS_MAX: usize = 12;

/// Checks a label of ext2, ext3 or ext4: mke2fs and tune2fs would cut it.
///
/// # Errors
///
/// EINVAL when it is too long.
pub(super) fn check_ext(label: &[u8]) -> Result<()> {
    check(label, "ext2/3/4", EXT_MAX)
}

/// Checks a label of XFS.
///
/// # Errors
///
/// EINVAL when it is too long.
pub(super) fn check_xfs(label: &[u8]) -> Result<()> {
    check(label, "xfs", XFS_MAX)
}

/// Checks a label that goes through xfs_admin: that is a shell script, which splits its arguments
/// once more at white space, and evaluates the label between apostrophes.
///
/// # Errors
///
/// EINVAL when the label would be more than one word of that script.
pub(super) fn check_xfs_admin(label: &[u8]) -> Result<()> {
    if !label.iter().any(|byte| b"' \t\n".contains(byte)) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{:?}: xfs_admin cannot set a label with white space or an apostrophe inside",
        String::from_utf8_lossy(label)
    )))
}

/// Checks a UUID that goes through xfs_admin: that says of any word that it is none, evaluates it,
/// and succeeds.
///
/// # Errors
///
/// EINVAL when it is no UUID.
pub(super) fn check_xfs_uuid(uuid: &str) -> Result<()> {
    if uuid.starts_with('{') {
        return Err(Error::invalid(format!("{uuid}: not a UUID")));
    }
    resolve::guid(uuid).map(drop)
}

fn check(label: &[u8], kind: &str, max: usize) -> Result<()> {
    if label.len() <= max {
        return Ok(());
    }
    Err(Error::with_errno(
        Errno::EINVAL,
        format!(
            "{}: {kind} labels are limited to {max} bytes",
            String::from_utf8_lossy(label)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_evaluated() {
        for label in [
            &b"data"[..],
            b"A-b_c.9",
            b"",
            "\u{e9}t\u{e9}".as_bytes(),
            b"$(id)",
            b"`id`;#*\"\\",
        ] {
            check_xfs_admin(label).unwrap();
        }
        for label in [&b"a b"[..], b"';id;'", b"a\nb", b"a\tb", b"'"] {
            let error = check_xfs_admin(label).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINVAL));
        }
        check_xfs_uuid("1a2B3c4d-0d45-4970-af27-c3a35114ac30").unwrap();
        for uuid in [
            "",
            "-x",
            "nil",
            "$(id)",
            "1a2b3c4d0d454970af27c3a35114ac30",
            "{1a2b3c4d-0d45-4970-af27-c3a35114ac30}",
        ] {
            let error = check_xfs_uuid(uuid).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EINVAL));
        }
    }
}
