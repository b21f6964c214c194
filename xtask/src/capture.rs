//! `cargo xtask capture`: makes `tests/captured` anew, from the programs of several releases.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::install::{self, Purpose};
use crate::steps::step;
use crate::{cargo, kvm, process, repository};

mod root;

/// Under emulation, on a busy machine.
const LIMIT: Duration = Duration::from_secs(2700);
const SHORT: Duration = Duration::from_secs(300);

const MIB: u64 = 1 << 20;
/// The disks of the machine that the scripts use as they like.
const BLANK: u64 = 512 * MIB;
/// Where the database of the sample of a dynamic disk is, in 96 MiB.
const LDM_SIZE: u64 = 96 * MIB;
const LDM_DATABASE: u64 = 95 * MIB;

/// What the last line of a machine that came to its end says.
const COMPLETE: &str = "capture: complete";

/// Make tests/captured anew: what the programs of Debian releases print
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The releases, by their code names
    #[arg(default_values = ["bullseye", "bookworm", "trixie", "sid"])]
    releases: Vec<String>,
    #[command(flatten)]
    packages: install::Packages,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        self.packages.ensure(&[Purpose::Appliance])?;
        for release in &self.releases {
            let root = root::Root::of(release);
            step(&format!("{release}: fetch the programs"), || root.make())?;
            step(&format!("{release}: run them in a machine"), || {
                capture(&root).with_context(|| format!("cannot capture {release}"))
            })?;
        }
        println!("{} is new. See what has changed:", captured().display());
        println!("\n    git status tests/captured\n    cargo test -p daemon all_versions\n");
        Ok(())
    }
}

fn captured() -> PathBuf {
    repository().join("tests/captured")
}

/// Where releases are unpacked.
fn work() -> PathBuf {
    cargo::target().join("capture")
}

fn capture(root: &root::Root) -> Result<()> {
    let kernel = kvm::kernel().context("there is no kernel in /boot with its modules")?;
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    root.add_modules(&kernel)?;
    root.add_scripts(&captured().join("machine"))?;
    archive(&root.path(), &at("initrd"))?;
    let blank = ["a", "b", "c", "d", "e"].map(at);
    for disk in &blank {
        File::create(disk)?.set_len(BLANK)?;
    }
    File::create(at("out"))?.set_len(16 * MIB)?;
    for name in ["first", "second"] {
        dynamic_disk(name, &at(name))?;
    }
    let mut machine = Command::new("qemu-system-x86_64");
    let accel = if kvm::usable() { "kvm" } else { "tcg" };
    machine
        .args(["-machine", &format!("accel={accel}"), "-cpu", "max"])
        .args(["-smp", "2", "-m", "2048"])
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-no-reboot", "-serial", "stdio"])
        .args(["-device", "virtio-scsi-pci,id=scsi"])
        .arg("-kernel")
        .arg(&kernel)
        .arg("-initrd")
        .arg(at("initrd"))
        // A busy machine is late with the ticks that the check counts.
        .args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check"]);
    for (index, disk) in blank.iter().enumerate() {
        let drive = format!("file={},format=raw,if=none,id=s{index}", disk.display());
        let device = format!("scsi-hd,drive=s{index},bus=scsi.0");
        machine.args(["-drive", &drive, "-device", &device]);
    }
    for name in ["out", "first", "second"] {
        let drive = format!("file={},format=raw,if=virtio", at(name).display());
        machine.args(["-drive", &drive]);
    }
    let console = process::output(&mut machine, LIMIT)?.text();
    for line in console.lines().filter(|line| line.contains("failed: ")) {
        eprintln!("{line}");
    }
    if !console.contains(COMPLETE) {
        bail!("the machine ended early:\n{}", process::tail(&console, 20));
    }
    let out = at("printed");
    fs::create_dir(&out)?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(at("out")).arg("-C").arg(&out);
    process::run(&mut tar, SHORT)?;
    keep(root, &kernel, &out)
}

/// Puts what was printed by each tool to its version. What nothing was printed of is what a
/// version does not have.
fn keep(root: &root::Root, kernel: &Path, out: &Path) -> Result<()> {
    for entry in fs::read_dir(out)? {
        let entry = entry?;
        let tool = entry.file_name().to_string_lossy().into_owned();
        let version = match tool.as_str() {
            "linux" => major(&root::release(kernel)?),
            "cryptsetup" => root.version("cryptsetup-bin")?,
            tool => root.version(tool)?,
        };
        let place = captured().join(&tool).join(&version);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        for text in fs::read_dir(entry.path())? {
            let text = text?;
            if text.metadata()?.len() > 0 {
                fs::copy(text.path(), place.join(text.file_name()))?;
            }
        }
    }
    Ok(())
}

/// The first two numbers of a kernel's version.
fn major(release: &str) -> String {
    release.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
}

/// The upstream part of the version of a Debian package.
fn upstream(version: &str) -> String {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(front, _)| front);
    version.to_owned()
}

/// One disk of the sample of a group.
fn dynamic_disk(name: &str, disk: &Path) -> Result<()> {
    let fixtures = repository().join("tests/fixtures/ldm");
    let file = File::create(disk)?;
    file.set_len(LDM_SIZE)?;
    file.write_all_at(&fs::read(fixtures.join(name))?, 0)?;
    file.write_all_at(&fs::read(fixtures.join("database"))?, LDM_DATABASE)?;
    Ok(())
}

/// An archive of a directory in the form in which the kernel takes its first root.
fn archive(directory: &Path, file: &Path) -> Result<()> {
    let mut names = Command::new("find")
        .args([".", "-print0"])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = names.stdout.take().context("find has no output")?;
    let mut cpio = Command::new("cpio")
        .args(["--create", "--null", "--format=newc", "--quiet"])
        .current_dir(directory)
        .stdin(pipe)
        .stdout(File::create(file)?)
        .spawn()
        .context("cannot start cpio")?;
    let written = process::wait(&mut cpio, SHORT)?;
    let listed = process::wait(&mut names, SHORT)?;
    for status in [written, listed] {
        if !status.is_some_and(|status| status.success()) {
            bail!("cannot archive {}", directory.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{major, upstream};

    #[test]
    fn upstream_versions() {
        for (package, version) in [
            ("2:2.3.7-1+deb11u1", "2.3.7"),
            ("1:2017.3.23AR.3-4+deb11u4", "2017.3.23AR.3"),
            ("6.2-1+deb12u2", "6.2"),
            ("5", "5"),
        ] {
            assert_eq!(upstream(package), version);
        }
        assert_eq!(major("6.1.0-56-amd64"), "6.1");
    }
}
