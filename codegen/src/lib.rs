//! The code generator: IDL text in, Rust and its companions out.
//!
//! The stages are files of their own: `idl.pest` (shapes) -> [`parse`] ->
//! [`ast`] (with spans) -> `check` -> [`model`] (resolved) -> [`emit`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod ast;
mod check;
mod clauses;
mod counterparts;
pub mod diagnostics;
pub mod emit;
pub mod lock;
mod lower;
pub mod model;
pub mod parse;
mod suggest;
mod types;
pub mod wire;

use anyhow::{Context as _, anyhow};
use diagnostics::{Diagnostic, Diagnostics, Source};
use model::Model;

/// The folder below `idl/` with the calls between the daemon and its workers.
pub const WORKER_AREA: &str = "worker";

/// Reads, parses, checks and resolves every `AREA/MODULE.idl` below `idl`.
///
/// # Errors
///
/// Everything that is wrong, in all files.
pub fn load(idl: &Path) -> Result<Model, Diagnostics> {
    load_locked(idl).map(|(model, _)| model)
}

/// Does what [`load`] does; also returns the lines that `wire.lock` lacks.
///
/// # Errors
///
/// Everything that is wrong, in all files.
pub fn load_locked(idl: &Path) -> Result<(Model, Vec<String>), Diagnostics> {
    let mut wrong = Diagnostics::default();
    let mut sources = Vec::new();
    for (area, name, path) in idl_files(idl, &mut wrong) {
        match std::fs::read_to_string(&path) {
            Ok(text) => sources.push(Input {
                area,
                name,
                source: Source { path, text },
            }),
            Err(error) => wrong.push(Diagnostic::general(format!("{}: {error}", path.display()))),
        }
    }
    let path = idl.join(lock::FILE);
    let lock = match std::fs::read_to_string(&path) {
        Ok(text) => Some(Source { path, text }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Source {
            path,
            text: String::new(),
        }),
        Err(error) => {
            wrong.push(Diagnostic::general(format!("{}: {error}", path.display())));
            None
        }
    };
    resolve(sources, lock, wrong)
}

/// One IDL file.
#[derive(Debug)]
pub struct Input {
    /// The folder it is in.
    pub area: String,
    /// Its name without `.idl`.
    pub name: String,
    /// Its text.
    pub source: Source,
}

/// Parses, checks and resolves files that need not exist, without a lock.
///
/// # Errors
///
/// Everything that is wrong, in all files.
pub fn load_inputs(inputs: Vec<Input>) -> Result<Model, Diagnostics> {
    resolve(inputs, None, Diagnostics::default()).map(|(model, _)| model)
}

/// Parses, checks and resolves files.
fn resolve(
    inputs: Vec<Input>,
    lock: Option<Source>,
    mut wrong: Diagnostics,
) -> Result<(Model, Vec<String>), Diagnostics> {
    let mut files = Vec::new();
    for Input { area, name, source } in inputs {
        match parse::parse(&area, &name, &Arc::new(source)) {
            Ok(file) => files.push(file),
            Err(error) => wrong.push(error),
        }
    }
    let all_parsed = wrong.is_empty();
    let (workers, files): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.area == WORKER_AREA);
    check::check(&files, all_parsed, &mut wrong);
    for file in &workers {
        check::check_worker(file, &mut wrong);
    }
    if wrong.is_empty() {
        let model = lower::lower(&files, &workers);
        let added = lock
            .map(|lock| lock::check(&model, &files, lock, &mut wrong))
            .unwrap_or_default();
        if wrong.is_empty() {
            return Ok((model, added));
        }
    }
    wrong.sort();
    Err(wrong)
}

/// Area, module name and path of every IDL file, ordered by area and then by name.
fn idl_files(idl: &Path, wrong: &mut Diagnostics) -> Vec<(String, String, PathBuf)> {
    let mut list = |directory: &Path| -> Vec<PathBuf> {
        let read = std::fs::read_dir(directory).and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        });
        read.unwrap_or_else(|error| {
            wrong.push(Diagnostic::general(format!(
                "{}: {error}",
                directory.display()
            )));
            Vec::new()
        })
    };
    let areas = list(idl)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect::<Vec<_>>();
    let mut files: Vec<_> = areas
        .iter()
        .flat_map(|area| list(area))
        .filter(|path| path.extension().is_some_and(|extension| extension == "idl"))
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?.to_owned();
            let area = path.parent()?.file_name()?.to_str()?.to_owned();
            Some((area, name, path))
        })
        .collect();
    files.sort();
    files
}

/// Compiles the IDL directory `idl` into `out`.
///
/// # Errors
///
/// All diagnostics of the IDL at once, or a file that could not be read or written.
pub fn compile(idl: &Path, out: &Path) -> anyhow::Result<()> {
    // Cargo looks at everything below a directory.
    println!("cargo::rerun-if-changed={}", idl.display());
    let (model, added) = load_locked(idl)?;
    println!("cargo::rerun-if-env-changed=CI");
    let appended = if std::env::var_os("CI").is_none() {
        lock::append(idl, &added).map_err(anyhow::Error::from)
    } else if added.is_empty() {
        Ok(())
    } else {
        Err(anyhow!("a build in CI changes no source"))
    };
    appended.with_context(|| {
        let (path, lines) = (idl.join(lock::FILE), added.join("\n"));
        format!(
            "{} lacks these lines; run 'cargo xtask lock' and commit it:\n{lines}\n",
            path.display()
        )
    })?;
    emit::rust(&model, out)
}

/// Checks that the repository at `root` has, for each IDL file with handlers,
/// the files that belong to it.
///
/// # Errors
///
/// All diagnostics of the IDL, or all files that are missing.
pub fn check_repository(root: &Path) -> anyhow::Result<()> {
    let idl = root.join("idl");
    println!("cargo::rerun-if-changed={}", idl.display());
    for folder in counterparts::FOLDERS {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
    }
    counterparts::check(root, &load(&idl)?)?;
    Ok(())
}

/// Compiles the IDL directory `idl` into what the wire tests and the security
/// tests include.
///
/// # Errors
///
/// As for [`compile`].
pub fn compile_cases(idl: &Path, out: &Path) -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed={}", idl.display());
    let model = load(idl)?;
    for (name, text) in [
        ("cases.rs", emit::cases(&model)?),
        ("escapes.rs", emit::escapes(&model)?),
    ] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
