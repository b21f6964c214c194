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

#[test]
fn btrfs_is_divided_balanced_scrubbed_and_rescued() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "btrfs.py");
}

#[test]
fn ext_xfs_and_ntfs_do_what_no_other_filesystem_does() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "ext_xfs_ntfs.py");
}

#[test]
fn devices_are_divided_and_wiped_with_sectors_of_both_sizes() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "partitions.py");
}

#[test]
fn all_ways_to_mount_work_below_many_layers() {
    let directory = tempfile::tempdir().expect("tempdir");
    boot::python(directory.path(), "mounts.py");
}
