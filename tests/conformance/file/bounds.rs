//! Memory is bounded, whatever there is in the guest; and what has no room in a
//! reply is an error that names the limit.

use std::fmt::Debug;
use std::io::Write as _;
use std::process::{Command, Stdio};

use conformance::{ClientError, Direct, DiskSpec};
use protocol::api::TarInOptions;
use tar::{Builder, EntryType, Header};

/// How much a call may use beyond what the daemon had before it: a reply, the
/// pieces that it is made of, and the allocator's leftovers.
const ALLOWED: u64 = 64 << 20;

/// Makes a call that cannot succeed, and checks that it says why and keeps to its
/// memory.
fn refused<T: Debug>(
    direct: &mut Direct,
    what: &str,
    limit: &str,
    call: impl FnOnce(&mut Direct) -> Result<T, ClientError>,
) {
    direct.forget_peak_memory();
    let before = direct.peak_memory();
    let error = call(direct)
        .map(|_| "a result")
        .expect_err(what)
        .to_string();
    assert!(error.contains(limit), "{what}: {error}");
    let used = direct.peak_memory().saturating_sub(before);
    assert!(used < ALLOWED, "{what} used {used} bytes");
    direct.ping_daemon().expect("ping");
}

#[test]
fn what_has_no_room_in_a_reply_is_not_collected() {
    const LIMIT: &str = "4194304";
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 256 << 20)]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct
        .fill_pattern("0123456789abcdef\n", 100 << 20, "/lines")
        .expect("fill_pattern");
    refused(&mut direct, "grep", LIMIT, |d| {
        d.grep("0", "/lines", &Default::default())
    });
    refused(&mut direct, "strings", LIMIT, |d| d.strings("/lines"));
    refused(&mut direct, "hexdump", LIMIT, |d| d.hexdump("/lines"));
    refused(&mut direct, "head_n", LIMIT, |d| {
        d.head_n(i32::MAX, "/lines")
    });
    refused(&mut direct, "head_n", LIMIT, |d| d.head_n(-5, "/lines"));
    refused(&mut direct, "tail_n", LIMIT, |d| {
        d.tail_n(i32::MAX, "/lines")
    });
    refused(&mut direct, "tail_n", LIMIT, |d| d.tail_n(-5, "/lines"));
}

#[test]
fn a_line_may_be_as_long_as_a_file() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 256 << 20)]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.fill(97, 100 << 20, "/line").expect("fill");
    refused(&mut direct, "head", "4194304", |d| d.head("/line"));
    refused(&mut direct, "tail_n", "4194304", |d| d.tail_n(-1, "/line"));
    refused(&mut direct, "tail", "4194304", |d| d.tail("/line"));
}

#[test]
fn grep_gets_no_more_memory_than_a_long_line_may_take() {
    const LINE: i32 = 192 << 20;
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 256 << 20)]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.fill(97, LINE, "/line").expect("fill");
    refused(&mut direct, "grep", "268435456", |d| {
        d.grep("x", "/line", &Default::default())
    });
}

#[test]
fn a_directory_may_have_any_number_of_names() {
    const NAMES: i32 = 50_000;
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 1 << 30)]);
    direct.mount("/dev/sda", "/").expect("mount");
    let many = format!("/{}", "many".repeat(50));
    direct.mkdir(&many).expect("mkdir");
    direct.fill_dir(&many, NAMES).expect("fill_dir");
    let before = direct.peak_memory();
    let mut names = Vec::new();
    direct.find0(&many, &mut names).expect("find0");
    assert_eq!(names.len(), NAMES as usize * "/00000000\0".len());
    let used = direct.peak_memory().saturating_sub(before);
    // Not even the names are kept.
    assert!(used < 2 << 20, "find0 used {used} bytes");
    let pattern = format!("{many}/*");
    refused(&mut direct, "glob_expand", "4194304", |d| {
        d.glob_expand(&pattern, &Default::default())
    });
    let braces = format!("/{}{}", "x".repeat(1 << 20), "{a,b}".repeat(11));
    refused(&mut direct, "glob_expand", "67108864", |d| {
        d.glob_expand(&braces, &Default::default())
    });
}

#[test]
fn a_list_of_names_may_be_as_long_as_a_message() {
    let mut direct = Direct::mounted();
    direct.mkdir("/d").expect("mkdir");
    direct.ln_s(&"target".repeat(100), "/d/l").expect("a link");
    let names = vec!["l"; 500_000];
    refused(&mut direct, "internal_lstatnslist", "4194304", |d| {
        d.internal_lstatnslist("/d", &names)
    });
    refused(&mut direct, "internal_readlinklist", "4194304", |d| {
        d.internal_readlinklist("/d", &names)
    });
}

