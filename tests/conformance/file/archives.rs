//! What guestfish 1.48 cannot ask of tar_in, and other calls that it hides.

use conformance::Direct;
use protocol::api::{TarInOptions, TarOutOptions};
use tar::{Builder, EntryType, Header};

fn archive() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    builder
        .append_data(&mut header.clone(), "lib/", std::io::empty())
        .expect("archive");
    header.set_entry_type(EntryType::Regular);
    header.set_size(4);
    builder
        .append_data(&mut header, "lib/file", &b"text"[..])
        .expect("archive");
    builder.into_inner().expect("archive")
}

#[test]
fn keepdirlink_keeps_a_link_to_a_directory() {
    let mut direct = Direct::mounted();
    for keep in [true, false] {
        let root = if keep { "/keep" } else { "/plain" };
        direct.mkdir(root).expect("mkdir");
        direct.mkdir_p(&format!("{root}/usr/lib")).expect("mkdir");
        direct
            .ln_s("usr/lib", &format!("{root}/lib"))
            .expect("ln_s");
        let options = TarInOptions {
            keepdirlink: Some(keep),
            ..TarInOptions::default()
        };
        direct
            .tar_in(&mut archive().as_slice(), root, &options)
            .expect("tar_in");
        let link = direct
            .is_symlink(&format!("{root}/lib"))
            .expect("is_symlink");
        assert_eq!(link, keep);
        let file = format!("{root}/usr/lib/file");
        assert_eq!(direct.exists(&file).expect("exists"), keep);
        assert_eq!(
            direct
                .pread(&format!("{root}/lib/file"), 10, 0)
                .expect("pread"),
            b"text"
        );
    }
}

#[test]
fn an_unknown_compression_leaves_the_connection_in_step() {
    let mut direct = Direct::mounted();
    let options = TarInOptions {
        compress: Some("none"),
        ..TarInOptions::default()
    };
    let large = vec![0; 1 << 20];
    assert!(direct.tar_in(&mut large.as_slice(), "/", &options).is_err());
    direct.ping_daemon().expect("ping");
}

#[test]
fn internal_upload_writes_in_the_appliance() {
    let mut direct = Direct::mounted();
    direct
        .internal_upload(&mut &b"text"[..], "/tmp/uploaded", 0o640)
        .expect("upload");
    let path = direct.root().join("tmp/uploaded");
    assert_eq!(std::fs::read(&path).expect("read"), b"text");
    assert!(
        direct
            .internal_upload(&mut &b""[..], "/tmp/x", 0o10000)
            .is_err()
    );
    direct.ping_daemon().expect("ping");
}

#[test]
fn attributes_of_many_files_in_one_call() {
    let mut direct = Direct::mounted();
    direct.touch("/x").expect("touch");
    direct.touch("/y").expect("touch");
    direct.setxattr("user.b", "2", 1, "/x").expect("setxattr");
    direct.setxattr("user.a", "1", 1, "/x").expect("setxattr");
    let list = direct
        .internal_lxattrlist("/", &["x", "none", "y"])
        .expect("internal_lxattrlist");
    let found: Vec<(&[u8], &[u8])> = list
        .iter()
        .map(|each| (each.attrname.as_slice(), each.attrval.as_slice()))
        .collect();
    let expected: [(&[u8], &[u8]); 5] = [
        (b"", b"2\0"),
        (b"user.a", b"1"),
        (b"user.b", b"2"),
        (b"", b""),
        (b"", b"0\0"),
    ];
    assert_eq!(found, expected);
    assert!(direct.setxattr("user.c", "abc", 5, "/x").is_err());
    assert!(direct.setxattr("user.c", "abc", -1, "/x").is_err());
    assert!(direct.setcon("nonsense").is_err());
}

