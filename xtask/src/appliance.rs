//! `cargo xtask appliance`: a directory that libguestfs uses through `LIBGUESTFS_PATH`.
//!
//! It holds supermin's parts: a list of packages, patterns of files to take
//! from the machine and to leave out, and archives with our own files. On the
//! first launch the library has supermin make a root filesystem out of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::install::{self, Purpose};
use crate::steps::step;
use crate::{cargo, packages, process, repository};

/// Make an appliance with this daemon, for LIBGUESTFS_PATH
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to make it [default: target/appliance]
    directory: Option<PathBuf>,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    packages: install::Packages,
}

/// The daemon that goes into an appliance.
#[derive(clap::Args)]
pub(crate) struct Daemon {
    /// Put this daemon in, instead of building ours
    #[arg(long = "daemon", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Daemon {
    /// Where it is, once it is built.
    pub(crate) fn place(self) -> Result<PathBuf> {
        self.file.map_or_else(build_daemon, Ok)
    }
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        self.packages.ensure(&[Purpose::Appliance])?;
        let daemon = self.daemon.place()?;
        let directory = self.directory.unwrap_or_else(default_directory);
        make(&directory, &daemon)?;
        println!(
            "The appliance is in {0}. To use it:\n\n    export LIBGUESTFS_PATH={0}\n",
            fs::canonicalize(&directory)?.display()
        );
        Ok(())
    }
}

/// Where the appliance goes when nobody says otherwise.
pub(crate) fn default_directory() -> PathBuf {
    cargo::target().join("appliance")
}

/// The package list of the distribution that this machine runs.
pub(crate) fn package_list() -> PathBuf {
    let lists = repository().join("appliance/packages");
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let relatives = format!("{} {}", field("ID"), field("ID_LIKE"));
    relatives
        .split_whitespace()
        .map(|name| lists.join(name).with_extension("list"))
        .find(|list| list.is_file())
        .unwrap_or_else(|| lists.join("debian.list"))
}

/// Builds the daemon for use, and says where it is.
pub(crate) fn build_daemon() -> Result<PathBuf> {
    step("build the daemon", || {
        cargo::build(&["--release", "--package", "guestfsd"], "release/guestfsd")
    })
}

/// Makes the appliance's parts. A part that would not change is left alone, so
/// that supermin builds the root filesystem anew only when it must.
pub(crate) fn make(directory: &Path, daemon: &Path) -> Result<()> {
    let parts = directory.join("supermin.d");
    fs::create_dir_all(&parts).with_context(|| format!("cannot make {}", parts.display()))?;

    let list = package_list();
    let wanted = packages::read(&list)?;
    let installed = packages::installed(&wanted)?;
    let mut names: Vec<&str> = Vec::new();
    for package in &wanted {
        match package.installed(&installed) {
            Some(name) => names.push(name),
            None if package.optional => {}
            None => bail!(
                "the appliance needs the package {}; run cargo xtask install appliance",
                package.names.join(" or ")
            ),
        }
    }
    write_part(
        &parts.join("packages"),
        lines_of(names.iter().copied()).as_bytes(),
    )?;

    let own = repository().join("appliance");
    let hostfiles = fs::read_to_string(own.join("hostfiles"))?;
    write_part(
        &parts.join("hostfiles"),
        lines_of(packages::lines(&hostfiles)).as_bytes(),
    )?;
    let excluded = fs::read_to_string(own.join("excludefiles"))?;
    write_part(
        &parts.join("excludefiles"),
        lines_of(excluded_patterns(&excluded).iter().map(String::as_str)).as_bytes(),
    )?;

    let scratch = tempfile::tempdir()?;
    let base = scratch.path().join("base");
    copy_tree(&own.join("root"), &base)?;
    for (name, mode) in DIRECTORIES {
        let path = base.join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    for (name, target) in LINKS {
        std::os::unix::fs::symlink(target, base.join(name))?;
    }
    fs::set_permissions(base.join("init"), fs::Permissions::from_mode(0o755))?;
    archive(&base, &parts.join("base.tar.gz"))?;

    let with_daemon = scratch.path().join("daemon");
    let place = with_daemon.join("usr/sbin");
    fs::create_dir_all(&place)?;
    fs::copy(daemon, place.join("guestfsd"))
        .with_context(|| format!("cannot copy {}", daemon.display()))?;
    fs::set_permissions(place.join("guestfsd"), fs::Permissions::from_mode(0o755))?;
    archive(&with_daemon, &parts.join("daemon.tar.gz"))
}

/// The directories that must be there before anything is mounted or written.
const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("root", 0o700),
    ("sys", 0o755),
    ("sysroot", 0o755),
    ("tmp", 0o1777),
    ("var/lib", 0o755),
    ("var/tmp", 0o1777),
];

/// Links that a running system would have made.
const LINKS: &[(&str, &str)] = &[("etc/mtab", "../proc/self/mounts")];

/// supermin's form of the list of patterns. The same file can be listed by its
/// package with or without `/usr`.
fn excluded_patterns(list: &str) -> Vec<String> {
    packages::lines(list)
        .flat_map(|pattern| {
            let mut patterns = vec![format!("-{pattern}")];
            if ["/lib/", "/share/"]
                .iter()
                .any(|top| pattern.starts_with(top))
            {
                patterns.push(format!("-/usr{pattern}"));
            }
            patterns
        })
        .collect()
}

fn lines_of<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(|line| format!("{line}\n")).collect()
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

/// Packs a directory so that the same files always give the same archive.
fn archive(directory: &Path, part: &Path) -> Result<()> {
    let packed = process::run(
        Command::new("tar")
            .arg("--directory")
            .arg(directory)
            .args(["--create", "--format=ustar", "--sort=name", "--mtime=@0"])
            .args(["--owner=0", "--group=0", "--numeric-owner"])
            .args(["--use-compress-program", "gzip -n", "."]),
        Duration::from_secs(120),
    )?;
    write_part(part, &packed.stdout)
}

/// Replaces a part, rather than writing into it: supermin looks at the time of
/// the directory, which only changes when a name in it does.
fn write_part(part: &Path, content: &[u8]) -> Result<()> {
    if fs::read(part).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let written = part.with_extension("new");
    fs::write(&written, content)
        .and_then(|()| fs::rename(&written, part))
        .with_context(|| format!("cannot write {}", part.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_tried_with_and_without_usr() {
        assert_eq!(
            excluded_patterns("# why\n/lib/x/*\n/etc/y\n"),
            ["-/lib/x/*", "-/usr/lib/x/*", "-/etc/y"]
        );
    }
}
