//! Calls that the library makes behind its own functions, and what guestfish
//! cannot say: bytes of every value, and the errno of an error.

use conformance::{ClientError, Direct, skipped};
use protocol::api::{CopyAttributesOptions, Dirent, MktempOptions};
use protocol::xdr::Decoder;

fn errno<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    let error = result.expect_err("an error");
    assert!(!error.to_string().is_empty());
    error.errno().to_owned()
}

/// What `internal_readdir` sends, decoded as the library does it.
fn entries(direct: &mut Direct, dir: &str) -> Vec<Dirent> {
    let mut file = Vec::new();
    direct.internal_readdir(dir, &mut file).expect("the stream");
    let mut input = Decoder::new(&file);
    let mut entries = Vec::new();
    while !input.is_empty() {
        entries.push(Dirent::decode(&mut input).expect("an entry"));
    }
    entries
}

#[test]
fn internal_write_takes_every_byte() {
    let mut direct = Direct::mounted();
    let bytes: Vec<u8> = (0..=255).cycle().take(1_000_003).collect();
    direct.internal_write("/a", &bytes).expect("write");
    direct
        .internal_write_append("/a", b"\0end")
        .expect("append");
    assert_eq!(direct.filesize("/a").expect("size"), 1_000_007);
    let part = direct.pread("/a", 300, 999_900).expect("pread");
    assert_eq!(part[..103], bytes[999_900..]);
    assert_eq!(part[103..], *b"\0end");
    direct.internal_write("/a", b"").expect("write");
    assert_eq!(direct.filesize("/a").expect("size"), 0);
    assert_eq!(errno(direct.internal_write("/none/a", b"x")), "ENOENT");
    assert_eq!(errno(direct.internal_write_append("/", b"x")), "EISDIR");
}

#[test]
fn names_are_bytes() {
    let mut direct = Direct::mounted();
    let name = b"/\xff\xfe caf\xe9\n";
    direct.internal_write(name, b"x\n").expect("write");
    let listed = entries(&mut direct, "/");
    assert!(listed.iter().any(|entry| entry.name == name[1..]));
    direct.ln_s(&b"\xe9"[..], "/link").expect("ln_s");
    assert_eq!(direct.readlink("/link").expect("readlink"), b"\xe9");
    assert_eq!(direct.realpath(name).expect("realpath"), name);
    direct.rm(name).expect("rm");
    assert!(!direct.exists(name).expect("exists"));
}

#[test]
fn internal_readdir_lists_what_readdir_does() {
    let mut direct = Direct::mounted();
    direct.mkdir("/d").expect("mkdir");
    direct.fill_dir("/d", 4000).expect("fill_dir");
    direct.mkdir("/d/sub").expect("mkdir");
    direct.ln_s("a", "/d/link").expect("ln_s");
    direct.mkfifo(0o644, "/d/fifo").expect("mkfifo");
    let streamed = entries(&mut direct, "/d");
    assert_eq!(streamed.len(), 4005);
    assert_eq!(streamed, direct.readdir("/d").expect("readdir"));
    let kind = |name: &[u8]| {
        let found = streamed.iter().find(|entry| entry.name == name);
        found.map(|entry| char::from(entry.ftyp))
    };
    assert_eq!(kind(b"."), Some('d'));
    assert_eq!(kind(b"00003999"), Some('r'));
    assert_eq!(kind(b"sub"), Some('d'));
    assert_eq!(kind(b"link"), Some('l'));
    assert_eq!(kind(b"fifo"), Some('f'));
    let inode = direct.lstatns("/d/sub").expect("lstatns").st_ino;
    assert!(
        streamed
            .iter()
            .any(|entry| entry.ino == inode && entry.name == b"sub")
    );
    let mut file = Vec::new();
    assert_eq!(errno(direct.internal_readdir("/none", &mut file)), "ENOENT");
    assert_eq!(
        errno(direct.internal_readdir("/d/link", &mut file)),
        "ENOENT"
    );
    assert!(file.is_empty());
}

