//! The Python binding, which shows what guestfish hides: events, cancelling,
//! errno.

use std::path::Path;
use std::process::Command;

use conformance::support::boot;

#[test]
fn the_python_binding_does_its_work() {
    let directory = tempfile::tempdir().expect("tempdir");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("appliance/session.py");
    let output = boot::run(directory.path(), || {
        // The distribution's, for which the binding is built.
        let mut command = Command::new("/usr/bin/python3");
        command.arg("-u").arg(&script).env("LC_ALL", "C");
        command
    });
    assert!(output.success, "{}", output.text);
    assert!(output.text.ends_with("DONE\n"), "{}", output.text);
}
