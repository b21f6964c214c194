//! Every action on block devices and filesystems is called in a real appliance.

use std::collections::BTreeSet;
use std::path::Path;

use super::calls::{python, rust, scripts};

/// What disks and filesystems of a real machine are needed for.
const AREAS: [&str; 2] = ["block", "filesystem"];

/// Actions that no test of the appliance lane calls, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// What the appliance lane calls.
fn called() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut called = BTreeSet::new();
    python(&root.join("appliance"), &mut called);
    rust(&root.join("appliance"), &mut called);
    scripts(
        &root.join("differential"),
        |script| script.lines().any(|line| line == "#: lane appliance"),
        &mut called,
    );
    called
}

#[test]
fn every_action_on_disks_and_filesystems_is_called_in_an_appliance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = codegen::load(&root.join("../idl")).expect("IDL");
    let called = called();
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for module in &model.modules {
        if !AREAS.contains(&module.area.as_str()) {
            continue;
        }
        for action in module.actions.iter().filter(|action| !action.pending) {
            let name = action.name.as_str();
            known.insert(name);
            let excepted = EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
            match (called.contains(name), excepted) {
                (false, false) => wrong.push(format!("{name} is not called")),
                (true, true) => wrong.push(format!("{name} is called, and an exception")),
                _ => {}
            }
        }
    }
    for (name, reason) in EXCEPTIONS {
        if !known.contains(name) || reason.is_empty() {
            wrong.push(format!("the exception {name} has no handler or no reason"));
        }
    }
    assert!(known.len() > 150, "the IDL has {} of them", known.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