#[test]
fn lists_have_an_element_for_every_name() {
    let mut direct = Direct::mounted();
    direct.mkdir("/d").expect("mkdir");
    direct.internal_write("/d/a", b"hello").expect("write");
    direct.ln_s("a", "/d/link").expect("ln_s");
    let names = ["a", "none", "link", "", ".", ".."];
    let stats = direct.internal_lstatnslist("/d", &names).expect("stats");
    let inode = |path: &str, direct: &mut Direct| direct.lstatns(path).expect("lstatns").st_ino;
    let expected = [
        inode("/d/a", &mut direct),
        -1,
        inode("/d/link", &mut direct),
        -1,
        inode("/d", &mut direct),
        inode("/", &mut direct),
    ];
    let found: Vec<i64> = stats.iter().map(|stat| stat.st_ino).collect();
    assert_eq!(found, expected);
    assert_eq!(stats[0].st_size, 5);
    // Above the root is the root.
    let above = direct.internal_lstatnslist("/", &[".."]).expect("stats");
    assert_eq!(above[0].st_ino, inode("/", &mut direct));
    let links = direct.internal_readlinklist("/d", &names).expect("links");
    assert_eq!(links, [&b""[..], b"", b"a", b"", b"", b""]);
    assert_eq!(
        errno(direct.internal_lstatnslist("/d", &["../d"])),
        "EINVAL"
    );
    assert_eq!(
        errno(direct.internal_readlinklist("/d/a", &["a"])),
        "ENOTDIR"
    );
}

#[test]
fn a_list_that_no_reply_can_hold_is_an_error() {
    let mut direct = Direct::mounted();
    let target = "t".repeat(1000);
    direct.ln_s(&target, "/link").expect("ln_s");
    let names = vec!["link"; 5000];
    let error = direct.internal_readlinklist("/", &names);
    assert!(error.is_err(), "5 MB in a reply");
    let names = vec!["x"; 100_000];
    assert!(direct.internal_lstatnslist("/", &names).is_err());
    let few = direct.internal_lstatnslist("/", &names[..20_000]);
    assert_eq!(few.expect("3.5 MB").len(), 20_000);
    direct.ping_daemon().expect("the daemon goes on");
}

