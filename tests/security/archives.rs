//! Archives that try to be unpacked where they do not belong.

use std::path::Path;

use conformance::Direct;
use tar::{Builder, EntryType, Header};

/// A member: its kind, its name, and its data or its target.
type Member<'a> = (EntryType, &'a str, &'a str);

/// An archive of exactly these members; the crate's own checks are bypassed.
fn archive(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for &(kind, name, text) in members {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        let data = if kind == EntryType::Regular { text } else { "" };
        if kind != EntryType::Regular {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append(&header, data.as_bytes()).expect("archive");
    }
    builder.into_inner().expect("archive")
}

/// Unpacks archives into `/in` of a guest, and checks that nothing else of the
/// appliance, nor anything else in the guest, has changed.
struct Attempt {
    direct: Direct,
}

impl Attempt {
    fn new() -> Self {
        let mut direct = Direct::mounted();
        for directory in ["/in", "/etc", "/outside"] {
            direct.mkdir(directory).expect("mkdir");
        }
        direct
            .internal_write("/etc/passwd", b"the guest's own")
            .expect("write");
        // Also the appliance has such a directory.
        std::fs::create_dir_all(direct.root().join("tmp/outside")).expect("mkdir");
        direct.mkdir("/tmp").expect("mkdir");
        direct.mkdir("/tmp/outside").expect("mkdir");
        Self { direct }
    }

    fn unpack(&mut self, members: &[Member<'_>]) -> bool {
        let bytes = archive(members);
        let result = self
            .direct
            .tar_in(&mut bytes.as_slice(), "/in", &Default::default());
        self.direct.ping_daemon().expect("the daemon lost step");
        result.is_ok()
    }

    fn unharmed(&mut self) {
        let text = self.direct.pread("/etc/passwd", 100, 0).expect("pread");
        assert_eq!(text.as_slice(), b"the guest's own");
        for directory in ["/etc", "/outside", "/tmp/outside"] {
            let names = self.direct.ls0_names(directory);
            let expected: &[&str] = if directory == "/etc" {
                &["passwd"]
            } else {
                &[]
            };
            assert_eq!(names, expected, "{directory}");
        }
        let appliance = self.direct.root().join("tmp/outside");
        assert_eq!(std::fs::read_dir(appliance).expect("read").count(), 0);
        let evil = self.direct.root().join("evil");
        assert!(!Path::new(&evil).exists());
    }
}

trait Names {
    fn ls0_names(&mut self, directory: &str) -> Vec<String>;
}

impl Names for Direct {
    fn ls0_names(&mut self, directory: &str) -> Vec<String> {
        let mut list = Vec::new();
        self.ls0(directory, &mut list).expect("ls0");
        list.split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }
}

#[test]
fn names_do_not_lead_out_of_the_directory() {
    let mut attempt = Attempt::new();
    for name in [
        "../outside/evil",
        "a/../../outside/evil",
        "..",
        "x/..",
        "../../../../evil",
    ] {
        assert!(
            !attempt.unpack(&[(EntryType::Regular, name, "evil")]),
            "{name}"
        );
        attempt.unharmed();
    }
    // Without their slash these are harmless.
    assert!(attempt.unpack(&[(EntryType::Regular, "/outside/evil", "evil")]));
    assert!(
        attempt
            .direct
            .is_file("/in/outside/evil", &Default::default())
            .expect("is_file")
    );
    attempt.unharmed();
}

#[test]
fn links_from_the_archive_are_not_followed() {
    for target in ["/outside", "../outside", "/tmp/outside", "x/../../outside"] {
        let mut attempt = Attempt::new();
        assert!(!attempt.unpack(&[
            (EntryType::Symlink, "l", target),
            (EntryType::Regular, "l/evil", "evil"),
            (EntryType::Symlink, "sub/m", target),
            (EntryType::Link, "l/hard", "sub/m"),
        ]));
        assert_eq!(
            attempt.direct.readlink("/in/l").expect("readlink"),
            target.as_bytes()
        );
        attempt.unharmed();
    }
}

#[test]
fn a_file_replaces_a_link_and_not_its_target() {
    for target in ["/etc/passwd", "../etc/passwd"] {
        let mut attempt = Attempt::new();
        attempt.direct.ln_s(target, "/in/passwd").expect("ln_s");
        assert!(attempt.unpack(&[(EntryType::Regular, "passwd", "evil")]));
        assert!(!attempt.direct.is_symlink("/in/passwd").expect("is_symlink"));
        attempt.unharmed();
    }
}

#[test]
fn links_in_the_guest_stay_in_the_guest() {
    let mut attempt = Attempt::new();
    // An absolute link leads to the guest's directory, not the appliance's.
    attempt.direct.ln_s("/tmp/deeper", "/in/l").expect("ln_s");
    attempt.direct.mkdir("/tmp/deeper").expect("mkdir");
    std::fs::create_dir_all(attempt.direct.root().join("tmp/deeper")).expect("mkdir");
    assert!(attempt.unpack(&[(EntryType::Regular, "l/file", "text")]));
    assert_eq!(
        attempt
            .direct
            .pread("/tmp/deeper/file", 100, 0)
            .expect("pread"),
        b"text"
    );
    let appliance = attempt.direct.root().join("tmp/deeper");
    assert_eq!(std::fs::read_dir(appliance).expect("read").count(), 0);
    attempt.unharmed();
}

#[test]
fn hard_links_reach_nothing_outside() {
    let mut attempt = Attempt::new();
    for target in ["/etc/passwd", "../etc/passwd", "../../../../etc/passwd"] {
        let members = [
            (EntryType::Link, "hard", target),
            (EntryType::Regular, "hard", "evil"),
        ];
        assert!(!attempt.unpack(&members), "{target}");
        attempt.unharmed();
    }
}

#[test]
fn metadata_of_a_directory_does_not_go_through_a_link() {
    let mut attempt = Attempt::new();
    attempt.direct.mkdir("/in/sub").expect("mkdir");
    attempt.direct.chmod(0o700, "/in/sub").expect("chmod");
    attempt.unpack(&[
        (EntryType::Directory, "d", ""),
        (EntryType::Symlink, "d", "sub"),
    ]);
    let stat = attempt.direct.lstatns("/in/sub").expect("stat");
    assert_eq!(stat.st_mode & 0o7777, 0o700);
    attempt.unharmed();
}

#[test]
fn sizes_that_are_lies_are_found_out() {
    let mut attempt = Attempt::new();
    for size in [u64::MAX, i64::MAX as u64, 1 << 40, 513] {
        for kind in [
            EntryType::Regular,
            EntryType::GNULongName,
            EntryType::XHeader,
            EntryType::Directory,
        ] {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..1].copy_from_slice(b"x");
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(size);
            header.set_cksum();
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend_from_slice(&[b'x'; 512]);
            let result = attempt
                .direct
                .tar_in(&mut bytes.as_slice(), "/in", &Default::default());
            assert!(result.is_err(), "{size} {kind:?}");
            attempt.direct.ping_daemon().expect("the daemon lost step");
        }
    }
}
