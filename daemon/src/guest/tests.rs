//! Hostile trees. Each test runs with the kernel's resolver and with the one
//! for kernels that have none.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;
use protocol::{GuestPath, Result};
use tempfile::TempDir;

use super::{Guest, file_type};

mod maze;

/// A directory with a guest in it and a secret beside it.
struct Tree {
    dir: TempDir,
}

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "the appliance's").unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("etc/passwd"), "the guest's").unwrap();
        Self { dir }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("root").join(name)
    }

    fn link(&self, target: &str, name: &str) {
        symlink(target, self.at(name)).unwrap();
    }

    fn outside(&self) -> std::path::PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn guests(&self) -> [Guest; 2] {
        let root = self.outside().join("root");
        [Guest::new(&root), Guest::emulated(&root)]
    }
}

fn path(text: &str) -> GuestPath {
    GuestPath::new(text).unwrap()
}

fn text(guest: &Guest, name: &str) -> Result<String> {
    let mut file = guest.open_regular(&path(name), OFlag::O_RDONLY)?;
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    Ok(text)
}

fn errno<T: std::fmt::Debug>(result: Result<T>) -> Errno {
    let error = result.unwrap_err();
    error
        .errno()
        .unwrap_or_else(|| panic!("{error} has no errno"))
}

#[test]
fn links_resolve_inside_the_guest() {
    let tree = Tree::new();
    tree.link("/etc/passwd", "absolute");
    tree.link("../../../../../../etc/passwd", "climbing");
    tree.link("/etc", "dirlink");
    tree.link("dirlink/../dirlink/passwd", "dir/../roundabout");
    for guest in tree.guests() {
        for name in [
            "/absolute",
            "/climbing",
            "/dirlink/passwd",
            "/roundabout",
            "/../../etc/passwd",
            "/dir/../../../etc/passwd",
            "//etc//./passwd",
        ] {
            assert_eq!(text(&guest, name).unwrap(), "the guest's", "{name}");
        }
    }
}

#[test]
fn nothing_leads_out() {
    let tree = Tree::new();
    let outside = tree.outside();
    tree.link(outside.join("secret").to_str().unwrap(), "by-name");
    tree.link("../secret", "up");
    tree.link("..", "dir/up");
    for guest in tree.guests() {
        for name in [
            "/by-name",
            "/up",
            "/../secret",
            "/dir/up/../secret",
            "/dir/../../secret",
        ] {
            assert_eq!(errno(text(&guest, name)), Errno::ENOENT, "{name}");
            assert_eq!(errno(guest.stat(&path(name))), Errno::ENOENT, "{name}");
        }
        let root = guest.stat(&path("/../..")).unwrap();
        assert_eq!(root.st_ino, fs::metadata(tree.at("")).unwrap().ino());
    }
}

#[test]
fn links_of_the_proc_filesystem_are_not_followed() {
    // With the appliance's own root as the guest (-r) these are there to be found.
    let guest = Guest::new("/");
    let result = guest.open(&path("/proc/self/fd/0"), OFlag::O_RDONLY);
    assert_eq!(errno(result), Errno::ELOOP);
    let result = guest.open_regular(&path("/proc/self/root/etc/passwd"), OFlag::O_RDONLY);
    assert_eq!(errno(result), Errno::ELOOP);
}