#[test]
fn errors_have_the_errno_that_callers_test() {
    let mut direct = Direct::mounted();
    direct.mkdir("/d").expect("mkdir");
    direct.touch("/d/a").expect("touch");
    direct.ln_s("loop", "/loop").expect("ln_s");
    assert_eq!(errno(direct.rm("/none")), "ENOENT");
    assert_eq!(errno(direct.rm("/d")), "EISDIR");
    assert_eq!(errno(direct.rmdir("/d")), "ENOTEMPTY");
    assert_eq!(errno(direct.rmdir("/")), "EBUSY");
    assert_eq!(errno(direct.mkdir("/d")), "EEXIST");
    assert_eq!(errno(direct.mkdir_mode("/d/a/x", 0o755)), "ENOTDIR");
    assert_eq!(errno(direct.mkdir_p("/d/a")), "ENOTDIR");
    assert_eq!(errno(direct.lstatns("/none")), "ENOENT");
    assert_eq!(errno(direct.statns("/loop")), "ELOOP");
    assert_eq!(errno(direct.readlink("/d")), "EINVAL");
    assert_eq!(errno(direct.ln("/d/a", "/loop")), "EEXIST");
    assert_eq!(errno(direct.ln_s("x", "/loop")), "EEXIST");
    assert_eq!(errno(direct.pread("/d", 1, 0)), "EISDIR");
    assert_eq!(errno(direct.truncate_size("/d/a", -1)), "EINVAL");
    assert_eq!(errno(direct.mkfifo(0o644, "/d/a")), "EEXIST");
    assert_eq!(
        errno(direct.mktemp("/d/x", &MktempOptions::default())),
        "EINVAL"
    );
    assert_eq!(errno(direct.wc_l("/d")), "EISDIR");
    assert_eq!(errno(direct.hexdump("/d")), "EISDIR");
    assert_eq!(errno(direct.strings("/d")), "EISDIR");
    assert_eq!(errno(direct.head("/none")), "ENOENT");
    assert_eq!(errno(direct.file("/none")), "ENOENT");
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let mut direct = Direct::mounted();
    // The other end of a pipe would never be opened.
    direct.mkfifo(0o666, "/fifo").expect("mkfifo");
    direct.mknod_c(0o666, 1, 5, "/zero").expect("mknod_c");
    direct.mknod(0o140_666, 0, 0, "/socket").expect("mknod");
    direct.touch("/file").expect("touch");
    for path in ["/fifo", "/zero", "/socket"] {
        assert_eq!(errno(direct.pread(path, 1, 0)), "EINVAL");
        assert_eq!(errno(direct.pwrite(path, b"x", 0)), "EINVAL");
        assert_eq!(errno(direct.internal_write(path, b"x")), "EINVAL");
        assert_eq!(errno(direct.fill(0, 1, path)), "EINVAL");
        assert_eq!(errno(direct.wc_c(path)), "EINVAL");
        assert_eq!(errno(direct.hexdump(path)), "EINVAL");
        assert_eq!(errno(direct.strings(path)), "EINVAL");
        assert_eq!(errno(direct.tail(path)), "EINVAL");
        assert_eq!(errno(direct.checksum("crc", path)), "EINVAL");
        assert_eq!(errno(direct.download(path, &mut Vec::new())), "EINVAL");
        assert_eq!(errno(direct.upload(&mut &b"x"[..], path)), "EINVAL");
        assert_eq!(errno(direct.cp(path, "/copy")), "EINVAL");
        assert_eq!(errno(direct.cp("/file", path)), "EINVAL");
        assert_eq!(errno(direct.cp_a("/file", path)), "EINVAL");
    }
    assert!(direct.is_fifo("/fifo", &Default::default()).expect("fifo"));
}

#[test]
fn what_is_in_the_way_of_new_files_is_not_opened() {
    let mut direct = Direct::mounted();
    direct.mkdir("/many").expect("mkdir");
    // The other end of a pipe would never be opened.
    direct.mkfifo(0o666, "/many/00000001").expect("mkfifo");
    direct.fill_dir("/many", 3).expect("fill_dir");
    for name in ["00000000", "00000002"] {
        let file = direct.is_file(&format!("/many/{name}"), &Default::default());
        assert!(file.expect("is_file"), "{name}");
    }
    assert!(
        direct
            .is_fifo("/many/00000001", &Default::default())
            .expect("is_fifo")
    );
}

#[test]
fn a_name_in_the_case_that_was_asked_for_comes_first() {
    let mut direct = Direct::mounted();
    for name in ["ab", "AB", "aB", "Ab"] {
        direct.mkdir_p(&format!("/{name}/{name}")).expect("mkdir_p");
    }
    for name in ["/ab/ab", "/AB/AB", "/aB/aB", "/Ab/Ab"] {
        let found = direct.case_sensitive_path(name).expect("a path");
        assert_eq!(found, name.as_bytes());
    }
}

#[test]
fn a_length_that_is_none_leaves_the_file_alone() {
    let mut direct = Direct::mounted();
    direct.internal_write("/a", b"kept").expect("write");
    assert_eq!(errno(direct.fallocate64("/a", -1)), "EINVAL");
    assert_eq!(direct.pread("/a", 9, 0).expect("pread"), b"kept");
}

#[test]
fn ln_f_never_loses_a_file() {
    let mut direct = Direct::mounted();
    direct.internal_write("/a", b"kept").expect("write");
    assert_eq!(errno(direct.ln_f("/none", "/a")), "ENOENT");
    direct.ln_f("/a", "/a").expect("ln_f");
    assert_eq!(direct.pread("/a", 9, 0).expect("pread"), b"kept");
    direct.ln("/a", "/same").expect("ln");
    direct.ln_f("/a", "/same").expect("ln_f");
    assert_eq!(direct.lstatns("/a").expect("lstatns").st_nlink, 2);
    direct.internal_write("/b", b"other").expect("write");
    direct.ln_f("/a", "/b").expect("ln_f");
    assert_eq!(direct.pread("/b", 9, 0).expect("pread"), b"kept");
    assert_eq!(errno(direct.ln_f("a", "/b")), "EINVAL");
    // No temporary names are left.
    let left = direct.readdir("/").expect("readdir");
    assert!(!left.iter().any(|entry| entry.name.starts_with(b".tmp")));
}

