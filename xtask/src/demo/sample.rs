//! The demonstration on a disk of its own: partitions, filesystems, a tree of
//! files in and out, and proof that it came back whole.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{boot, cache, tree};
use crate::guestfish::{Entry, Session};
use crate::repository;
use crate::steps::step;

/// The parts of this repository that make the tree of files.
const PARTS: &[&str] = &[
    "idl", "codegen", "protocol", "daemon", "docs", "xtask", "COPYING",
];

pub(super) fn run(appliance: &Path) -> Result<Vec<Entry>> {
    let scratch = tempfile::tempdir()?;
    let disk = scratch.path().join("disk.img");
    let archive = scratch.path().join("in.tar");
    let (originals, before, checksums) = step("make a disk of 512 MiB and an archive", || {
        std::fs::File::create(&disk)?.set_len(512 << 20)?;
        let originals = scratch.path().join("originals");
        tree::pack(&repository(), PARTS, &archive)?;
        tree::unpack(&archive, &originals)?;
        let before = tree::nodes(&originals)?;
        let checksums = tree::checksums(&originals)?;
        anyhow::Ok((originals, before, checksums))
    })?;

    let mut session = Session::start(appliance, &cache(appliance), &[&disk], false)?;
    boot(&mut session)?;

    step("partition the disk and make filesystems", || {
        for words in [
            "part-init /dev/sda gpt",
            "part-add /dev/sda primary 2048 133119",
            "part-add /dev/sda primary 133120 -2048",
            "part-set-name /dev/sda 1 BOOT",
            "part-set-name /dev/sda 2 DATA",
            "mkfs vfat /dev/sda1 label:BOOT",
            "mkfs ext4 /dev/sda2 label:DATA",
            "mount /dev/sda2 /",
            "mkdir /tree",
            "mkdir /boot",
            "mount /dev/sda1 /boot",
            "write /boot/hello.txt hello",
        ] {
            session.call(&words.split(' ').collect::<Vec<_>>())?;
        }
        anyhow::Ok(())
    })?;

    let name = format!(
        "copy {} files and directories in, with tar-in",
        before.len()
    );
    step(&name, || {
        session.call(&["tar-in", path(&archive)?, "/tree"])
    })?;

    step(
        "compare checksums inside the guest with the originals'",
        || {
            let list = scratch.path().join("checksums");
            session.call(&["checksums-out", "sha256", "/tree", path(&list)?])?;
            let found = tree::sorted(&std::fs::read_to_string(&list)?);
            ensure!(
                found == checksums,
                "the checksums in the guest are not those of the originals"
            );
            anyhow::Ok(())
        },
    )?;

    step("copy the tree out again, with tar-out, and compare", || {
        let out = scratch.path().join("out.tar");
        session.call(&["tar-out", "/tree", path(&out)?])?;
        let returned = scratch.path().join("returned");
        tree::unpack(&out, &returned)?;
        tree::same(&before, &tree::nodes(&returned)?)?;
        ensure!(
            tree::checksums(&returned)? == checksums,
            "what came back has other contents"
        );
        anyhow::Ok(())
    })?;

    step("look around", || {
        let text = session.call(&["cat", "/boot/hello.txt"])?;
        ensure!(
            text == "hello" || text == "hello\n",
            "wrote hello, read {text:?}"
        );
        session.call(&["head-n", "2", "/tree/COPYING"])?;
        session.call(&["ls", "/tree"])?;
        session.call(&["ll", "/tree/idl"])?;
        session.call(&["stat", "/tree/COPYING"])?;
        let sum = session.call(&["checksum", "sha256", "/tree/COPYING"])?;
        if !checksums.contains(&format!("{}  ./COPYING", sum.trim())) {
            bail!("the checksum of COPYING is not that of the original");
        }
        let found = session.call(&["list-filesystems"])?;
        ensure!(
            found.contains("/dev/sda1: vfat") && found.contains("/dev/sda2: ext4"),
            "list-filesystems does not name the filesystems that were made: {found}"
        );
        for words in [
            "part-list /dev/sda",
            "part-get-parttype /dev/sda",
            "part-get-name /dev/sda 2",
            "vfs-type /dev/sda2",
            "vfs-label /dev/sda2",
            "vfs-uuid /dev/sda2",
            "mountpoints",
            "statvfs /",
            "df-h",
            "file /tree/COPYING",
            "utsname",
        ] {
            session.call(&words.split(' ').collect::<Vec<_>>())?;
        }
        anyhow::Ok(())
    })?;
    step("write everything to the disk and shut down", || {
        session.call(&["umount-all"])?;
        session.exit()
    })
    .with_context(|| format!("originals were in {}", originals.display()))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not text", path.display()))
}
