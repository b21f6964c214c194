//! Comparing two files.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use protocol::{Context, GuestPath, Result};

use super::buffer;
use crate::reading::{fill_at, next_data};

/// A file, and what to call it in errors.
pub(super) struct Named<'f> {
    pub(super) file: &'f File,
    pub(super) path: &'f GuestPath,
}

/// Whether two regular files have the same content. What is a hole in both is
/// not read.
pub(super) fn same_content(first: &Named<'_>, second: &Named<'_>) -> Result<bool> {
    let a = first.file.metadata().context(first.path)?;
    let b = second.file.metadata().context(second.path)?;
    if (a.dev(), a.ino()) == (b.dev(), b.ino()) {
        return Ok(true);
    }
    if a.len() != b.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (buffer(), buffer());
    let mut position = 0;
    loop {
        let here = next_data(first.file, position).context(first.path)?;
        let there = next_data(second.file, position).context(second.path)?;
        let Some(data) = here.into_iter().chain(there).min() else {
            return Ok(true);
        };
        let left = fill_at(first.file, &mut left, data).context(first.path)?;
        let right = fill_at(second.file, &mut right, data).context(second.path)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
        position = data + left.len() as u64;
    }
}
