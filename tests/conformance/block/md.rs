//! Arrays: what can be told without the kernel's.

use conformance::{Direct, DiskSpec};

#[test]
fn a_name_is_no_option() {
    let mut direct = Direct::start(&[DiskSpec::Blank(1 << 20), DiskSpec::Blank(1 << 20)]);
    for name in ["", "-x", "--assume-clean"] {
        let made = direct.md_create(name, &["/dev/sda", "/dev/sdb"], &Default::default());
        let error = made.expect_err(name);
        assert_eq!(error.errno(), "EINVAL", "{error}");
        let message = format!("'{name}' is not the name");
        assert!(error.to_string().contains(&message), "{error}");
    }
    assert!(direct.is_zero_device("/dev/sda").expect("is_zero_device"));
}
