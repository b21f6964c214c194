//! `cargo xtask stub`: where a handler begins.

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
        let exists = crate::repository().join(&path).exists();
        if action.pending {
            eprintln!(
                "remove 'pending;' from {} in idl/{}/{}.idl",
                action.name, module.area, module.name
            );
        }
        eprintln!(
            "{} {path}:",
            if exists {
                "add to the impl in"
            } else {
                "create"
            }
        );
        crate::find::print(&codegen::emit::skeleton(module, action, !exists)?)
    }
}
