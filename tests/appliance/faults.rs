//! Devices that fail, fill up or may not be written to.

use conformance::support::boot;

#[test]
fn failing_devices_are_named_and_nothing_is_left() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "faults.py");
}
