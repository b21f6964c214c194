//! `cargo xtask expand`: the Rust that the IDL turns into.

use anyhow::Result;

/// Show the generated Rust of a module.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The module's name, with or without its area: `mount`, `filesystem/mount`.
    module: String,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let model = crate::model()?;
        let module = crate::find::module(&model, &self.module)?;
        crate::find::print(&codegen::emit::module_text(&model, module)?)
    }
}
