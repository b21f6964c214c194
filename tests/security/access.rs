//! Contents, status, directories, links and text of a hostile guest's files.

use protocol::api::{
    CopyAttributesOptions, IsBlockdevOptions, IsChardevOptions, IsDirOptions, IsFifoOptions,
    IsFileOptions, IsSocketOptions, MktempOptions,
};

use crate::hostile::{Attack, Hostile, sent, told};

const ALL: CopyAttributesOptions = CopyAttributesOptions {
    all: Some(true),
    mode: None,
    xattributes: None,
    ownership: None,
};

/// A file that every guest here has, or can get.
const OWN: &str = "/own";

const CONTENTS: &[Attack] = &[
    ("touch", |d, p| told(d.touch(p))),
    ("write_file", |d, p| told(d.write_file(p, "overwritten", 0))),
    ("fallocate", |d, p| told(d.fallocate(p, 100))),
    ("truncate", |d, p| told(d.truncate(p))),
    ("truncate_size", |d, p| told(d.truncate_size(p, 7))),
    ("pread", |d, p| told(d.pread(p, 100, 0))),
    ("fill", |d, p| told(d.fill(1, 100, p))),
    ("fill_pattern", |d, p| told(d.fill_pattern("ab", 100, p))),
    ("internal_write", |d, p| told(d.internal_write(p, b"over"))),
    ("pwrite", |d, p| told(d.pwrite(p, b"overwritten", 0))),
    ("fallocate64", |d, p| told(d.fallocate64(p, 100))),
    ("internal_write_append", |d, p| {
        told(d.internal_write_append(p, b"more"))
    }),
    ("fill_dir", |d, p| told(d.fill_dir(p, 3))),
];

const STATUS: &[Attack] = &[
    ("chmod", |d, p| told(d.chmod(0o777, p))),
    ("chown", |d, p| told(d.chown(1, 1, p))),
    ("exists", |d, p| told(d.exists(p))),
    ("is_file", |d, p| {
        let followsymlinks = Some(true);
        told(d.is_file(p, &IsFileOptions { followsymlinks }))
    }),
    ("is_dir", |d, p| {
        let followsymlinks = Some(true);
        told(d.is_dir(p, &IsDirOptions { followsymlinks }))
    }),
    ("is_chardev", |d, p| {
        let followsymlinks = Some(true);
        told(d.is_chardev(p, &IsChardevOptions { followsymlinks }))
    }),
    ("is_blockdev", |d, p| {
        let followsymlinks = Some(true);
        told(d.is_blockdev(p, &IsBlockdevOptions { followsymlinks }))
    }),
    ("is_fifo", |d, p| {
        let followsymlinks = Some(true);
        told(d.is_fifo(p, &IsFifoOptions { followsymlinks }))
    }),
    ("is_socket", |d, p| {
        let followsymlinks = Some(true);
        told(d.is_socket(p, &IsSocketOptions { followsymlinks }))
    }),
    ("is_symlink", |d, p| told(d.is_symlink(p))),
    ("du", |d, p| told(d.du(p))),
    ("utimens", |d, p| told(d.utimens(p, 1, 1, 1, 1))),
    ("lchown", |d, p| told(d.lchown(1, 1, p))),
    ("filesize", |d, p| told(d.filesize(p))),
    ("copy_attributes from", |d, p| {
        d.touch(OWN).expect("touch");
        let copied = told(d.copy_attributes(p, OWN, &ALL));
        copied + &told(d.lstatns(OWN))
    }),
    ("copy_attributes to", |d, p| {
        d.touch(OWN).expect("touch");
        told(d.copy_attributes(OWN, p, &ALL))
    }),
    ("statns", |d, p| told(d.statns(p))),
    ("lstatns", |d, p| told(d.lstatns(p))),
    ("internal_lstatnslist", |d, p| {
        told(d.internal_lstatnslist(p, &["file", "..", ".", "dir", ""]))
    }),
];