/// Enough files that a thread finishes most of them; three cannot be made.
#[test]
fn many_small_files_keep_their_data_and_metadata() {
    const COUNT: u64 = 500;
    const FAILING: [u64; 3] = [100, 301, 499];
    let mut direct = Direct::mounted();
    direct.mkdir("/many").expect("mkdir");
    for place in FAILING {
        direct
            .mkdir_p(&format!("/many/file-{place}/full"))
            .expect("mkdir_p");
    }
    let mut builder = Builder::new(Vec::new());
    for place in 0..COUNT {
        let content = place.to_string().repeat(place as usize * 10);
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o4700 + (place % 64) as u32);
        header.set_uid(place % 3 * 1000);
        header.set_gid(place % 5);
        header.set_mtime(1_000_000_000 + place);
        header.set_size(content.len() as u64);
        let name = format!("file-{place}");
        builder
            .append_data(&mut header, name, content.as_bytes())
            .expect("archive");
    }
    let archive = builder.into_inner().expect("archive");
    let error = direct
        .tar_in(&mut archive.as_slice(), "/many", &TarInOptions::default())
        .expect_err("three directories are in the way");
    let message = error.to_string();
    let at = |place: u64| message.find(&format!("file-{place}:")).expect("named");
    assert!(at(100) < at(301) && at(301) < at(499), "{message}");
    for place in (0..COUNT).filter(|place| !FAILING.contains(place)) {
        let path = format!("/many/file-{place}");
        let stat = direct.lstatns(&path).expect("lstatns");
        let wanted = (
            0o100_000 + 0o4700 + (place % 64) as i64,
            (place % 3 * 1000) as i64,
            (place % 5) as i64,
            1_000_000_000 + place as i64,
        );
        let found = (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime_sec);
        assert_eq!(found, wanted, "{path}");
        let content = place.to_string().repeat(place as usize * 10);
        let read = direct.pread(&path, 100_000, 0).expect("pread");
        assert_eq!(read, content.as_bytes(), "{path}");
    }
}

#[test]
fn the_last_of_several_members_for_a_directory_counts() {
    let mut builder = Builder::new(Vec::new());
    let mut add = |name: &str, kind, mode, mtime| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(mtime);
        header.set_size(0);
        let added = match kind {
            EntryType::Symlink => builder.append_link(&mut header, name, "/elsewhere"),
            _ => builder.append_data(&mut header, name, std::io::empty()),
        };
        added.expect("archive");
    };
    let (dir, file, link) = (EntryType::Directory, EntryType::Regular, EntryType::Symlink);
    for (name, kind, mode, mtime) in [
        ("d/", dir, 0o700, 1),
        ("d/", dir, 0o751, 2),
        ("d/f", file, 0o644, 3),
        ("e/", dir, 0o700, 1),
        ("e/f", file, 0o644, 3),
        ("e/", dir, 0o751, 2),
        ("g/", dir, 0o700, 1),
        ("h", file, 0o644, 3),
        ("g/", dir, 0o751, 2),
        // Its metadata waits for a link that is made at the end.
        ("i/", dir, 0o700, 1),
        ("i/l", link, 0o777, 3),
        ("j", file, 0o644, 3),
        ("i/", dir, 0o751, 2),
    ] {
        add(name, kind, mode, mtime);
    }
    let archive = builder.into_inner().expect("archive");
    let mut direct = Direct::mounted();
    direct
        .tar_in(&mut archive.as_slice(), "/", &TarInOptions::default())
        .expect("tar_in");
    for path in ["/d", "/e", "/g", "/i"] {
        let stat = direct.statns(path).expect("statns");
        assert_eq!(
            (stat.st_mode & 0o7777, stat.st_mtime_sec),
            (0o751, 2),
            "{path}"
        );
    }
}

#[test]
fn every_compression_goes_both_ways() {
    let mut direct = Direct::mounted();
    direct.mkdir("/from").expect("mkdir");
    direct.internal_write("/from/f", "content").expect("write");
    for compress in [
        None,
        Some("gzip"),
        Some("bzip2"),
        Some("xz"),
        Some("lzop"),
        Some("lzma"),
        Some("zstd"),
    ] {
        let what = compress.unwrap_or("plain");
        let mut archive = Vec::new();
        let options = TarOutOptions {
            compress,
            ..TarOutOptions::default()
        };
        direct.tar_out("/from", &mut archive, &options).expect(what);
        assert_eq!(archive.get(257..262) == Some(b"ustar"), compress.is_none());
        let to = format!("/{what}");
        direct.mkdir(&to).expect("mkdir");
        let options = TarInOptions {
            compress,
            ..TarInOptions::default()
        };
        direct
            .tar_in(&mut archive.as_slice(), &to, &options)
            .expect(what);
        let content = direct.pread(&format!("{to}/f"), 10, 0).expect("pread");
        assert_eq!(content, b"content", "{what}");
    }
}

#[test]
fn compressed_files_do_not_name_their_source() {
    let mut direct = Direct::mounted();
    direct
        .internal_write("/its-own-name", "content")
        .expect("write");
    for program in ["gzip", "lzop", "bzip2", "xz"] {
        let mut compressed = Vec::new();
        direct
            .compress_out(
                program,
                "/its-own-name",
                &mut compressed,
                &Default::default(),
            )
            .expect(program);
        assert!(!compressed.is_empty());
        assert!(
            !compressed.windows(3).any(|part| part == b"its"),
            "{program}: {compressed:?}"
        );
    }
}
