//! Attributes, searches, copies, transfers, archives and checksums of a hostile
//! guest's files, and what other areas do with a single path.

use std::io::{Seek, Write};
use std::process::Command;

use conformance::{ClientError, Direct};
use protocol::api::{
    CompressOutOptions, CopyDeviceToFileOptions, CopyFileToDeviceOptions, CopyFileToFileOptions,
    CpioOutOptions, FstrimOptions, GlobExpandOptions, GrepOptions, MksquashfsOptions,
    RemountOptions, RsyncOptions, SelinuxRelabelOptions, SetE2attrsOptions, SetfilesOptions,
    TarInOptions, TarOutOptions, UmountOptions,
};

use crate::hostile::{Attack, Hostile, sent, told};

/// A file that every guest here can get, and what is in it.
const OWN: &str = "/own";
const OWN_CONTENT: &[u8] = b"own content\n";

/// Makes [`OWN`] again, and shows afterwards what has become of it.
fn with_own<T: std::fmt::Debug>(
    direct: &mut Direct,
    call: impl FnOnce(&mut Direct) -> Result<T, ClientError>,
) -> String {
    direct.rm_rf(OWN).expect("rm_rf");
    direct.internal_write(OWN, OWN_CONTENT).expect("write");
    let result = told(call(direct));
    let content = told(direct.pread(OWN, 1000, 0));
    format!("{result} {content} {}", told(direct.lstatns(OWN)))
}

/// Copies to a path below a new directory, and shows the content of the copy.
fn with_copy<T: std::fmt::Debug>(
    direct: &mut Direct,
    call: impl FnOnce(&mut Direct, &str) -> Result<T, ClientError>,
) -> String {
    direct.rm_rf("/copy").expect("rm_rf");
    let result = told(call(direct, "/copy"));
    let content = told(direct.pread("/copy", 1000, 0));
    let below = told(direct.pread("/copy/inside", 1000, 0));
    format!("{result} {content} {below}")
}

/// What the daemon sent, decompressed.
fn unpacked(call: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>) -> String {
    let mut packed = tempfile::tempfile().expect("a scratch file");
    let mut file = Vec::new();
    let result = told(call(&mut file));
    packed.write_all(&file).expect("write");
    packed.rewind().expect("rewind");
    let gzip = Command::new("gzip").arg("-dc").stdin(packed).output();
    format!("{result} {:?}", gzip.expect("gzip").stdout)
}

/// A tar archive of small files with these names.
fn tar(names: &[&str]) -> Vec<u8> {
    let mut archive = Vec::new();
    for name in names {
        let mut header = [0; 512];
        let fields: [(usize, &[u8]); 7] = [
            (0, name.as_bytes()),
            (100, b"0000666\0"),
            (108, b"0000000\0"),
            (116, b"0000000\0"),
            (124, b"00000000005\0"),
            (136, b"00000000001\0"),
            (257, b"ustar\x0000"),
        ];
        for (at, bytes) in fields {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        }
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        let mut content = [0; 512];
        content[..5].copy_from_slice(b"evil\n");
        archive.extend(content);
    }
    archive.extend([0; 1024]);
    archive
}

const ATTRIBUTES: &[Attack] = &[
    ("getxattrs", |d, p| told(d.getxattrs(p))),
    ("lgetxattrs", |d, p| told(d.lgetxattrs(p))),
    ("setxattr", |d, p| {
        told(d.setxattr("trusted.evil", "x", 1, p))
    }),
    ("lsetxattr", |d, p| {
        told(d.lsetxattr("trusted.evil", "x", 1, p))
    }),
    ("removexattr", |d, p| told(d.removexattr("trusted.evil", p))),
    ("lremovexattr", |d, p| {
        told(d.lremovexattr("trusted.evil", p))
    }),
    ("internal_lxattrlist", |d, p| {
        told(d.internal_lxattrlist(p, &["file", "..", "dir"]))
    }),
    ("getxattr", |d, p| told(d.getxattr(p, "trusted.evil"))),
    ("lgetxattr", |d, p| told(d.lgetxattr(p, "trusted.evil"))),
    ("acl_get_file", |d, p| told(d.acl_get_file(p, "access"))),
    ("acl_set_file", |d, p| {
        told(d.acl_set_file(p, "access", "u::r--,g::---,o::---"))
    }),
    ("acl_delete_def_file", |d, p| told(d.acl_delete_def_file(p))),
    ("cap_get_file", |d, p| told(d.cap_get_file(p))),
    ("cap_set_file", |d, p| {
        told(d.cap_set_file(p, "cap_chown=ep"))
    }),
    ("get_e2attrs", |d, p| told(d.get_e2attrs(p))),
    ("set_e2attrs", |d, p| {
        told(d.set_e2attrs(p, "d", &SetE2attrsOptions::default()))
    }),
    ("get_e2generation", |d, p| told(d.get_e2generation(p))),
    ("set_e2generation", |d, p| told(d.set_e2generation(p, 7))),
    ("statvfs", |d, p| told(d.statvfs(p))),
    ("selinux_relabel by", |d, p| {
        let options = SelinuxRelabelOptions::default();
        told(d.selinux_relabel(p, "/", &options))
    }),
    ("selinux_relabel", |d, p| {
        d.internal_write("/labels", b"/.* a:b:evil:s0\n")
            .expect("write");
        let options = SelinuxRelabelOptions::default();
        told(d.selinux_relabel("/labels", p, &options))
    }),
    ("setfiles excludes", |d, p| {
        d.internal_write("/labels", b"/.* a:b:evil:s0\n")
            .expect("write");
        let options = SetfilesOptions {
            force: Some(true),
            excludes: Some(vec![p.as_bytes()]),
        };
        told(d.setfiles("/labels", &["/"], &options))
    }),
];