#[test]
fn an_archive_may_hold_more_than_there_is_room() {
    let mut direct = Direct::mounted();
    let before = direct.peak_memory();
    let mut header = Header::new_ustar();
    header.set_path("zeroes").expect("a name");
    header.set_size(256 << 20);
    header.set_mode(0o600);
    header.set_cksum();
    let archive = gzip(header.as_bytes(), 5);
    direct.mkdir("/d").expect("mkdir");
    let error = direct
        .tgz_in(&mut archive.as_slice(), "/d")
        .expect_err("no room");
    assert!(error.to_string().contains("No space left"), "{error}");
    direct.rm_rf("/d").expect("rm_rf");
    direct
        .upload(&mut archive.as_slice(), "/bomb")
        .expect("upload");
    let kind = direct.zfile("gzip", "/bomb").expect("zfile");
    assert!(String::from_utf8_lossy(&kind).contains("tar archive"));
    let lines = direct.zgrep("nothing", "/bomb").expect("zgrep");
    assert!(lines.is_empty());
    let used = direct.peak_memory().saturating_sub(before);
    assert!(used < ALLOWED, "{used} bytes");
}

#[test]
fn what_an_archive_has_wait_is_bounded() {
    const LIMIT: u64 = 256 << 20;
    let mut direct = Direct::mounted();
    let options = TarInOptions {
        xattrs: Some(true),
        ..TarInOptions::default()
    };
    // Links that are made at the end, and directories that are left at the end.
    for (kind, place) in [
        (EntryType::Symlink, "/links"),
        (EntryType::Directory, "/deep"),
    ] {
        direct.mkdir(place).expect("mkdir");
        let mut builder = Builder::new(attributes_for_all());
        let mut name = "n".to_owned();
        for number in 0..1000 {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o700);
            header.set_size(0);
            if kind == EntryType::Symlink {
                name = number.to_string();
                let link = builder.append_link(&mut header, &name, "/x");
                link.expect("archive");
            } else {
                let data = std::io::empty();
                builder
                    .append_data(&mut header, &name, data)
                    .expect("archive");
                name.push_str("/n");
            }
        }
        let archive = builder.into_inner().expect("archive");
        direct.forget_peak_memory();
        let before = direct.peak_memory();
        let error = direct
            .tar_in(&mut archive.as_slice(), place, &options)
            .expect_err("too much has to wait");
        assert_eq!(error.errno(), "E2BIG", "{error}");
        assert!(error.to_string().contains(&LIMIT.to_string()), "{error}");
        let used = direct.peak_memory().saturating_sub(before);
        assert!(used < LIMIT + ALLOWED, "{used} bytes");
    }
    // What came before the limit is there.
    assert_eq!(direct.readlink("/links/0").expect("readlink"), b"/x");
    assert!(!direct.exists("/links/999").expect("exists"));
}

/// The beginning of an archive: attributes of some megabytes that all members get.
fn attributes_for_all() -> Vec<u8> {
    let mut records = Vec::new();
    for number in 10..70 {
        let start = format!("64024 SCHILY.xattr.user.{number}=");
        records.extend(start.bytes());
        records.resize(records.len() + 64023 - start.len(), b'v');
        records.push(b'\n');
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XGlobalHeader);
    header.set_size(records.len() as u64);
    header.set_cksum();
    records.resize(records.len().next_multiple_of(512), 0);
    [header.as_bytes(), &records[..]].concat()
}

/// What is compressed to almost nothing: zeroes after `before`, so many times 64
/// MiB.
fn gzip(before: &[u8], times: usize) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["-1", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip");
    let mut input = gzip.stdin.take().expect("stdin");
    let before = before.to_vec();
    let feeder = std::thread::spawn(move || {
        input.write_all(&before).expect("feed");
        let block = vec![0; 64 << 20];
        for _ in 0..times {
            input.write_all(&block).expect("feed");
        }
    });
    let output = gzip.wait_with_output().expect("gzip");
    feeder.join().expect("the feeder");
    output.stdout
}

/// The header of a regular file in a cpio archive.
fn cpio_header(name: &str, size: u32) -> Vec<u8> {
    let fields = [1, 0o100_644, 0, 0, 1, 0, size, 0, 0, 0, 0, 2, 0];
    let mut header = "070701".to_owned();
    for field in fields {
        header.push_str(&format!("{field:08X}"));
    }
    header.push_str(name);
    header.push('\0');
    header.into_bytes()
}

#[test]
fn decompressing_for_the_guest_is_bounded() {
    let mut direct = Direct::mounted();
    let before = direct.peak_memory();
    let archive = gzip(&cpio_header("x", 256 << 20), 5);
    direct
        .upload(&mut archive.as_slice(), "/initrd")
        .expect("upload");
    refused(&mut direct, "initrd_cat", "4194304", |d| {
        d.initrd_cat("/initrd", "x")
    });
    // What follows the first member is no archive.
    assert!(direct.initrd_list("/initrd").is_err());
    assert!(direct.peak_memory().saturating_sub(before) < ALLOWED);
}