#[test]
fn a_line_of_a_reply_ends_at_a_nul() {
    let mut direct = Direct::mounted();
    direct
        .internal_write("/a", b"one\0two\nthree\n")
        .expect("write");
    let expected = [&b"one"[..], b"three"];
    assert_eq!(direct.head("/a").expect("head"), expected);
    assert_eq!(direct.tail("/a").expect("tail"), expected);
    assert_eq!(direct.head_n(1, "/a").expect("head_n"), expected[..1]);
    assert_eq!(direct.tail_n(1, "/a").expect("tail_n"), expected[1..]);
}

#[test]
fn zfile_describes_what_is_compressed() {
    // "plain text\n", compressed by gzip and by bzip2.
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x2b\xc8\x49\xcc\xcc\x53\x28\x49\xad\x28\xe1\x02\x00\xbc\x0c\x90\xd6\x0b\x00\x00\x00";
    let mut direct = Direct::mounted();
    direct.internal_write("/a.gz", GZIP).expect("write");
    direct
        .internal_write("/plain", b"plain text\n")
        .expect("write");
    for method in ["gzip", "compress"] {
        let said = direct.zfile(method, "/a.gz").expect("zfile");
        assert_eq!(said, b"ASCII text");
    }
    let said = direct.file("/a.gz").expect("file");
    assert!(said.starts_with(b"ASCII text (gzip compressed data"));
    assert_eq!(direct.file("/plain").expect("file"), b"ASCII text");
    assert!(direct.zfile("gzip", "/plain").is_err());
    assert!(direct.zfile("bzip2", "/a.gz").is_err());
    assert_eq!(errno(direct.zfile("none", "/a.gz")), "EINVAL");
}

#[test]
fn copying_the_owner_keeps_the_set_user_id_bit() {
    let mut direct = Direct::mounted();
    for path in ["/a", "/b"] {
        direct.touch(path).expect("touch");
    }
    direct.chown(1, 2, "/a").expect("chown");
    direct.chmod(0o6755, "/a").expect("chmod");
    let all = CopyAttributesOptions {
        all: Some(true),
        ..CopyAttributesOptions::default()
    };
    direct.copy_attributes("/a", "/b", &all).expect("copy");
    let copied = direct.lstatns("/b").expect("lstatns");
    assert_eq!(copied.st_mode, 0o106_755);
    assert_eq!((copied.st_uid, copied.st_gid), (1, 2));
}

#[test]
fn internal_upload_writes_to_the_appliance_and_not_to_the_guest() {
    let mut direct = Direct::mounted();
    direct
        .internal_upload(&mut &b"for the appliance"[..], "/tmp/uploaded", 0o640)
        .expect("upload");
    let shell: &[u8] = b"stat -c %a:%s /tmp/uploaded; cat /tmp/uploaded";
    let text = direct.debug("sh", &[shell]).expect("sh");
    assert_eq!(text, b"640:17\nfor the appliance");
    assert!(!direct.exists("/tmp").expect("exists"));
    let missing = direct.internal_upload(&mut &b"x"[..], "/none/file", 0o600);
    assert_eq!(errno(missing), "ENOENT");
}

#[test]
fn a_security_context_needs_a_kernel_with_selinux() {
    if std::path::Path::new("/sys/fs/selinux").exists() {
        skipped("this kernel has SELinux");
        return;
    }
    let mut direct = Direct::start(&[]);
    assert_ne!(errno(direct.setcon("system_u:object_r:bin_t:s0")), "");
    assert_ne!(errno(direct.getcon()), "");
}