const SEARCHES: &[Attack] = &[
    ("file_architecture", |d, p| told(d.file_architecture(p))),
    ("inotify_add_watch", |d, p| {
        d.inotify_init(0).expect("inotify_init");
        let watched = told(d.inotify_add_watch(p, 0xfff));
        d.inotify_close().expect("inotify_close");
        watched
    }),
    ("glob_expand", |d, p| {
        let options = GlobExpandOptions::default();
        told(d.glob_expand(&format!("{p}/*"), &options))
            + &told(d.glob_expand(&format!("{p}*"), &options))
    }),
    ("grep", |d, p| told(d.grep(".", p, &GrepOptions::default()))),
    ("fgrep", |d, p| told(d.fgrep("A", p))),
    ("zgrep", |d, p| told(d.zgrep(".", p))),
    ("find0", |d, p| sent(|file| d.find0(p, file))),
    ("case_sensitive_path", |d, p| {
        told(d.case_sensitive_path(&p.to_uppercase()))
            + &told(d.case_sensitive_path(&format!("{p}/FILE")))
    }),
    ("checksum", |d, p| told(d.checksum("md5", p))),
    ("equal", |d, p| with_own(d, |d| d.equal(p, OWN))),
    ("checksums_out", |d, p| {
        sent(|file| d.checksums_out("md5", p, file))
    }),
    ("is_zero", |d, p| told(d.is_zero(p))),
];

const COPIES: &[Attack] = &[
    ("cp from", |d, p| with_copy(d, |d, copy| d.cp(p, copy))),
    ("cp to", |d, p| with_own(d, |d| d.cp(OWN, p))),
    ("cp_a from", |d, p| with_copy(d, |d, copy| d.cp_a(p, copy))),
    ("cp_a to", |d, p| with_own(d, |d| d.cp_a(OWN, p))),
    ("cp_r from", |d, p| with_copy(d, |d, copy| d.cp_r(p, copy))),
    ("cp_r to", |d, p| with_own(d, |d| d.cp_r(OWN, p))),
    ("mv from", |d, p| with_copy(d, |d, copy| d.mv(p, copy))),
    ("mv to", |d, p| with_own(d, |d| d.mv(OWN, p))),
    ("rename from", |d, p| {
        with_copy(d, |d, copy| d.rename(p, copy))
    }),
    ("rename to", |d, p| with_own(d, |d| d.rename(OWN, p))),
    ("dd from", |d, p| with_own(d, |d| d.dd(p, OWN))),
    ("dd to", |d, p| with_own(d, |d| d.dd(OWN, p))),
    ("copy_size from", |d, p| {
        with_own(d, |d| d.copy_size(p, OWN, 10))
    }),
    ("copy_size to", |d, p| {
        with_own(d, |d| d.copy_size(OWN, p, 10))
    }),
    ("copy_file_to_file from", |d, p| {
        let options = CopyFileToFileOptions::default();
        with_own(d, |d| d.copy_file_to_file(p, OWN, &options))
    }),
    ("copy_file_to_file to", |d, p| {
        let options = CopyFileToFileOptions::default();
        with_own(d, |d| d.copy_file_to_file(OWN, p, &options))
    }),
    ("copy_device_to_file", |d, p| {
        let options = CopyDeviceToFileOptions {
            size: Some(100),
            ..CopyDeviceToFileOptions::default()
        };
        told(d.copy_device_to_file("/dev/sda", p, &options))
    }),
    ("copy_file_to_device", |d, p| {
        // Into the guest's own boot block, to be read from there.
        let options = CopyFileToDeviceOptions {
            size: Some(10),
            ..CopyFileToDeviceOptions::default()
        };
        let copied = told(d.copy_file_to_device(p, "/dev/sda", &options));
        copied + &told(d.pread_device("/dev/sda", 100, 0))
    }),
    ("rsync", |d, p| {
        let options = RsyncOptions {
            archive: Some(true),
            ..RsyncOptions::default()
        };
        with_copy(d, |d, copy| d.rsync(p, copy, &options))
            + &with_own(d, |d| d.rsync(OWN, p, &options))
    }),
];

