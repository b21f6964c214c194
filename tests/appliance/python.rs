//! The Python binding, which shows what guestfish hides: events, cancelling,
//! errno.

use conformance::support::boot;

#[test]
fn the_python_binding_does_its_work() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "session.py");
}