const DIRECTORIES: &[Attack] = &[
    ("ll", |d, p| told(d.ll(p))),
    ("llz", |d, p| told(d.llz(p))),
    ("rm", |d, p| told(d.rm(p))),
    ("rm_f", |d, p| told(d.rm_f(p))),
    ("rmdir", |d, p| told(d.rmdir(p))),
    ("rmdir of an empty one", |d, p| {
        told(d.rmdir(&format!("{p}/empty")))
    }),
    ("rm_rf", |d, p| told(d.rm_rf(p))),
    ("rm_rf of what holds it", |d, p| {
        told(d.rm_rf(p.rsplit_once('/').map_or("/", |(above, _)| above)))
    }),
    ("mkdir", |d, p| told(d.mkdir(p))),
    ("mkdir below", |d, p| told(d.mkdir(&format!("{p}/made")))),
    ("mkdir_p", |d, p| told(d.mkdir_p(&format!("{p}/made/deep")))),
    ("mkdir_mode", |d, p| {
        told(d.mkdir_mode(&format!("{p}/made"), 0o777))
    }),
    ("mkdtemp", |d, p| told(d.mkdtemp(&format!("{p}/XXXXXX")))),
    ("mktemp", |d, p| {
        told(d.mktemp(&format!("{p}/XXXXXX"), &MktempOptions::default()))
    }),
    ("readdir", |d, p| told(d.readdir(p))),
    ("ls0", |d, p| sent(|file| d.ls0(p, file))),
    ("internal_readdir", |d, p| {
        sent(|file| d.internal_readdir(p, file))
    }),
];

const LINKS: &[Attack] = &[
    ("mknod", |d, p| told(d.mknod(0o644, 0, 0, p))),
    ("mkfifo", |d, p| told(d.mkfifo(0o644, &format!("{p}/made")))),
    ("mknod_b", |d, p| {
        told(d.mknod_b(0o644, 7, 0, &format!("{p}/made")))
    }),
    ("mknod_c", |d, p| {
        told(d.mknod_c(0o644, 1, 3, &format!("{p}/made")))
    }),
    ("realpath", |d, p| told(d.realpath(p))),
    ("ln from", |d, p| {
        d.rm_f(OWN).expect("rm_f");
        told(d.ln(p, OWN)) + &told(d.lstatns(OWN))
    }),
    ("ln to", |d, p| {
        d.touch("/another").expect("touch");
        told(d.ln("/another", &format!("{p}/made")))
    }),
    ("ln_f to", |d, p| told(d.ln_f("/another", p))),
    ("ln_f of a relative path", |d, _| {
        told(d.ln_f("outside/file", "/made")) + &told(d.lstatns("/made"))
    }),
    ("ln_s", |d, p| told(d.ln_s("made", p))),
    ("ln_sf", |d, p| told(d.ln_sf("made", p))),
    ("ln_sf below", |d, p| {
        told(d.ln_sf("made", &format!("{p}/file")))
    }),
    ("readlink", |d, p| {
        // The link's own text may say anything.
        let _ = told(d.readlink(p));
        told(d.readlink(&format!("{p}/file")))
    }),
    ("internal_readlinklist", |d, p| {
        told(d.internal_readlinklist(p, &["file", "..", "dir"]))
    }),
];

const TEXT: &[Attack] = &[
    ("file", |d, p| told(d.file(p))),
    ("strings", |d, p| told(d.strings(p))),
    ("strings_e", |d, p| told(d.strings_e("l", p))),
    ("hexdump", |d, p| told(d.hexdump(p))),
    ("wc_l", |d, p| told(d.wc_l(p))),
    ("wc_w", |d, p| told(d.wc_w(p))),
    ("wc_c", |d, p| told(d.wc_c(p))),
    ("head", |d, p| told(d.head(p))),
    ("head_n", |d, p| told(d.head_n(3, p))),
    ("head_n but some", |d, p| told(d.head_n(-3, p))),
    ("tail", |d, p| told(d.tail(p))),
    ("tail_n", |d, p| told(d.tail_n(3, p))),
    ("tail_n from one on", |d, p| told(d.tail_n(-3, p))),
    ("zfile", |d, p| told(d.zfile("gzip", p))),
];

fn attack(attacks: &[Attack]) {
    for decoy in [false, true] {
        Hostile::new(decoy).attack(attacks);
    }
}

#[test]
fn contents_stay_inside() {
    attack(CONTENTS);
}

#[test]
fn status_stays_inside() {
    attack(STATUS);
}

#[test]
fn directories_stay_inside() {
    attack(DIRECTORIES);
}

#[test]
fn links_stay_inside() {
    attack(LINKS);
}

#[test]
fn text_stays_inside() {
    attack(TEXT);
}
