//! `cargo xtask stub`: where a handler begins.

use std::path::Path;

use anyhow::Result;

/// Print a skeleton of an action's handler, with the right signature.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The action, with `-` or `_` between its words.
    action: String,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let model = crate::model()?;
        let (module, action) = crate::find::action(&model, &self.action)?;
        let path = format!("daemon/src/{}/{}.rs", module.area, module.name);
        let begun = is_begun(&crate::repository().join(&path));
        if action.pending {
            eprintln!(
                "remove 'pending;' from {} in idl/{}/{}.idl",
                action.name, module.area, module.name
            );
        }
        eprintln!(
            "{} {path}:",
            if begun {
                "add to the impl in"
            } else {
                "create"
            }
        );
        crate::find::print(&codegen::emit::skeleton(module, action, !begun)?)
    }
}

/// Whether there is something in a file. It is empty when the shell has just made it for us to
/// write into.
fn is_begun(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|file| file.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::is_begun;

    #[test]
    fn a_file_that_the_shell_has_made_is_not_begun() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_begun(file.path()));
        assert!(!is_begun(&file.path().join("none")));
        std::fs::write(file.path(), "//! Text.\n").unwrap();
        assert!(is_begun(file.path()));
    }
}
