//! A directory tree to copy in and out: making an archive of it, and comparing.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;

/// Packing and unpacking a few megabytes is over in a second.
const LIMIT: Duration = Duration::from_secs(120);

/// What must survive the way into a guest and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    mode: u32,
    modified: i64,
    size: u64,
    target: Option<PathBuf>,
}

/// Packs the parts of a directory.
pub(crate) fn pack(directory: &Path, parts: &[&str], archive: &Path) -> Result<()> {
    process::run(
        Command::new("tar")
            .arg("--directory")
            .arg(directory)
            .args(["--create", "--file"])
            .arg(archive)
            .args(parts),
        LIMIT,
    )?;
    Ok(())
}

/// Unpacks an archive into a new directory.
pub(crate) fn unpack(archive: &Path, directory: &Path) -> Result<()> {
    std::fs::create_dir(directory)?;
    process::run(
        Command::new("tar")
            .arg("--directory")
            .arg(directory)
            .args(["--extract", "--preserve-permissions", "--file"])
            .arg(archive),
        LIMIT,
    )?;
    Ok(())
}

/// Every file, directory and link below a directory.
pub(crate) fn nodes(directory: &Path) -> Result<BTreeMap<PathBuf, Node>> {
    let mut nodes = BTreeMap::new();
    collect(directory, directory, &mut nodes)?;
    Ok(nodes)
}

fn collect(top: &Path, directory: &Path, nodes: &mut BTreeMap<PathBuf, Node>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = std::fs::symlink_metadata(&path)?;
        let name = path.strip_prefix(top)?.to_owned();
        let directory = metadata.is_dir();
        nodes.insert(
            name,
            Node {
                mode: metadata.mode(),
                modified: metadata.mtime(),
                size: if directory { 0 } else { metadata.len() },
                target: metadata
                    .is_symlink()
                    .then(|| std::fs::read_link(&path))
                    .transpose()?,
            },
        );
        if directory {
            collect(top, &path, nodes)?;
        }
    }
    Ok(())
}

/// Fails with the first difference between two trees.
pub(crate) fn same(
    before: &BTreeMap<PathBuf, Node>,
    after: &BTreeMap<PathBuf, Node>,
) -> Result<()> {
    for (name, node) in before {
        match after.get(name) {
            Some(found) if found == node => {}
            Some(found) => bail!("{} came back as {found:?}, was {node:?}", name.display()),
            None => bail!("{} did not come back", name.display()),
        }
    }
    match after.keys().find(|name| !before.contains_key(*name)) {
        Some(name) => bail!("{} came back, but never went in", name.display()),
        None => Ok(()),
    }
}

/// SHA-256 of every file, by the host's own program, in its format, sorted.
pub(crate) fn checksums(directory: &Path) -> Result<Vec<String>> {
    let finished = process::run(
        Command::new("find").current_dir(directory).args([
            ".",
            "-type",
            "f",
            "-exec",
            "sha256sum",
            "--",
            "{}",
            "+",
        ]),
        LIMIT,
    )
    .context("cannot checksum the originals")?;
    Ok(sorted(&finished.text()))
}

/// The lines of a list of checksums, sorted.
pub(crate) fn sorted(list: &str) -> Vec<String> {
    let mut lines: Vec<String> = list.lines().map(String::from).collect();
    lines.sort();
    lines
}
