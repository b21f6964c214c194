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
        let pages = codegen::emit::reference(&crate::model()?);
        let stale = stale(&pages)?;
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
        for path in &stale {
            let page = pages.iter().find(|(page, _)| folder().join(page) == *path);
            match page {
                None => std::fs::remove_file(path),
                Some((_, text)) => path
                    .parent()
                    .map_or(Ok(()), std::fs::create_dir_all)
                    .and_then(|()| std::fs::write(path, text)),
            }
            .with_context(|| path.display().to_string())?;
        }
        println!("{} pages, {} changed", pages.len(), stale.len());
        Ok(())
    }
}

fn folder() -> PathBuf {
    crate::repository().join("docs/reference")
}

/// The files that are not what they should be, or should not be there.
fn stale(pages: &[(PathBuf, String)]) -> Result<Vec<PathBuf>> {
    let folder = folder();
    let mut stale = Vec::new();
    for (page, text) in pages {
        let path = folder.join(page);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(text) {
            stale.push(path);
        }
    }
    let is_page = |path: &PathBuf| pages.iter().any(|(page, _)| folder.join(page) == *path);
    stale.extend(existing(&folder)?.into_iter().filter(|path| !is_page(path)));
    Ok(stale)
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
            } else {
                pages.push(path);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_is_current() {
        let pages = codegen::emit::reference(&crate::model().expect("the IDL is right"));
        let stale = super::stale(&pages).expect("the reference can be read");
        assert!(
            stale.is_empty(),
            "run 'cargo xtask docs' and commit: {stale:?}"
        );
    }
}