const TRANSFERS: &[Attack] = &[
    ("upload", |d, p| told(d.upload(&mut &b"evil\n"[..], p))),
    ("download", |d, p| sent(|file| d.download(p, file))),
    ("upload_offset", |d, p| {
        told(d.upload_offset(&mut &b"evil\n"[..], p, 3))
    }),
    ("download_offset", |d, p| {
        sent(|file| d.download_offset(p, file, 1, 10))
    }),
    ("base64_in", |d, p| {
        told(d.base64_in(&mut &b"ZXZpbAo=\n"[..], p))
    }),
    ("base64_out", |d, p| sent(|file| d.base64_out(p, file))),
    ("scrub_file", |d, p| told(d.scrub_file(p))),
    ("initrd_list", |d, p| told(d.initrd_list(p))),
    ("initrd_cat", |d, p| told(d.initrd_cat(p, "x"))),
    ("isoinfo", |d, p| told(d.isoinfo(p))),
    ("mkswap_file", |d, p| told(d.mkswap_file(p))),
    ("mount_loop", |d, p| {
        d.mkdir_p("/mnt").expect("mkdir_p");
        told(d.mount_loop(p, "/mnt"))
    }),
];

/// Mounts with `call`, and unmounts again what was mounted.
fn mounted(
    direct: &mut Direct,
    path: &str,
    call: impl FnOnce(&mut Direct) -> Result<(), ClientError>,
) -> String {
    // What is mounted can hide the way to where it is mounted.
    let target = direct.realpath(path);
    let result = call(direct);
    if result.is_ok() {
        let target = target.expect("a mount point that exists");
        let options = UmountOptions::default();
        direct.umount(&target, &options).expect("umount");
    }
    told(result)
}

const MOUNTS: &[Attack] = &[
    ("mount", |d, p| mounted(d, p, |d| d.mount("/dev/sda", p))),
    ("mount_options", |d, p| {
        mounted(d, p, |d| d.mount_options("noatime", "/dev/sda", p))
    }),
    ("mount_vfs", |d, p| {
        mounted(d, p, |d| d.mount_vfs("", "ext4", "/dev/sda", p))
    }),
    ("umount", |d, p| {
        told(d.umount(p, &UmountOptions::default()))
    }),
    ("mkmountpoint", |d, p| told(d.mkmountpoint(p))),
    ("mkmountpoint below", |d, p| {
        told(d.mkmountpoint(&format!("{p}/made")))
    }),
    ("rmmountpoint", |d, p| {
        told(d.rmmountpoint(&format!("{p}/empty")))
    }),
    ("remount", |d, p| {
        told(d.remount(p, &RemountOptions::default()))
    }),
    ("mklost_and_found", |d, p| told(d.mklost_and_found(p))),
    ("fstrim", |d, p| {
        told(d.fstrim(p, &FstrimOptions::default()))
    }),
];

const ARCHIVES: &[Attack] = &[
    ("tar_in", |d, p| {
        let archive = tar(&[
            "file",
            "made",
            "../made",
            "../outside/made",
            "/outside/made",
        ]);
        told(d.tar_in(&mut &archive[..], p, &TarInOptions::default()))
    }),
    ("tar_in through a link", |d, p| {
        let (above, name) = p.rsplit_once('/').expect("a path");
        let above = if above.is_empty() { "/" } else { above };
        let (inside, same) = (format!("{name}/file"), name.to_owned());
        let archive = tar(&[&inside, &same, "up/made", "up/dir/inside", "new"]);
        told(d.tar_in(&mut &archive[..], above, &TarInOptions::default()))
    }),
    ("tgz_in", |d, p| {
        // Not compressed, which is an error at the latest after the directory.
        told(d.tgz_in(&mut &tar(&["made"])[..], p))
    }),
    ("txz_in", |d, p| told(d.txz_in(&mut &tar(&["made"])[..], p))),
    ("tar_out", |d, p| {
        sent(|file| d.tar_out(p, file, &TarOutOptions::default()))
    }),
    ("tar_out of all", |d, _| {
        sent(|file| d.tar_out("/", file, &TarOutOptions::default()))
    }),
    ("tgz_out", |d, p| unpacked(|file| d.tgz_out(p, file))),
    ("txz_out", |d, p| sent(|file| d.txz_out(p, file))),
    ("compress_out", |d, p| {
        let options = CompressOutOptions::default();
        unpacked(|file| d.compress_out("gzip", p, file, &options))
    }),
    ("cpio_out", |d, p| {
        sent(|file| d.cpio_out(p, file, &CpioOutOptions::default()))
    }),
    ("mksquashfs", |d, p| {
        sent(|file| d.mksquashfs(p, file, &MksquashfsOptions::default()))
    }),
];

fn attack(attacks: &[Attack]) {
    for decoy in [false, true] {
        Hostile::new(decoy).attack(attacks);
    }
}

#[test]
fn attributes_stay_inside() {
    attack(ATTRIBUTES);
}

#[test]
fn searches_stay_inside() {
    attack(SEARCHES);
}

#[test]
fn copies_stay_inside() {
    attack(COPIES);
}

#[test]
fn transfers_stay_inside() {
    attack(TRANSFERS);
}

#[test]
fn mounts_stay_inside() {
    attack(MOUNTS);
}

#[test]
fn archives_stay_inside() {
    attack(ARCHIVES);
}