#[test]
fn loops_of_links_end() {
    let tree = Tree::new();
    tree.link("loop", "loop");
    tree.link("b", "a");
    tree.link("a", "b");
    for guest in tree.guests() {
        for name in ["/loop", "/a", "/a/x"] {
            assert_eq!(errno(guest.handle(&path(name))), Errno::ELOOP, "{name}");
            let made = guest.create(&path(name), OFlag::O_WRONLY, Mode::S_IRWXU);
            assert_eq!(errno(made), Errno::ELOOP, "{name}");
        }
        assert!(guest.handle_nofollow(&path("/loop")).is_ok());
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let tree = Tree::new();
    mkfifo(&tree.at("fifo"), Mode::S_IRWXU).unwrap();
    let node = |name: &str, kind, dev| {
        mknod(&tree.at(name), kind, Mode::S_IRWXU, dev).unwrap();
    };
    // Opening this one would succeed, and a daemon that reads it never ends.
    node("zero", SFlag::S_IFCHR, makedev(1, 5));
    node("disk", SFlag::S_IFBLK, makedev(7, 250));
    let socket = std::os::unix::net::UnixListener::bind(tree.at("socket")).unwrap();
    tree.link("fifo", "link");
    let start = Instant::now();
    for guest in tree.guests() {
        for name in ["/fifo", "/zero", "/disk", "/socket", "/link"] {
            let name = path(name);
            for flags in [OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_RDWR] {
                assert_eq!(errno(guest.open(&name, flags)), Errno::EINVAL, "{name}");
                assert_eq!(
                    errno(guest.open_regular(&name, flags)),
                    Errno::EINVAL,
                    "{name}"
                );
                let made = guest.create(&name, flags | OFlag::O_TRUNC, Mode::S_IRWXU);
                assert_eq!(errno(made), Errno::EINVAL, "{name}");
            }
            // It can be looked at all the same.
            assert!(guest.lstat(&name).is_ok());
        }
        assert_eq!(
            errno(guest.open_regular(&path("/dir"), OFlag::O_RDONLY)),
            Errno::EISDIR
        );
        assert!(guest.open(&path("/dir"), OFlag::O_RDONLY).is_ok());
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "it waited for a pipe"
    );
    drop(socket);
}

#[test]
fn files_are_made_inside_the_guest() {
    let tree = Tree::new();
    let outside = tree.outside();
    tree.link("/dir/target", "dangling");
    tree.link("../../dir/relative", "dir/climbing");
    tree.link(outside.join("made-outside").to_str().unwrap(), "escape");
    for guest in tree.guests() {
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC;
        let mode = Mode::from_bits_truncate(0o640);
        let make = |name: &str| guest.create(&path(name), flags, mode);
        for (name, real) in [
            ("/new", "new"),
            ("/dangling", "dir/target"),
            ("/dir/climbing", "dir/relative"),
            ("/../../above", "above"),
        ] {
            make(name).unwrap().write_all(b"x").unwrap();
            let meta = fs::symlink_metadata(tree.at(real)).unwrap();
            assert!(meta.is_file(), "{name}");
            assert_eq!(meta.mode() & 0o7777, 0o640, "{name}");
            // Again, now that it is there.
            make(name).unwrap();
            assert_eq!(
                fs::read(tree.at(real)).unwrap(),
                b"",
                "{name} was not truncated"
            );
            let exclusive = guest.create(&path(name), flags | OFlag::O_EXCL, mode);
            assert_eq!(errno(exclusive), Errno::EEXIST, "{name}");
            fs::remove_file(tree.at(real)).unwrap();
        }
        let exclusive = guest.create(&path("/dangling"), flags | OFlag::O_EXCL, mode);
        assert_eq!(errno(exclusive), Errno::EEXIST);
        assert_eq!(errno(make("/escape")), Errno::ENOENT);
        assert_eq!(errno(make("/dir")), Errno::EISDIR);
        assert_eq!(errno(make("/dir/none/x")), Errno::ENOENT);
        assert_eq!(errno(make("/etc/passwd/x")), Errno::ENOTDIR);
        assert!(!outside.join("made-outside").exists());
        assert!(!outside.join("above").exists());
    }
}

#[test]
fn places_are_a_directory_and_one_name() {
    let tree = Tree::new();
    tree.link("/etc", "dirlink");
    tree.link("dirlink", "last");
    for guest in tree.guests() {
        let place = |name: &str| guest.parent(&path(name));
        for (name, last) in [
            ("/etc/passwd", "passwd"),
            ("/dirlink/passwd", "passwd"),
            ("/last", "last"),
            ("/dir/", "dir"),
            ("/dir//", "dir"),
            ("/not-yet", "not-yet"),
            ("/not-yet/", "not-yet"),
            ("/", "."),
            ("//", "."),
            ("/..", "."),
            ("/dir/..", "."),
            ("/dir/.", "."),
            ("/dir/../", "."),
        ] {
            assert_eq!(place(name).unwrap().name, last, "{name}");
        }
        let ino = |name: &str| place(name).unwrap().stat().unwrap().st_ino;
        let real = |name: &str| fs::symlink_metadata(tree.at(name)).unwrap().ino();
        assert_eq!(ino("/dirlink/passwd"), real("etc/passwd"));
        assert_eq!(ino("/last"), real("last"));
        assert_eq!(ino("/.."), real(""));
        assert_eq!(ino("/dir/../../.."), real(""));
        // With its slash the name of a link would lead the system call astray.
        assert_eq!(errno(place("/dirlink/")), Errno::ENOTDIR);
        assert_eq!(errno(place("/etc/passwd/")), Errno::ENOTDIR);
        assert_eq!(errno(place("/etc/passwd/x")), Errno::ENOTDIR);
        assert_eq!(errno(place("/none/x")), Errno::ENOENT);
    }
}

#[test]
fn resolved_paths_have_no_links() {
    let tree = Tree::new();
    tree.link("/etc", "dirlink");
    tree.link("nowhere", "dangling");
    for guest in tree.guests() {
        let resolve = |name: &str| guest.resolve(&path(name)).map(|path| path.to_string());
        assert_eq!(resolve("/dirlink/passwd").unwrap(), "/etc/passwd");
        assert_eq!(resolve("/dir/../../dirlink//").unwrap(), "/etc");
        let named = |name: &str| {
            guest
                .resolve_nofollow(&path(name))
                .map(|path| path.to_string())
        };
        assert_eq!(named("/dirlink/passwd").unwrap(), "/etc/passwd");
        assert_eq!(named("/dir/../../dirlink").unwrap(), "/dirlink");
        assert_eq!(named("/dirlink/").unwrap(), "/etc");
        assert_eq!(named("/").unwrap(), "/");
        assert_eq!(resolve("/").unwrap(), "/");
        assert_eq!(resolve("/..").unwrap(), "/");
        assert_eq!(errno(guest.resolve(&path("/dangling"))), Errno::ENOENT);
    }
    assert_eq!(
        Guest::new("/").resolve(&path("/usr")).unwrap(),
        path("/usr")
    );
}

#[test]
fn links_are_read_as_they_are() {
    let tree = Tree::new();
    tree.link("/etc/../\u{fffd} x", "link");
    for guest in tree.guests() {
        let read = |name: &str| guest.read_link(&path(name));
        assert_eq!(read("/link").unwrap(), "/etc/../\u{fffd} x".as_bytes());
        assert_eq!(errno(read("/etc/passwd")), Errno::EINVAL);
        assert_eq!(errno(read("/none")), Errno::ENOENT);
        let stat = guest.lstat(&path("/link")).unwrap();
        assert_eq!(file_type(&stat), SFlag::S_IFLNK);
    }
}

#[test]
fn directories_are_listed() {
    let tree = Tree::new();
    tree.link("/etc", "dirlink");
    for guest in tree.guests() {
        let mut dir = guest.directory(&path("/dirlink")).unwrap();
        let names: Vec<_> = dir
            .iter()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
            .collect();
        assert!(names.contains(&"passwd".to_owned()));
        assert_eq!(errno(guest.directory(&path("/etc/passwd"))), Errno::ENOTDIR);
    }
}

#[test]
fn errors_name_the_path() {
    let tree = Tree::new();
    for guest in tree.guests() {
        let error = guest.open(&path("/none"), OFlag::O_RDONLY).unwrap_err();
        assert_eq!(error.to_string(), "/none: No such file or directory");
        let long = path(&format!("/{}", "x".repeat(5000)));
        assert_eq!(errno(guest.handle(&long)), Errno::ENAMETOOLONG);
    }
}

#[test]
fn a_directory_is_not_a_mounted_root() {
    let tree = Tree::new();
    let [guest, _] = tree.guests();
    assert!(!guest.is_mounted());
    assert!(guest.require_root().is_err());
    assert!(Guest::new("/").require_root().is_ok());
    assert!(Guest::new("/proc").is_mounted());
    assert!(!Guest::new("/no/such/sysroot").is_mounted());
}
