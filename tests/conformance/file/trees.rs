//! Trees that are deeper than a path is long, or have very many entries.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use conformance::{Direct, DiskSpec};
use protocol::api::Dirent;
use protocol::xdr::Decoder;

/// Levels of one chain of directories: a link can hold its path.
const CHAIN: usize = 450;

/// So many chains have a path that is longer than the kernel's limit of 4096.
const CHAINS: usize = 5;

/// Makes a tree whose paths are too long for the kernel: chains of
/// directories, each reached through a link to the end of the one before.
fn deep_tree(direct: &mut Direct) {
    let mut above = "/deep".to_owned();
    direct.mkdir(&above).expect("mkdir");
    for number in 0..CHAINS {
        let end = format!("{above}{}", "/d".repeat(CHAIN));
        direct.mkdir_p(&end).expect("mkdir_p");
        direct.touch(&format!("{end}/file")).expect("touch");
        let link = format!("/end{number}");
        direct.ln_s(&end, &link).expect("ln_s");
        above = link;
    }
}

fn inodes(direct: &mut Direct) -> i64 {
    direct.statvfs("/").expect("statvfs").ffree
}

#[test]
fn rm_rf_removes_a_tree_of_any_depth() {
    let mut direct = Direct::mounted();
    let before = inodes(&mut direct);
    direct.mkdir("/kept").expect("mkdir");
    direct.touch("/kept/file").expect("touch");
    deep_tree(&mut direct);
    let last = format!("/end{}/{}", CHAINS - 1, "d/".repeat(5));
    direct.mkdir_p(&last).expect("mkdir_p");
    direct.ln_s("/kept", &format!("{last}/link")).expect("ln_s");
    assert!(before - inodes(&mut direct) > (CHAINS * CHAIN) as i64);
    direct.rm_rf("/deep").expect("rm_rf");
    for number in 0..CHAINS {
        direct.rm(&format!("/end{number}")).expect("rm");
    }
    assert!(direct.exists("/kept/file").expect("exists"));
    direct.rm_rf("/kept").expect("rm_rf");
    assert_eq!(inodes(&mut direct), before);
}

#[test]
fn rm_rf_removes_many_entries() {
    let mut direct = Direct::mounted();
    let before = inodes(&mut direct);
    direct.mkdir("/many").expect("mkdir");
    direct.fill_dir("/many", 9000).expect("fill_dir");
    for number in 0..500 {
        direct
            .mkdir_p(&format!("/many/sub{number}/x"))
            .expect("mkdir_p");
    }
    direct.rm_rf("/many").expect("rm_rf");
    assert_eq!(inodes(&mut direct), before);
}

