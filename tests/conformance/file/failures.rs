//! What calls that fail say, and that they leave no process and no open file behind.

use conformance::{Direct, DiskSpec};
use protocol::api::{
    CompressOutOptions, MksquashfsOptions, MktempOptions, RsyncInOptions, TarInOptions,
    TarOutOptions,
};
use protocol::client::ClientError;
use testkit::Remote;

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

#[test]
fn errors_speak_of_what_the_caller_gave() {
    let mut direct = Direct::mounted();
    direct.mkdir_p("/d/sub").expect("mkdir_p");
    direct.internal_write("/f", b"text\n").expect("write");
    direct.ln_s("/f", "/l").expect("ln_s");
    let level = CompressOutOptions { level: Some(10) };
    let mut out = Vec::new();
    let none = MktempOptions::default();
    for (result, said) in [
        (
            direct.exists("").map(drop),
            "'': path must start with a / character",
        ),
        (
            direct.mkdtemp("/tmpX").map(drop),
            "template /tmpX must end in XXXXXX: Invalid argument",
        ),
        (
            direct.mktemp("/none/XXXXXX", &none).map(drop),
            "/none/XXXXXX: No such file or directory",
        ),
        (
            direct.rename("/f", "/none/f"),
            "/none/f: No such file or directory",
        ),
        (direct.rename("/d", "/f"), "/d: /f: Not a directory"),
        (
            direct.mv("/d", "/d/sub"),
            "cannot move '/d' to a subdirectory of itself, '/d/sub/d': Invalid argument",
        ),
        (
            direct.case_sensitive_path("/D/none/x").map(drop),
            "/D/none/x: none: not found",
        ),
        (
            direct.cap_set_file("/l", "cap_net_raw+ep"),
            "/l: not a regular file: Invalid argument",
        ),
        (
            direct.compress_out("gzip", "/f", &mut out, &level),
            "gzip: incorrect value for level parameter: 10 is not from 1 to 9",
        ),
        (
            direct.compress_out("zip", "/f", &mut out, &Default::default()),
            "unknown compression type: zip",
        ),
    ] {
        assert_eq!(result.expect_err(said).to_string(), said);
    }
}

/// Lets a shell script be the daemon's gzip.
fn with_gzip(direct: &mut Direct, script: &str) {
    let script = format!("#!/bin/sh\n{script}\n");
    direct
        .internal_write("/gzip", script.as_bytes())
        .expect("write");
    direct.chmod(0o755, "/gzip").expect("chmod");
    let path = "/sysroot:/sbin:/usr/sbin:/bin:/usr/bin";
    direct.debug("setenv", &["PATH", path]).expect("setenv");
}

#[test]
fn a_compressor_that_ends_in_the_middle_says_why() {
    const KILLED: &str = "gzip was killed by signal 9 (SIGKILL)";
    let mut direct = Direct::mounted();
    direct.mkdir("/d").expect("mkdir");
    let content = noise(2 << 20);
    direct.internal_write("/d/f", &content).expect("write");
    let before = Traces::of(&direct);
    for (script, said) in [
        ("kill -KILL $$", KILLED),
        ("head -c 65536 > /dev/null; kill -KILL $$", KILLED),
        ("cat > /dev/null; kill -KILL $$", KILLED),
        ("exec >&-; cat > /dev/null; kill -KILL $$", KILLED),
        ("echo no room >&2; exit 3", "no room"),
    ] {
        with_gzip(&mut direct, script);
        let error = direct.tgz_in(&mut content.as_slice(), "/d");
        assert_eq!(
            error.expect_err(script).to_string(),
            format!("/d: {said}"),
            "{script}"
        );
        let logged = direct.stderr().len();
        let result = direct.tgz_out("/d", &mut Vec::new());
        assert!(matches!(result, Err(ClientError::Cancelled)), "{script}");
        let log = direct.stderr().split_off(logged);
        assert!(log.contains(said), "{script}: {log}");
        assert!(!log.contains("Broken pipe"), "{script}: {log}");
    }
    assert_eq!(Traces::of(&direct), before);
}

#[test]
fn rsync_speaks_of_the_callers_paths() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let remote = Remote::start(scratch.path()).expect("rsync");
    std::fs::write(remote.at("file"), "content").expect("write");
    let ext4 = DiskSpec::Formatted("ext4", 32 << 20);
    let mut direct = Direct::start(&[ext4.clone(), ext4]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir("/ro").expect("mkdir");
    direct.mount_ro("/dev/sdb", "/ro").expect("mount_ro");
    let rsync = RsyncInOptions::default();
    let url = remote.url("/file");
    direct.ln_s("/ro", "/link").expect("ln_s");
    for (dest, name) in [
        ("/ro", "\"/ro/.file."),
        ("/ro/", "\"/ro/.file."),
        ("/ro/new", "\"/ro/.new."),
        ("/link", "\"/link/.file."),
    ] {
        let error = direct.rsync_in(&url, dest, &rsync).expect_err(dest);
        let error = error.to_string();
        assert!(error.contains(name), "{error}");
        assert!(!error.contains("/proc/"), "{error}");
        assert!(!error.contains("/tmp/"), "{error}");
    }
}
