//! Kinds of disks, volumes and filesystems, and what is built of several.

use conformance::support::boot;

#[test]
fn arrays_and_logical_volumes_work() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "volumes.py");
}

#[test]
fn every_filesystem_is_made_probed_checked_and_resized() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "filesystems.py");
}

#[test]
fn thirty_disks_have_their_names_and_tables() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "disks.py");
}
