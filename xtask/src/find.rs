//! Modules and actions by the names that people give them.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};
use codegen::model::{Action, Model, Module};

/// The module called `name` or `AREA/name`.
pub(crate) fn module<'a>(model: &'a Model, name: &str) -> Result<&'a Module> {
    let name = name.trim_end_matches(".idl").trim_start_matches("idl/");
    let mut modules = model.modules.iter().chain(&model.workers);
    modules
        .find(|module| module.name == name || format!("{}/{}", module.area, module.name) == name)
        .with_context(|| format!("no module '{name}'; 'cargo xtask status' lists them"))
}

/// The action called `name`, and its module.
pub(crate) fn action<'a>(model: &'a Model, name: &str) -> Result<(&'a Module, &'a Action)> {
    let name = name.replace('-', "_");
    model
        .modules
        .iter()
        .flat_map(|module| module.actions.iter().map(move |action| (module, action)))
        .find(|(_, action)| action.name == name)
        .with_context(|| format!("no action '{name}'; 'cargo xtask status' lists the modules"))
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output")
        }
        _ => Ok(()),
    }
}
