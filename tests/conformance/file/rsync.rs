//! rsync with another computer, for which a daemon of rsync on this one stands.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use conformance::Direct;
use protocol::api::{RsyncInOptions, RsyncOutOptions};
use tempfile::TempDir;
use testkit::Remote;

/// Another computer, with nothing on it yet.
fn remote() -> (TempDir, Remote) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let remote = Remote::start(scratch.path()).expect("rsync");
    (scratch, remote)
}

/// `archive`, and `deletedest` as said.
fn inwards(deletedest: bool) -> RsyncInOptions {
    RsyncInOptions {
        archive: Some(true),
        deletedest: Some(deletedest),
    }
}

#[test]
fn a_directory_comes_in() {
    let (_scratch, remote) = remote();
    fs::create_dir_all(remote.at("tree/sub")).unwrap();
    fs::write(remote.at("tree/sub/file"), "content").unwrap();
    symlink("/etc", remote.at("tree/link")).unwrap();
    std::os::unix::fs::chown(remote.at("tree/sub/file"), Some(12345), Some(23456)).unwrap();

    let mut direct = Direct::mounted();
    direct.mkdir("/dest").unwrap();
    direct.touch("/dest/extra").unwrap();
    // What is to be a directory leads to the appliance.
    direct.ln_s("/tmp", "/dest/sub").unwrap();
    let url = remote.url("/tree/");
    direct.rsync_in(&url, "/dest", &inwards(false)).unwrap();
    assert!(direct.is_dir("/dest/sub", &Default::default()).unwrap());
    assert_eq!(direct.pread("/dest/sub/file", 100, 0).unwrap(), b"content");
    assert_eq!(direct.readlink("/dest/link").unwrap(), b"/etc");
    let stat = direct.statns("/dest/sub/file").unwrap();
    assert_eq!((stat.st_uid, stat.st_gid), (12345, 23456));
    assert!(direct.exists("/dest/extra").unwrap());

    direct.rsync_in(&url, "/dest", &inwards(true)).unwrap();
    assert!(!direct.exists("/dest/extra").unwrap());
    assert!(direct.exists("/dest/sub/file").unwrap());
}

#[test]
fn a_file_comes_in_under_another_name() {
    let (_scratch, remote) = remote();
    fs::write(remote.at("file"), "content").unwrap();
    let mut direct = Direct::mounted();
    let options = RsyncInOptions::default();
    let url = remote.url("/file");
    direct.rsync_in(&url, "/name", &options).unwrap();
    assert_eq!(direct.pread("/name", 100, 0).unwrap(), b"content");
    let error = direct
        .rsync_in(&remote.url("/missing"), "/name", &options)
        .unwrap_err();
    assert!(error.to_string().contains("to '/name'"), "{error}");
}

#[test]
fn a_directory_goes_out() {
    let (_scratch, remote) = remote();
    let mut direct = Direct::mounted();
    direct.mkdir_p("/src/sub").unwrap();
    direct.internal_write("/src/sub/file", b"content").unwrap();
    direct.chown(12345, 23456, "/src/sub/file").unwrap();
    direct.ln_s("sub/file", "/src/link").unwrap();
    direct.ln_s("/src", "/way").unwrap();
    fs::create_dir(remote.at("dest")).unwrap();
    fs::write(remote.at("dest/extra"), "").unwrap();

    let mut options = RsyncOutOptions {
        archive: Some(true),
        deletedest: None,
    };
    let url = remote.url("/dest/");
    direct.rsync_out("/way/", &url, &options).unwrap();
    let file = remote.at("dest/sub/file");
    assert_eq!(fs::read(&file).unwrap(), b"content");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (12345, 23456));
    let link = fs::read_link(remote.at("dest/link")).unwrap();
    assert_eq!(link, PathBuf::from("sub/file"));
    assert!(remote.at("dest/extra").exists());

    options.deletedest = Some(true);
    direct.rsync_out("/src/", &url, &options).unwrap();
    assert!(!remote.at("dest/extra").exists());
    // Without a slash, the directory itself.
    direct.rsync_out("/src", &url, &options).unwrap();
    assert!(remote.at("dest/src/sub/file").exists());
}

#[test]
fn what_is_no_other_computer_is_refused() {
    let mut direct = Direct::mounted();
    direct.touch("/file").unwrap();
    let inside = RsyncInOptions::default();
    let outside = RsyncOutOptions::default();
    let target = tempfile::tempdir().expect("a scratch directory");
    let own = target.path().join("file");
    let own = own.to_str().expect("UTF-8");
    for remote in ["/etc/passwd", "./a:b", "--version", "-e:x", own, ""] {
        let error = direct.rsync_in(remote, "/copy", &inside).unwrap_err();
        assert_eq!(error.errno(), "EINVAL", "{remote}");
        let error = direct.rsync_out("/file", remote, &outside).unwrap_err();
        assert_eq!(error.errno(), "EINVAL", "{remote}");
    }
    assert!(!direct.exists("/copy").unwrap());
}
