//! `cargo xtask lock`: brings `idl/wire.lock` up to date with new actions and structures.

use anyhow::{Context, bail};
use codegen::lock;

/// Append new actions and structures to idl/wire.lock, as a build does too.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a line is missing.
    #[arg(long)]
    check: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let idl = crate::repository().join("idl");
        let (_, added) = codegen::load_locked(&idl)?;
        for line in &added {
            println!("{line}");
        }
        if self.check && !added.is_empty() {
            bail!(
                "idl/{} lacks {} lines; run 'cargo xtask lock' and commit it",
                lock::FILE,
                added.len()
            );
        }
        lock::append(&idl, &added).context(lock::FILE)
    }
}
