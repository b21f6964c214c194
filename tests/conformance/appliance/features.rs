use std::fs;

use conformance::Direct;
use protocol::api::Feature;

#[test]
fn the_kernel_is_this_one() {
    let mut direct = Direct::start(&[]);
    let uts = direct.utsname().expect("utsname");
    let kernel = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).expect("kernel");
        text.trim_end().as_bytes().to_vec()
    };
    assert_eq!(uts.uts_sysname, kernel("ostype"));
    assert_eq!(uts.uts_release, kernel("osrelease"));
    assert_eq!(uts.uts_version, kernel("version"));
    assert_eq!(uts.uts_machine, std::env::consts::ARCH.as_bytes());
}

#[test]
fn features_are_listed_and_known() {
    let mut direct = Direct::start(&[]);
    let groups = direct.available_all_groups().expect("groups");
    assert!(groups.is_sorted());
    for name in ["btrfs", "linuxmodules", "ntfs3g", "xfs"] {
        assert!(groups.contains(&name.as_bytes().to_vec()), "{name}");
    }
    for group in groups {
        let answer = direct.internal_feature_available(&group).expect("answer");
        assert!(matches!(answer, 0 | 1), "{group:?}: {answer}");
    }
    for unknown in ["nosuchgroup", "", "XFS"] {
        let answer = direct.internal_feature_available(unknown).expect("answer");
        assert_eq!(answer, 2, "{unknown}");
    }
}

#[test]
fn half_a_feature_is_none() {
    let mut direct = Direct::start(&[]);
    for feature in Feature::ALL {
        let info = feature.info();
        let answer = direct.internal_feature_available(info.name);
        if info.pending {
            assert_eq!(answer.expect(info.name), 1, "{}", info.name);
        }
    }
    // Its probe holds everywhere, and all its actions have handlers.
    assert_eq!(
        direct.internal_feature_available("mknod").expect("mknod"),
        0
    );
}

#[test]
fn loading_modules_is_there_where_the_kernel_has_them() {
    let mut direct = Direct::start(&[]);
    let available = direct
        .internal_feature_available("linuxmodules")
        .expect("answer");
    let error = direct.modprobe("no-such-module").expect_err("modprobe");
    if available == 0 {
        assert!(error.to_string().contains("no-such-module"), "{error}");
    } else {
        assert_eq!(error.errno(), "ENOTSUP", "{error}");
    }
}

#[test]
fn filesystems_are_those_of_the_kernel() {
    let mut direct = Direct::start(&[]);
    let list = fs::read_to_string("/proc/filesystems").expect("filesystems");
    for line in list.lines().filter(|line| !line.starts_with("nodev")) {
        let name = line.trim();
        assert!(direct.filesystem_available(name).expect(name), "{name}");
    }
    for name in ["nosuchfs", "", "ext"] {
        assert!(
            !direct.filesystem_available(name).expect("answer"),
            "{name}"
        );
    }
    for name in ["ext4;id", "../ext4", "-v", "a b"] {
        let error = direct.filesystem_available(name).expect_err(name);
        assert_eq!(error.errno(), "EINVAL");
    }
}
