//! `cargo xtask docs`: the API reference in `docs/reference`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Write docs/reference from the IDL.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a page is not what the IDL says.
    #[arg(long)]
    check: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let folder = crate::repository().join("docs/reference");
        let pages = codegen::emit::reference(&crate::model()?);
        let mut stale: Vec<PathBuf> = Vec::new();
        for (path, text) in &pages {
            let path = folder.join(path);
            if std::fs::read_to_string(&path).is_ok_and(|old| old == *text) {
                continue;
            }
            if !self.check {
                let parent = path.parent().unwrap_or(&folder);
                std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
                std::fs::write(&path, text).with_context(|| path.display().to_string())?;
            }
            stale.push(path);
        }
        for path in existing(&folder)? {
            if pages.iter().any(|(page, _)| folder.join(page) == path) {
                continue;
            }
            if !self.check {
                std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
            stale.push(path);
        }
        if self.check && !stale.is_empty() {
            let names: Vec<String> = stale
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            bail!(
                "not current; run 'cargo xtask docs' and commit:\n{}",
                names.join("\n")
            );
        }
        println!("{} pages, {} changed", pages.len(), stale.len());
        Ok(())
    }
}

/// The pages that are there.
fn existing(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry.with_context(|| folder.display().to_string())?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}
