//! Having cargo build what other verbs run.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{process, repository};

/// A machine may have to compile everything first.
const LIMIT: Duration = Duration::from_secs(1800);

/// cargo, in the repository.
pub(crate) fn command() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(repository());
    command
}

/// Cargo's directory for what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// Builds a program, and says where it is.
pub(crate) fn build(arguments: &[&str], program: &str) -> Result<PathBuf> {
    let mut cargo = command();
    process::run(cargo.args(["build", "--quiet"]).args(arguments), LIMIT)
        .with_context(|| format!("{program} does not build"))?;
    Ok(target().join(program))
}
