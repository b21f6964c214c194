//! How long labels may be.

use nix::errno::Errno;
use protocol::{Error, Result};

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
