//! Windows dynamic disks, whose volumes are devices of device-mapper.

use conformance::support::boot;
use conformance::support::ldm::{self, EXAMPLE_SECTORS};

#[test]
fn the_volumes_of_dynamic_disks_are_used() {
    let directory = tempfile::tempdir().expect("tempdir");
    let group = ldm::example();
    for index in 0..group.disks.len() {
        let path = directory.path().join(format!("ldm{index}"));
        group.write(index, EXAMPLE_SECTORS, &path);
    }
    boot::python(directory.path(), "dynamic.py");
}
