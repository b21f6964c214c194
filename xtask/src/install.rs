//! `cargo xtask install`: the Debian packages that the other verbs need.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::packages::{self, Package};
use crate::steps::step;
use crate::{process, repository};

/// Downloads can be slow; a hanging mirror must still end.
const LIMIT: Duration = Duration::from_secs(1800);

/// Install the packages that the other verbs need (Debian and its relatives)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to install for; everything when none is named
    #[arg(value_enum)]
    purposes: Vec<Purpose>,
    #[command(flatten)]
    packages: Packages,
}

/// Whether a verb installs the packages that it needs.
#[derive(clap::Args)]
pub(crate) struct Packages {
    /// Do not install missing packages, only name them
    #[arg(long)]
    no_install: bool,
}

/// What somebody wants to do, and needs packages for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Build the appliance
    Appliance,
    /// `cargo xtask demo`
    Demo,
    /// `cargo xtask test unit`
    Unit,
    /// `cargo xtask test direct`
    Direct,
    /// `cargo xtask test differential`
    Differential,
    /// `cargo xtask test appliance`
    Machines,
    /// `cargo xtask bench`
    Bench,
}

impl Purpose {
    /// The lists in `xtask/packages/`. That of the appliance is always needed, for the programs
    /// that the daemon runs.
    fn lists(self) -> &'static [&'static str] {
        match self {
            Purpose::Appliance => &["boot"],
            Purpose::Demo => &["boot", "client"],
            Purpose::Machines => &["boot", "client", "servers"],
            Purpose::Direct => &["boot", "client", "judges", "stock"],
            Purpose::Unit => &["wire"],
            Purpose::Differential | Purpose::Bench => &["boot", "client", "stock"],
        }
    }
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let purposes = if self.purposes.is_empty() {
            Purpose::value_variants()
        } else {
            &self.purposes
        };
        self.packages.ensure(purposes)?;
        println!("Everything that is needed is installed.");
        Ok(())
    }
}

impl Packages {
    /// Sees to it that what the purposes need is installed. Without permission to
    /// install, it prints what is missing and fails.
    pub(crate) fn ensure(&self, purposes: &[Purpose]) -> Result<()> {
        ensure(purposes, !self.no_install)
    }
}

fn ensure(purposes: &[Purpose], may_install: bool) -> Result<()> {
    if process::find("dpkg-query").is_none() {
        println!(
            "This is not Debian, so nothing is installed; {} names what is needed.",
            list_of("boot").display()
        );
        return Ok(());
    }
    let wanted = wanted(purposes)?;
    let missing = missing(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names = || -> Vec<&str> {
        missing
            .iter()
            .filter_map(|package| package.names.first())
            .map(String::as_str)
            .collect()
    };
    if !may_install {
        println!("Missing packages: {}", names().join(" "));
        bail!(
            "{} packages are missing; run this without --no-install as root, or install them",
            missing.len()
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "installing packages needs root; as root, run: apt-get install {}",
            names().join(" ")
        );
    }
    println!("Installing: {}", names().join(" "));
    // The index may be absent (a new machine) or too old to download with.
    if missing.iter().any(|package| candidate(package).is_none()) {
        update()?;
    }
    if apt(&missing).is_err() {
        update()?;
        apt(&missing)?;
    }
    let left = self::missing(&wanted)?;
    if let Some(package) = left.first() {
        bail!(
            "apt-get succeeded, but {} is still not installed",
            package.names.join(" or ")
        );
    }
    Ok(())
}

fn wanted(purposes: &[Purpose]) -> Result<Vec<Package>> {
    let mut files: Vec<PathBuf> = vec![crate::appliance::package_list()];
    for purpose in purposes {
        files.extend(purpose.lists().iter().map(|name| list_of(name)));
    }
    files.sort();
    files.dedup();
    let mut wanted = Vec::new();
    for file in &files {
        wanted.extend(packages::read(file)?);
    }
    wanted.retain(|package| !package.optional);
    Ok(wanted)
}

fn list_of(name: &str) -> PathBuf {
    repository()
        .join("xtask/packages")
        .join(name)
        .with_extension("list")
}

fn missing(wanted: &[Package]) -> Result<Vec<Package>> {
    let installed = packages::installed(wanted)?;
    let mut missing: Vec<Package> = Vec::new();
    for package in wanted {
        if package.installed(&installed).is_none() && !missing.contains(package) {
            missing.push(package.clone());
        }
    }
    Ok(missing)
}

/// The first of a package's names that the archive offers.
fn candidate(package: &Package) -> Option<&str> {
    package
        .names
        .iter()
        .map(String::as_str)
        .find(|name| version(name, "Candidate:").is_some())
}

/// What `apt-cache policy` says about a package after a heading.
fn version(package: &str, heading: &str) -> Option<String> {
    let finished = process::output(
        Command::new("apt-cache").args(["policy", package]),
        Duration::from_secs(60),
    )
    .ok()?;
    finished
        .text()
        .lines()
        .find_map(|line| line.trim().strip_prefix(heading))
        .map(|version| version.trim().to_owned())
        .filter(|version| version != "(none)" && !version.is_empty())
}

fn update() -> Result<()> {
    step("fetch the package index", || {
        process::run(apt_get().arg("update"), LIMIT)
    })
    .map(|_| ())
    .context("cannot fetch the package index; is there a network?")
}

fn apt(missing: &[Package]) -> Result<()> {
    let mut command = apt_get();
    command.args(["install", "--yes", "--no-install-recommends"]);
    command.args(["--allow-downgrades"]);
    for package in missing {
        let name = candidate(package)
            .or_else(|| package.names.first().map(String::as_str))
            .unwrap_or_default();
        if !name.starts_with("qemu-") {
            command.arg(name);
        }
    }
    if missing
        .iter()
        .any(|package| package.names.iter().any(|name| name.starts_with("qemu-")))
    {
        command.args(qemu());
    }
    step(&format!("install {} packages", missing.len()), || {
        process::run(&mut command, LIMIT)
    })
    .map(|_| ())
}

/// The two halves of qemu, at the same version: where security updates and
/// releases carry different builds, apt would mix them, and they depend on each
/// other exactly.
fn qemu() -> Vec<String> {
    let names = ["qemu-system-x86", "qemu-utils"];
    let version = version("qemu-system-x86", "Installed:")
        .or_else(|| version("qemu-system-x86", "Candidate:"));
    match version {
        Some(version) => names
            .iter()
            .map(|name| format!("{name}={version}"))
            .collect(),
        None => names.map(String::from).to_vec(),
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Another apt may be at work: on a new machine one often is.
        .args([
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "Dpkg::Use-Pty=0",
            "-q",
        ]);
    command
}

/// Whether a directory holds libguestfs' own appliance.
pub(crate) fn stock_appliance() -> Option<PathBuf> {
    [
        "/usr/lib/x86_64-linux-gnu/guestfs",
        "/usr/lib64/guestfs",
        "/usr/lib/guestfs",
    ]
    .iter()
    .map(Path::new)
    .find(|path| path.join("supermin.d/daemon.tar.gz").is_file())
    .map(PathBuf::from)
}
