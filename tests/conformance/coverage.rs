//! Every action that has a handler is called by some test.

mod appliance;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The words in all files below the directory with one of these extensions.
fn words(directory: &Path, extensions: &[&str], words_in: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            words(&path, extensions, words_in);
        } else if path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| extensions.contains(&extension))
        {
            let text = fs::read_to_string(&path).expect("text");
            // A comment calls nothing.
            let lines = text
                .lines()
                .filter(|line| !line.trim_start().starts_with(['#', '/']));
            for line in lines {
                let separators = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
                for word in line.split(separators) {
                    words_in.insert(word.trim_start_matches('-').replace('-', "_"));
                }
            }
        }
    }
}

#[test]
fn every_action_with_a_handler_is_called_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = codegen::load(&root.join("../idl")).expect("IDL");
    let mut called = BTreeSet::new();
    for lane in ["conformance", "security", "appliance", "differential"] {
        words(&root.join(lane), &["gfs", "rs", "py"], &mut called);
    }
    // The library serves some of its functions by calls of the same name.
    let behind = |name: &str| {
        name.strip_prefix("internal_")
            .is_some_and(|function| called.contains(function))
    };
    let missing: Vec<String> = model
        .modules
        .iter()
        .flat_map(|module| module.actions.iter().map(move |action| (module, action)))
        .filter(|(_, action)| !action.pending && !called.contains(&action.name))
        .filter(|(_, action)| !behind(&action.name))
        .map(|(module, action)| format!("{}/{}: {}", module.area, module.name, action.name))
        .collect();
    assert!(missing.is_empty(), "no test calls:\n{}", missing.join("\n"));
}
