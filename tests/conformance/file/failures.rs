//! Calls that fail leave no process and no open file behind.

use conformance::Direct;
use protocol::api::{CompressOutOptions, MksquashfsOptions, TarInOptions, TarOutOptions};

use crate::streams::noise;
use crate::traces::Traces;

#[test]
fn calls_that_fail_leave_nothing_behind() {
    let mut direct = Direct::mounted();
    direct.mkdir("/d").expect("mkdir");
    direct.internal_write("/f", b"text\n").expect("write");
    let mut gz = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec();
    gz.extend(noise(1000));
    direct.internal_write("/bad.gz", &gz).expect("write");
    let gzip = TarInOptions {
        compress: Some("gzip"),
        ..TarInOptions::default()
    };
    let xz = TarOutOptions {
        compress: Some("xz"),
        ..TarOutOptions::default()
    };
    let level = CompressOutOptions { level: Some(99) };
    let squash = MksquashfsOptions {
        compress: Some("nonsense"),
        ..MksquashfsOptions::default()
    };
    let before = Traces::of(&direct);
    for _ in 0..20 {
        let mut out = Vec::new();
        assert!(direct.grep("[", "/f", &Default::default()).is_err());
        assert!(direct.zgrep("x", "/d").is_err());
        assert!(direct.initrd_list("/bad.gz").is_err());
        assert!(direct.initrd_cat("/bad.gz", "x").is_err());
        assert!(direct.tar_in(&mut gz.as_slice(), "/d", &gzip).is_err());
        assert!(direct.tar_in(&mut &b"text"[..], "/d", &gzip).is_err());
        assert!(
            direct
                .tar_in(&mut gz.as_slice(), "/d", &Default::default())
                .is_err()
        );
        assert!(direct.tar_out("/f", &mut out, &xz).is_err());
        assert!(direct.compress_out("gzip", "/f", &mut out, &level).is_err());
        assert!(direct.mksquashfs("/d", &mut out, &squash).is_err());
        assert!(
            direct
                .cpio_out("/f", &mut out, &Default::default())
                .is_err()
        );
        assert!(direct.checksums_out("md5", "/f", &mut out).is_err());
        assert!(direct.find0("/f", &mut out).is_err());
        assert!(direct.cp_a("/d", "/d/e").is_err());
        assert!(
            direct
                .copy_file_to_file("/f", "/f", &Default::default())
                .is_err()
        );
        assert!(direct.equal("/f", "/d").is_err());
    }
    assert_eq!(Traces::of(&direct), before);
}