#[test]
fn rm_rf_removes_what_it_can() {
    let mut direct = Direct::start(&[
        DiskSpec::Formatted("ext4", 64 << 20),
        DiskSpec::Formatted("ext4", 64 << 20),
    ]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir_p("/d/a/busy").expect("mkdir_p");
    direct.mkdir_p("/d/other").expect("mkdir_p");
    direct.fill_dir("/d", 100).expect("fill_dir");
    direct.fill_dir("/d/a", 100).expect("fill_dir");
    // A mount point cannot be removed.
    direct.mount("/dev/sdb", "/d/a/busy").expect("mount");
    direct.touch("/d/a/busy/file").expect("touch");
    let error = direct.rm_rf("/d").expect_err("a mount point");
    assert_eq!(error.errno(), "EBUSY");
    let mut left = Vec::new();
    direct.find0("/d", &mut left).expect("find0");
    assert_eq!(left, b"/a\0/a/busy\0");
}

#[test]
fn a_directory_is_not_copied_into_itself_wherever_it_is_mounted() {
    let mut direct = Direct::mounted();
    direct.mkdir_p("/d/mounted").expect("mkdir_p");
    direct.mkdir("/again").expect("mkdir");
    for place in ["/d/mounted", "/again"] {
        direct.mount("/dev/sda", place).expect("mount");
    }
    for target in ["/d/x", "/again/d/x", "/d/mounted/x", "/again/d/mounted/x"] {
        let error = direct.cp_a("/d", target).expect_err(target);
        assert_eq!(error.errno(), "EINVAL", "{target}");
    }
    direct
        .umount("/d/mounted", &Default::default())
        .expect("umount");
    direct.cp_a("/d", "/again/x").expect("cp_a");
    assert!(
        direct
            .is_dir("/x/mounted", &Default::default())
            .expect("is_dir")
    );
}

#[test]
fn a_directory_is_listed_however_long_its_path_is() {
    let mut direct = Direct::mounted();
    deep_tree(&mut direct);
    let last = format!("/end{}", CHAINS - 1);
    let listing = direct.ll(&last).expect("ll");
    assert!(String::from_utf8_lossy(&listing).contains("file"));
}

#[test]
fn du_measures_a_tree_of_any_depth() {
    let mut direct = Direct::mounted();
    deep_tree(&mut direct);
    let whole = direct.du("/deep").expect("du");
    let directory = direct.lstatns("/deep").expect("lstatns").st_blocks / 2;
    assert_eq!(whole, directory * (CHAINS * CHAIN + 1) as i64);
}

#[test]
fn copies_are_as_deep_as_their_originals() {
    let mut direct = Direct::mounted();
    deep_tree(&mut direct);
    let last = format!("/end{}", CHAINS - 1);
    // The deepest file has another name, at the top.
    direct
        .ln(&format!("{last}/file"), "/deep/name")
        .expect("ln");
    direct.chmod(0o2751, &last).expect("chmod");
    for call in ["cp_r", "cp_a"] {
        let copy = format!("/{call}");
        match call {
            "cp_r" => direct.cp_r("/deep", &copy),
            _ => direct.cp_a("/deep", &copy),
        }
        .expect(call);
        assert_eq!(
            direct.du(&copy).expect("du"),
            direct.du("/deep").expect("du"),
            "{call}"
        );
        let name = direct.lstatns(&format!("{copy}/name")).expect("lstatns");
        let links = if call == "cp_a" { 2 } else { 1 };
        assert_eq!(name.st_nlink, links, "{call}");
        // The copy's own bottom, through links like those of the original.
        let mut above = copy.clone();
        for number in 0..CHAINS {
            let link = format!("/{call}-end{number}");
            direct
                .ln_s(&format!("{above}{}", "/d".repeat(CHAIN)), &link)
                .expect("ln_s");
            above = link;
        }
        let mode = direct.statns(&above).expect("statns").st_mode & 0o7777;
        let kept = if call == "cp_a" { 0o2751 } else { 0o751 };
        assert_eq!(mode, kept, "{call}");
        direct.rm_rf(&copy).expect("rm_rf");
    }
}

#[test]
fn readdir_tells_the_same_in_one_reply_and_in_parts() {
    let mut direct = Direct::mounted();
    direct.mkdir("/many").expect("mkdir");
    // More than the daemon reads, and more than it sends, at once.
    direct.fill_dir("/many", 9000).expect("fill_dir");
    direct.mkdir("/many/directory").expect("mkdir");
    direct.ln_s("/", "/many/link").expect("ln_s");
    direct.mkfifo(0o600, "/many/fifo").expect("mkfifo");
    let entries = direct.readdir("/many").expect("readdir");
    assert_eq!(entries.len(), 9000 + 3 + 2);
    let mut listing = Vec::new();
    direct
        .internal_readdir("/many", &mut listing)
        .expect("internal_readdir");
    let mut input = Decoder::new(&listing);
    for entry in &entries {
        assert_eq!(&Dirent::decode(&mut input).expect("an entry"), entry);
        let stat = direct.lstatns(&path(entry)).expect("lstatns");
        assert_eq!(stat.st_ino, entry.ino);
    }
    assert!(input.is_empty());
    let kind = |name: &[u8]| {
        let entry = entries.iter().find(|entry| entry.name == name);
        entry.map(|entry| char::from(entry.ftyp))
    };
    for (name, letter) in [
        ("directory", 'd'),
        ("link", 'l'),
        ("fifo", 'f'),
        ("00000000", 'r'),
    ] {
        assert_eq!(kind(name.as_bytes()), Some(letter), "{name}");
    }
}

fn path(entry: &Dirent) -> Vec<u8> {
    [b"/many/", entry.name.as_slice()].concat()
}

#[test]
fn copies_of_every_size_are_whole_and_keep_their_holes() {
    let mut direct = Direct::mounted();
    direct.mkdir("/from").expect("mkdir");
    // Around what is copied in one piece, and where the kernel begins to copy.
    for size in [0, 1, 4095, 4096, 16_384, 16_385, 100_001] {
        direct
            .fill_pattern("abcdefg", size, &format!("/from/{size}"))
            .expect("fill_pattern");
    }
    for file in ["/from/hole", "/from/end"] {
        direct.touch(file).expect("touch");
    }
    direct
        .truncate_size("/from/hole", 12_000)
        .expect("truncate_size");
    direct
        .truncate_size("/from/end", 1 << 20)
        .expect("truncate_size");
    direct.pwrite("/from/end", b"x", 500_000).expect("pwrite");
    for (call, to) in [("cp_r", "/recursive"), ("cp_a", "/archive")] {
        match call {
            "cp_r" => direct.cp_r("/from", to),
            _ => direct.cp_a("/from", to),
        }
        .expect(call);
        for entry in direct.readdir("/from").expect("readdir") {
            let name = String::from_utf8(entry.name).expect("a name");
            if entry.ftyp != b'r' {
                continue;
            }
            let (a, b) = (format!("/from/{name}"), format!("{to}/{name}"));
            assert!(direct.equal(&a, &b).expect("equal"), "{call}: {name}");
            let (a, b) = (direct.lstatns(&a), direct.lstatns(&b));
            let (a, b) = (a.expect("lstatns"), b.expect("lstatns"));
            assert_eq!(a.st_blocks, b.st_blocks, "{call}: {name}");
        }
    }
}

#[test]
fn a_file_is_not_emptied_by_a_copy_over_its_other_name() {
    let mut direct = Direct::mounted();
    direct.mkdir("/from").expect("mkdir");
    direct.mkdir_p("/to/from").expect("mkdir_p");
    direct
        .internal_write("/from/file", b"content")
        .expect("write");
    direct
        .internal_write("/from/other", b"more")
        .expect("write");
    direct.ln("/from/file", "/to/from/file").expect("ln");
    let error = direct.cp_r("/from", "/to").expect_err("the same file");
    assert_eq!(error.errno(), "EINVAL");
    let content = |direct: &mut Direct, path: &str| {
        let mut bytes = Vec::new();
        direct.download(path, &mut bytes).expect("download");
        bytes
    };
    assert_eq!(content(&mut direct, "/from/file"), b"content");
    // The others are copied all the same.
    assert_eq!(content(&mut direct, "/to/from/other"), b"more");
}

/// A filesystem where each of these directories has the next one twice, by other names.
fn image_of_twins(path: &Path) {
    const DIRECTORIES: usize = 40;
    let debugfs = |options: &[&str], commands: &str| {
        let script = path.with_extension("commands");
        fs::write(&script, commands).expect("commands");
        let output = Command::new("/usr/sbin/debugfs")
            .args(options)
            .arg("-f")
            .arg(script)
            .arg(path)
            .output()
            .expect("debugfs");
        String::from_utf8(output.stdout).expect("text")
    };
    let names: Vec<String> = (0..DIRECTORIES)
        .map(|number| format!("d{number}"))
        .collect();
    let (mut make, mut ask) = (String::new(), String::new());
    for name in &names {
        writeln!(make, "mkdir {name}").expect("a line");
        writeln!(ask, "stat {name}").expect("a line");
    }
    debugfs(&["-w"], &make);
    let said = debugfs(&[], &ask);
    let inodes: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("Inode: ")?.split_whitespace().next())
        .collect();
    assert_eq!(inodes.len(), DIRECTORIES, "{said}");
    let mut link = String::new();
    for (name, next) in names.iter().zip(&inodes[1..]) {
        for twin in ["a", "b"] {
            writeln!(link, "link <{next}> {name}/{twin}").expect("a line");
        }
    }
    for name in &names[1..] {
        writeln!(link, "unlink {name}").expect("a line");
    }
    debugfs(&["-w"], &link);
}

#[test]
fn a_walk_through_the_same_directories_ends() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let image = scratch.path().join("image");
    let file = fs::File::create(&image).expect("image");
    file.set_len(16 << 20).expect("image");
    let made = Command::new("/usr/sbin/mke2fs")
        .args(["-q", "-F", "-t", "ext4"])
        .arg(&image)
        .status();
    assert!(made.expect("mke2fs").success());
    image_of_twins(&image);
    let mut direct = Direct::start(&[DiskSpec::Image(image)]);
    direct.mount_ro("/dev/sda", "/").expect("mount");
    // They are what they are meant to be.
    assert!(
        direct
            .is_dir("/d0/a/b/a", &Default::default())
            .expect("is_dir")
    );
    assert!(
        direct
            .is_dir("/d0/b/a/a", &Default::default())
            .expect("is_dir")
    );
    let error = direct.du("/").expect_err("no end");
    assert_eq!(error.errno(), "ELOOP", "{error}");
    let mut out = std::io::sink();
    direct.find0("/", &mut out).expect_err("no end");
    direct
        .checksums_out("md5", "/d0", &mut out)
        .expect_err("no end");
    direct.ping_daemon().expect("ping");
}
