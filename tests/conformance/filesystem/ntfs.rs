use conformance::{Direct, DiskSpec};
use protocol::api::{MkfsOptions, NtfsChmodOptions};

#[test]
fn modes_reach_the_filesystem() {
    let mut direct = Direct::start(&[DiskSpec::Blank(64 << 20)]);
    direct
        .mkfs("ntfs", "/dev/sda", &MkfsOptions::default())
        .expect("mkfs");
    let mut chmod =
        |mode, path: &str| direct.ntfs_chmod("/dev/sda", mode, path, &NtfsChmodOptions::default());
    chmod(0o750, "/").expect("the top directory");
    chmod(0o644, "/nothing").expect_err("no such file");
    for (mode, path) in [
        (0o644, "relative"),
        (0o644, "-r"),
        (-1, "/"),
        (0o10000, "/"),
    ] {
        let error = chmod(mode, path).expect_err(path);
        assert_eq!(error.errno(), "EINVAL", "{error}");
    }
    let shown = direct
        .debug("sh", &["ntfssecaudit -v /dev/sda /"])
        .expect("audit");
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("0750"), "{shown}");
}
