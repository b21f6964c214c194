//! A release's programs in a directory, without anything being installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{upstream, work};
use crate::{packages, process};

/// Downloads can be slow; a hanging mirror must still end.
const LIMIT: Duration = Duration::from_secs(1800);

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The programs, and what the machine needs to come up.
const PACKAGES: &str = "
    base-files bash coreutils dash findutils grep hostname kmod mount sed tar udev
    btrfs-progs cryptsetup-bin dmsetup e2fsprogs fdisk gdisk ldmtool lvm2 mdadm ntfs-3g parted
    util-linux xfsprogs
";

/// Directories that newer releases have below `/usr` only.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// The parts of the kernel's modules that the scripts use.
const MODULES: [&str; 12] = [
    "arch",
    "block",
    "crypto",
    "drivers/acpi",
    "drivers/block",
    "drivers/dax",
    "drivers/md",
    "drivers/nvdimm",
    "drivers/scsi",
    "drivers/virtio",
    "fs",
    "lib",
];

/// The root directory of a release.
pub(super) struct Root {
    release: String,
}

impl Root {
    pub(super) fn of(release: &str) -> Self {
        let release = release.to_owned();
        Self { release }
    }

    pub(super) fn path(&self) -> PathBuf {
        work().join(&self.release).join("root")
    }

    fn apt(&self) -> PathBuf {
        work().join(&self.release).join("apt")
    }

    fn archives(&self) -> PathBuf {
        self.apt().join("var/cache/apt/archives")
    }

    /// The packages, in files; in the order of their names.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.archives())?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "deb"))
            .collect();
        files.sort();
        Ok(files)
    }

    /// Fetches what is not there yet, and unpacks all.
    pub(super) fn make(&self) -> Result<()> {
        let (apt, root) = (self.apt(), self.path());
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        fs::create_dir_all(&root)?;
        for directory in ["etc/apt", "var/lib/apt/lists/partial", "var/lib/dpkg"] {
            fs::create_dir_all(apt.join(directory))?;
        }
        fs::create_dir_all(self.archives().join("partial"))?;
        fs::write(apt.join("var/lib/dpkg/status"), "")?;
        let source = format!("deb [signed-by={KEYRING}] {MIRROR} {} main\n", self.release);
        fs::write(apt.join("etc/apt/sources.list"), source)?;
        let place = apt.display();
        let settings = format!(
            "Dir \"{place}\";\nDir::State::status \"{place}/var/lib/dpkg/status\";\n\
             Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"false\";\n\
             APT::Install-Recommends \"false\";\n\
             APT::Sandbox::User \"root\";\n"
        );
        let config = apt.join("apt.conf");
        fs::write(&config, settings)?;
        let get = |args: &[&str]| {
            let mut command = Command::new("apt-get");
            command.env("APT_CONFIG", &config).arg("-qq").args(args);
            command
        };
        process::run(&mut get(&["update"]), LIMIT)?;
        let mut fetch = get(&["install", "--yes", "--download-only"]);
        fetch.args(packages::lines(PACKAGES).flat_map(str::split_whitespace));
        process::run(&mut fetch, LIMIT)?;
        self.unpack()
    }

    fn unpack(&self) -> Result<()> {
        let root = self.path();
        let files = self.files()?;
        let is_base = |file: &&PathBuf| {
            let name = file.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with("base-files_"))
        };
        let base = files.iter().find(is_base).context("no base-files")?;
        extract(base, &root)?;
        // Where base-files does not have them, another package's scripts would make the links.
        for name in MERGED.iter().filter(|_| self.release != "bullseye") {
            if fs::symlink_metadata(root.join(name)).is_err() {
                fs::create_dir_all(root.join("usr").join(name))?;
                symlink(Path::new("usr").join(name), root.join(name))?;
            }
        }
        for file in &files {
            extract(file, &root)?;
        }
        for useless in ["doc", "man", "locale", "info", "zoneinfo"] {
            let directory = root.join("usr/share").join(useless);
            if directory.exists() {
                fs::remove_dir_all(directory)?;
            }
        }
        for needed in ["proc", "sys", "dev", "run", "tmp", "out", "mnt"] {
            fs::create_dir_all(root.join(needed))?;
        }
        if fs::symlink_metadata(root.join("bin/sh")).is_err() {
            symlink("dash", root.join("bin/sh"))?;
        }
        Ok(())
    }

    /// The upstream version of a package.
    pub(super) fn version(&self, package: &str) -> Result<String> {
        let start = format!("{package}_");
        for file in self.files()? {
            let name = file.file_name().map(|name| name.to_string_lossy());
            if name.is_some_and(|name| name.starts_with(&start)) {
                let mut query = Command::new("dpkg-deb");
                query.arg("--field").arg(&file).arg("Version");
                return Ok(upstream(process::run(&mut query, LIMIT)?.text().trim()));
            }
        }
        bail!("{}: no package {package}", self.release)
    }

    /// Adds the modules of the kernel that is to run.
    pub(super) fn add_modules(&self, kernel: &Path) -> Result<()> {
        let release = release(kernel)?;
        let from = Path::new("/lib/modules").join(&release);
        let to = self.path().join("lib/modules").join(&release);
        fs::create_dir_all(to.join("kernel/drivers"))?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        for part in MODULES {
            let source = from.join("kernel").join(part);
            if source.is_dir() {
                let mut copy = Command::new("cp");
                copy.arg("-r").arg(source).arg(to.join("kernel").join(part));
                process::run(&mut copy, LIMIT)?;
            }
        }
        Ok(())
    }

    /// Adds what the machine is to do.
    pub(super) fn add_scripts(&self, scripts: &Path) -> Result<()> {
        let root = self.path();
        fs::create_dir_all(root.join("capture"))?;
        for entry in fs::read_dir(scripts)? {
            let entry = entry?;
            let name = entry.file_name();
            let place = if name == "init" {
                root.join(name)
            } else {
                root.join("capture").join(name)
            };
            fs::copy(entry.path(), place)?;
        }
        Ok(())
    }
}

fn extract(package: &Path, root: &Path) -> Result<()> {
    let mut command = Command::new("dpkg-deb");
    command.arg("--extract").arg(package).arg(root);
    process::run(&mut command, LIMIT).map(drop)
}

/// What a kernel's file is called after `vmlinuz-`.
pub(super) fn release(kernel: &Path) -> Result<String> {
    let name = kernel.file_name().and_then(|name| name.to_str());
    let release = name.and_then(|name| name.strip_prefix("vmlinuz-"));
    release
        .map(str::to_owned)
        .with_context(|| format!("{}: a kernel without a version", kernel.display()))
}
