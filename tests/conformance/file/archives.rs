//! What guestfish 1.48 cannot ask of tar_in, and other calls that it hides.

use conformance::Direct;
use protocol::api::TarInOptions;
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
    assert!(direct.setxattr("user.c", "abc", 4, "/x").is_err());
    assert!(direct.setxattr("user.c", "abc", -1, "/x").is_err());
    assert!(direct.setcon("nonsense").is_err());
}
