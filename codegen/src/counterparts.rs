//! The one mapping: what each IDL file with handlers has elsewhere in the repository.
//!
//! `idl/A/x.idl` <-> `daemon/src/A/x.rs` <-> `tests/differential/A/x*.gfs`
//!
//! What is in `idl/worker` has no scripts: no client can call it.

use std::path::{Path, PathBuf};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{Model, Module};

/// Folders of the repository that the check looks at.
pub(crate) const FOLDERS: [&str; 2] = ["daemon/src", "tests/differential"];

/// Checks that the modules with handlers in the repository at `root` have their
/// counterparts, and that every differential test belongs to a module.
///
/// # Errors
///
/// All that is missing.
pub(crate) fn check(root: &Path, model: &Model) -> Result<(), Diagnostics> {
    let mut wrong = Diagnostics::default();
    for module in &model.modules {
        if let Some(action) = module.actions.iter().find(|action| !action.pending) {
            module_has_all(root, module, &action.name, &mut wrong);
        }
    }
    for module in &model.workers {
        let handlers = format!("{}/{}/{}.rs", FOLDERS[0], module.area, module.name);
        if !root.join(&handlers).is_file() {
            wrong.push(
                Diagnostic::general(format!(
                    "idl/{}/{}.idl has no {handlers}",
                    module.area, module.name
                ))
                .hint("create it; it is what runs in the worker"),
            );
        }
    }
    for script in all_scripts(&root.join(FOLDERS[1])) {
        let area = script
            .parent()
            .and_then(Path::file_name)
            .and_then(|area| area.to_str())
            .unwrap_or_default();
        let belongs = model
            .modules
            .iter()
            .any(|module| module.area == area && is_script_of(&script, &module.name));
        if !belongs {
            wrong.push(
                Diagnostic::general(format!("{} belongs to no module", shown(root, &script))).hint(
                    format!(
                        "name it after an IDL file of its area: {}/{area}/MODULE-*.gfs",
                        FOLDERS[1]
                    ),
                ),
            );
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn module_has_all(root: &Path, module: &Module, action: &str, wrong: &mut Diagnostics) {
    let Module { area, name, .. } = module;
    let idl = format!("idl/{area}/{name}.idl");
    let handlers = format!("{}/{area}/{name}.rs", FOLDERS[0]);
    let folder_module = root.join(format!("{}/{area}/{name}/mod.rs", FOLDERS[0]));
    if !root.join(&handlers).is_file() && !folder_module.is_file() {
        wrong.push(
            Diagnostic::general(format!(
                "{idl} has actions that are not pending, but there is no {handlers}"
            ))
            .hint(format!(
                "create {handlers}; 'cargo xtask stub {action}' prints what goes into it"
            )),
        );
    }
    let folder = format!("{}/{area}", FOLDERS[1]);
    if !scripts(&root.join(&folder))
        .iter()
        .any(|script| is_script_of(script, name))
    {
        wrong.push(
            Diagnostic::general(format!("{idl} has actions that are not pending, but there is no {folder}/{name}*.gfs"))
                .hint(format!(
                    "create {folder}/{name}.gfs, a guestfish script that calls them; \
                     'cargo xtask test differential --record' records what the stock daemon says to it"
                )),
        );
    }
}

/// `x.gfs` and `x-anything.gfs` are scripts of module `x`.
fn is_script_of(script: &Path, module: &str) -> bool {
    let rest = script
        .file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.strip_prefix(module));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The scripts in a folder, which need not exist.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    entries(folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "gfs"))
        .collect()
}

fn all_scripts(folder: &Path) -> Vec<PathBuf> {
    entries(folder)
        .iter()
        .flat_map(|area| scripts(area))
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::check;
    use crate::diagnostics::Source;
    use crate::{Input, load_inputs};

    fn model(clauses: &str) -> crate::model::Model {
        let text = format!("//! X.\n\n/// Do.\naction x_do @1 () {{ since 1.0; {clauses} }}\n");
        let source = Source {
            path: PathBuf::from("x.idl"),
            text,
        };
        load_inputs(vec![Input {
            area: "block".to_owned(),
            name: "x".to_owned(),
            source,
        }])
        .expect("the IDL is right")
    }

    #[test]
    fn missing_files_are_named() {
        let root = tempfile::tempdir().expect("a scratch folder");
        let text = check(root.path(), &model(""))
            .expect_err("all is missing")
            .to_string();
        assert!(text.contains("there is no daemon/src/block/x.rs"), "{text}");
        assert!(text.contains("cargo xtask stub x_do"), "{text}");
        assert!(
            text.contains("there is no tests/differential/block/x*.gfs"),
            "{text}"
        );
        assert!(check(root.path(), &model("pending;")).is_ok());
    }

    #[test]
    fn present_files_are_found() {
        let root = tempfile::tempdir().expect("a scratch folder");
        for file in [
            "daemon/src/block/x.rs",
            "tests/differential/block/x-some.gfs",
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
            fs::write(path, "").expect("a file can be written");
        }
        assert!(check(root.path(), &model("")).is_ok());

        // `xy` is another module, and there is none of that name.
        fs::write(root.path().join("tests/differential/block/xy.gfs"), "")
            .expect("a file can be written");
        let text = check(root.path(), &model(""))
            .expect_err("one is too many")
            .to_string();
        assert!(
            text.contains("tests/differential/block/xy.gfs belongs to no module"),
            "{text}"
        );
    }
}
