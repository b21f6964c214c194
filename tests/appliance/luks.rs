//! Encrypted devices, which need device-mapper.

use conformance::support::boot;

#[test]
fn encrypted_devices_work_and_their_keys_are_seen_nowhere() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "luks.py");
}
