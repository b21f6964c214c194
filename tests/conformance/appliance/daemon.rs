use conformance::Direct;

use super::{on_disk, with_dirty_file};

#[test]
fn sync_brings_data_to_the_disk() {
    let mut direct = with_dirty_file();
    direct.sync().expect("sync");
    assert!(on_disk(&direct));
    assert_eq!(direct.mounts().expect("mounts"), ["/dev/sda"]);
}

#[test]
fn drop_caches_syncs_first_and_asks_the_kernel() {
    let mut direct = with_dirty_file();
    direct.drop_caches(3).expect("drop_caches");
    assert!(on_disk(&direct));
    direct.drop_caches(0).expect("nothing to drop");
    // Only the kernel knows that there is no such thing.
    let error = direct.drop_caches(-1).expect_err("drop_caches -1");
    assert_eq!(error.errno(), "EINVAL");
}

#[test]
fn ping_is_answered() {
    let mut direct = Direct::start(&[]);
    direct.ping_daemon().expect("ping");
    direct.ping_daemon().expect("ping again");
}

#[test]
fn words_come_back_joined() {
    let mut direct = Direct::start(&[]);
    let echo = |direct: &mut Direct, words: &[&[u8]]| direct.echo_daemon(words).expect("echo");
    assert_eq!(echo(&mut direct, &[b"one", b"two"]), b"one two");
    assert_eq!(echo(&mut direct, &[]), b"");
    assert_eq!(echo(&mut direct, &[b"", b""]), b" ");
    assert_eq!(echo(&mut direct, &[b"\xff\xfe", b"x"]), b"\xff\xfe x");
}

#[test]
fn the_mask_applies_to_new_directories() {
    let mut direct = Direct::mounted();
    assert_eq!(direct.get_umask().expect("get_umask"), 0o022);
    assert_eq!(direct.umask(0o027).expect("umask"), 0o022);
    assert_eq!(direct.get_umask().expect("get_umask"), 0o027);
    direct.mkdir("/dir").expect("mkdir");
    let stat = direct.lstatns("/dir").expect("stat");
    assert_eq!(stat.st_mode & 0o7777, 0o750);
    for bad in [-1, 0o1000, i32::MAX] {
        let error = direct.umask(bad).expect_err("a mask out of range");
        assert_eq!(error.errno(), "EINVAL");
    }
    assert_eq!(direct.get_umask().expect("get_umask"), 0o027);
}

#[test]
fn autosync_unmounts_and_brings_data_to_the_disk() {
    let mut direct = with_dirty_file();
    direct.mkdir("/inner").expect("mkdir");
    direct.internal_autosync().expect("autosync");
    assert!(direct.mounts().expect("mounts").is_empty());
    assert!(on_disk(&direct));
    // Nothing left to do is no error.
    direct.internal_autosync().expect("autosync again");
}

#[test]
fn a_library_that_goes_without_autosync_loses_nothing() {
    let mut direct = with_dirty_file();
    let stream = direct.stream();
    stream.shutdown(std::net::Shutdown::Both).expect("shutdown");
    let exit = direct.exit();
    assert_eq!(exit.code, 0, "{}", exit.stderr);
    assert!(on_disk(&direct));
}

#[test]
fn the_daemon_ends_after_its_answer() {
    let mut direct = Direct::start(&[]);
    direct.internal_exit().expect("an answer");
    assert_eq!(direct.exit().code, 0);
}
