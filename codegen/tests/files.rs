//! Tests as files: IDL, and what it must turn into.
//!
//! `accept/X.idl` must give the model in `X.model` and, where they exist, the
//! Rust in `X.rs` and the page in `X.md`; `reject/X.idl` the diagnostics in
//! `X.err`. `reject/X/` is a whole IDL directory. `UPDATE=1 cargo test -p
//! codegen` rewrites what is expected.

use std::path::{Path, PathBuf};

use codegen::diagnostics::{Diagnostics, Source};
use codegen::model::Model;
use codegen::{Input, emit};

/// Files and folders of `codegen/tests/KIND` that are cases, by name.
fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(kind);
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder of cases can be read")
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| {
            path.is_dir() || path.extension().is_some_and(|extension| extension == "idl")
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    cases
}

/// What is loaded is named without the folders that differ from one machine to the next.
fn load(case: &Path) -> Result<Model, Diagnostics> {
    if case.is_dir() {
        return codegen::load(case);
    }
    let name = case
        .file_stem()
        .and_then(|stem| stem.to_str())
        .expect("a case has a name")
        .to_owned();
    let path = PathBuf::from(format!("{name}.idl"));
    let text = std::fs::read_to_string(case).expect("a case can be read");
    codegen::load_inputs(vec![Input {
        area: "test".to_owned(),
        name,
        source: Source { path, text },
    }])
}

/// The paths of a whole directory begin with where the checkout is.
fn unplaced(case: &Path, text: &str) -> String {
    text.replace(&format!("{}/", case.display()), "")
}

/// Compares with the file beside the case; true if it is as expected.
fn expect(case: &Path, extension: &str, text: &str) -> bool {
    let path = case.with_extension(extension);
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("what is expected can be written");
        return true;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != text {
        eprintln!(
            "--- {} says\n{expected}--- but it is\n{text}",
            path.display()
        );
    }
    expected == text
}

#[test]
fn accepted() {
    let mut good = true;
    for case in cases("accept") {
        let model = match load(&case) {
            Ok(model) => model,
            Err(wrong) => panic!("{} is refused:\n{wrong}", case.display()),
        };
        let text = unplaced(&case, &format!("{model:#?}"));
        good &= expect(&case, "model", &text);
        let mut modules = model.modules.iter().chain(&model.workers);
        let module = modules.next().expect("a case has a module");
        if case.with_extension("rs").exists() {
            good &= expect(
                &case,
                "rs",
                &emit::module_text(&model, module).expect("the module can be emitted"),
            );
        }
        if case.with_extension("md").exists() {
            let pages = emit::reference(&model);
            let (_, page) = pages.last().expect("a module has a page");
            good &= expect(&case, "md", page);
        }
    }
    assert!(
        good,
        "UPDATE=1 cargo test -p codegen accepts what there is now"
    );
}

#[test]
fn rejected() {
    let mut good = true;
    for case in cases("reject") {
        let Err(wrong) = load(&case) else {
            panic!("{} is accepted", case.display())
        };
        let text = unplaced(&case, &wrong.to_string());
        good &= expect(&case, "err", &text);
    }
    assert!(
        good,
        "UPDATE=1 cargo test -p codegen accepts what there is now"
    );
}
