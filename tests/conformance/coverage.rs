//! Every action that has a handler is called by some test.

mod appliance;
mod calls;

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_action_with_a_handler_is_called_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = codegen::load(&root.join("../idl")).expect("IDL");
    let mut called = BTreeSet::new();
    calls::python(&root.join("appliance"), &mut called);
    for lane in ["appliance", "conformance", "security"] {
        calls::rust(&root.join(lane), &mut called);
    }
    calls::scripts(&root.join("differential"), |_| true, &mut called);
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
