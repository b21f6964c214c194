//! A look around in somebody's own disk image, without writing to it.

use std::path::Path;

use anyhow::{Context, Result};

use super::{boot, cache};
use crate::guestfish::{Entry, Session};
use crate::steps::step;

/// Signatures that are not filesystems one can mount.
const NO_FILES: &[&str] = &[
    "unknown",
    "swap",
    "crypto_LUKS",
    "LVM2_member",
    "linux_raid_member",
];

pub(super) fn run(appliance: &Path, image: &Path) -> Result<Vec<Entry>> {
    let mut session = Session::start(appliance, &cache(appliance), &[image], true)
        .with_context(|| format!("guestfish does not accept {}", image.display()))?;
    boot(&mut session)?;
    let filesystems = step("look at disks, partitions and filesystems", || {
        overview(&mut session)
    })?;
    for (device, kind) in &filesystems {
        if NO_FILES.contains(&kind.as_str()) {
            continue;
        }
        step(&format!("look into {device} ({kind})"), || {
            look_into(&mut session, device);
            anyhow::Ok(())
        })?;
    }
    step("shut down", || session.exit())
}

/// A question that this image may have no answer to. The transcript shows which.
fn ask(session: &mut Session, words: &[&str]) -> Option<String> {
    session.call(words).ok()
}

fn overview(session: &mut Session) -> Result<Vec<(String, String)>> {
    let disks = session.call(&["list-devices"])?;
    for disk in disks.lines() {
        session.call(&["blockdev-getsize64", disk])?;
        // A disk without a partition table is no failure.
        if ask(session, &["part-get-parttype", disk]).is_some() {
            ask(session, &["part-list", disk]);
        }
    }
    let listed = session.call(&["list-filesystems"])?;
    Ok(listed
        .lines()
        .filter_map(|line| line.rsplit_once(": "))
        .map(|(device, kind)| (device.to_owned(), kind.to_owned()))
        .collect())
}

fn look_into(session: &mut Session, device: &str) {
    ask(session, &["vfs-label", device]);
    ask(session, &["vfs-uuid", device]);
    if ask(session, &["mount-ro", device, "/"]).is_none() {
        return;
    }
    ask(session, &["df-h"]);
    ask(session, &["ls", "/"]);
    for release in ["/etc/os-release", "/usr/lib/os-release"] {
        let present = ask(session, &["is-file", release, "followsymlinks:true"]);
        if present.is_some_and(|answer| answer.trim() == "true") {
            ask(session, &["cat", release]);
            break;
        }
    }
    ask(session, &["umount-all"]);
}
