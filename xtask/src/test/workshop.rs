//! What the differential lane needs in place before its first script.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{cargo, install, process};

const SHORT: Duration = Duration::from_secs(60);

/// The directory of everything that the lanes keep between runs.
pub(crate) fn directory() -> Result<PathBuf> {
    let directory = cargo::target().join("lanes");
    fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    Ok(directory)
}

/// Builds the hypervisor stand-in.
pub(super) fn build_standin() -> Result<PathBuf> {
    let arguments = ["--package", "conformance", "--bin", "hv-standin"];
    cargo::build(&arguments, "debug/hv-standin")
}

/// A fixed appliance that the library accepts. Only its root filesystem is
/// looked at, for its UUID; nothing of it is ever booted.
pub(super) fn fixed_appliance() -> Result<PathBuf> {
    let fixed = directory()?.join("fixed");
    if fixed.join("README.fixed").exists() {
        return Ok(fixed);
    }
    fs::create_dir_all(&fixed)?;
    for name in ["kernel", "initrd", "root"] {
        fs::File::create(fixed.join(name))?;
    }
    fs::OpenOptions::new()
        .write(true)
        .open(fixed.join("root"))?
        .set_len(1 << 20)?;
    process::run(
        Command::new("mke2fs")
            .args(["-q", "-F"])
            .arg(fixed.join("root")),
        SHORT,
    )?;
    // Last: it says that the rest is there.
    fs::File::create(fixed.join("README.fixed"))?;
    Ok(fixed)
}

/// The daemon of the installed libguestfs, taken out of its appliance.
pub(crate) fn stock_daemon() -> Result<PathBuf> {
    let stock = install::stock_appliance()
        .context("libguestfs' own appliance is not installed (package libguestfs0)")?;
    unpack_daemon(&stock, &directory()?.join("stock"))
}

/// Takes the daemon out of an appliance's parts, unless that was done since they
/// last changed.
pub(super) fn unpack_daemon(appliance: &Path, place: &Path) -> Result<PathBuf> {
    let archive = appliance.join("supermin.d/daemon.tar.gz");
    let daemon = place.join("usr/sbin/guestfsd");
    if !newer(&daemon, &archive)? {
        fs::create_dir_all(place)?;
        process::run(
            Command::new("tar")
                .args(["-x", "-m", "-C"])
                .arg(place)
                .arg("-f")
                .arg(&archive),
            SHORT,
        )?;
        ensure!(daemon.exists(), "{} holds no daemon", archive.display());
    }
    Ok(daemon)
}

fn newer(file: &Path, than: &Path) -> Result<bool> {
    let Ok(file) = file.metadata() else {
        return Ok(false);
    };
    let than = than
        .metadata()
        .with_context(|| than.display().to_string())?;
    Ok(file.modified()? > than.modified()?)
}
