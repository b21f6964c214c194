//! The differential lane: one guestfish script, two daemons, the same output.
//!
//! What the stock daemon printed is committed beside the script as
//! `NAME.expected`. A difference on purpose is `NAME.ours`, which needs an entry
//! in `docs/differences.md`. A script for the client of another release has one of
//! each for that, `NAME.RELEASE.expected`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testkit::Remote;

use super::release::{self, Release, Releases};
use super::script::{self, Script};
use super::{Tally, normal, workshop};
use crate::{kvm, process, repository};

/// How many scripts run at a time.
const JOBS: usize = 2;

/// How long a boot of a virtual machine may take besides the script.
const BOOT: Duration = Duration::from_secs(300);

/// Where the clients find what they talk to.
pub(super) enum Place {
    /// The daemon runs here, through the stand-in.
    StandIn {
        standin: PathBuf,
        fixed: PathBuf,
        /// `None` is the stock daemon that belongs to the client.
        daemon: Option<PathBuf>,
    },
    /// A virtual machine. `None` is libguestfs' own appliance.
    Appliance {
        appliance: Option<PathBuf>,
        /// Where supermin keeps it: one for each, or it would boot the other.
        cache: PathBuf,
    },
}

impl Place {
    /// This daemon, or the client's stock one, in the stand-in.
    pub(super) fn standin(daemon: Option<&Path>) -> Result<Self> {
        let absolute =
            |daemon: &Path| fs::canonicalize(daemon).with_context(|| daemon.display().to_string());
        Ok(Self::StandIn {
            standin: workshop::build_standin()?,
            fixed: workshop::fixed_appliance()?,
            daemon: daemon.map(absolute).transpose()?,
        })
    }

    fn environment(&self, command: &mut Command, client: Option<&Release>) -> Result<()> {
        let caches = workshop::directory()?;
        match self {
            Self::StandIn {
                standin,
                fixed,
                daemon,
            } => {
                let cache = caches.join("cache");
                fs::create_dir_all(&cache)?;
                command
                    .env("LIBGUESTFS_BACKEND", "direct")
                    .env("LIBGUESTFS_HV", standin)
                    .env("LIBGUESTFS_PATH", fixed)
                    .env("LIBGUESTFS_CACHEDIR", cache);
                match (daemon, client) {
                    (Some(daemon), _) => {
                        command.env("GUESTFSD_BIN", daemon);
                    }
                    (None, Some(release)) => release.daemon(command)?,
                    (None, None) => {
                        command.env("GUESTFSD_BIN", workshop::stock_daemon()?);
                    }
                }
            }
            Self::Appliance { appliance, cache } => {
                fs::create_dir_all(cache)?;
                command
                    .env("LIBGUESTFS_CACHEDIR", cache)
                    .envs(kvm::environment());
                command.env_remove("LIBGUESTFS_HV");
                match appliance {
                    Some(appliance) => command.env("LIBGUESTFS_PATH", appliance),
                    None => command.env_remove("LIBGUESTFS_PATH"),
                };
            }
        }
        Ok(())
    }

    fn boots(&self) -> bool {
        matches!(self, Self::Appliance { .. })
    }
}

/// The scripts of one lane, chosen by name.
pub(super) fn scripts(filter: &str, appliance: bool) -> Result<Vec<Script>> {
    let mut scripts = script::all(&directory(), filter)?;
    scripts.retain(|script| script.appliance == appliance);
    Ok(scripts)
}

fn directory() -> PathBuf {
    repository().join("tests/differential")
}

/// Compares each script's output with what is expected.
pub(super) fn compare(scripts: &[Script], place: &Place) -> Result<Tally> {
    let differences =
        fs::read_to_string(repository().join("docs/differences.md")).unwrap_or_default();
    each(scripts, |script, client| {
        let expected = match script.beside("ours") {
            ours if ours.exists() => {
                let name = script.name.split('@').next().unwrap_or_default();
                ensure!(
                    names(&differences, name),
                    "docs/differences.md does not say why {} differs",
                    ours.display()
                );
                ours
            }
            _ => script.beside("expected"),
        };
        let expected = fs::read_to_string(&expected).with_context(|| {
            format!(
                "{}; record it with cargo xtask test --record",
                expected.display()
            )
        })?;
        let actual = run(script, place, client)?;
        if actual != expected {
            bail!("\n{}", normal::diff(&script.name, &expected, &actual)?);
        }
        Ok(())
    })
}

/// Whether a text has the name, and not only that of another script that begins with it.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
    text.split(|c| !part(c)).any(|word| word == name)
}

/// Records what the stock daemon prints as what is expected.
///
/// Each script runs twice: output that changes by itself needs a mask.
pub(super) fn record(scripts: &[Script], place: &Place) -> Result<Tally> {
    each(scripts, |script, client| {
        let first = run(script, place, client)?;
        if let Some(line) = first
            .lines()
            .last()
            .filter(|line| line.starts_with("exit status "))
        {
            bail!("{line}: a command failed that has no '-' before it\n{first}");
        }
        if !place.boots() {
            let second = run(script, place, client)?;
            if first != second {
                let diff = normal::diff(&script.name, &first, &second)?;
                bail!("two runs differ; mask what changes, or write it otherwise\n{diff}");
            }
        }
        fs::write(script.beside("expected"), first)?;
        Ok(())
    })
}

/// Runs every script, a few at a time, and tells of each.
fn each(
    scripts: &[Script],
    test: impl Fn(&Script, Option<&Release>) -> Result<()> + Sync,
) -> Result<Tally> {
    let names = scripts.iter().flat_map(|script| script.release.as_deref());
    let releases: Releases = release::get(names);
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let lacks = |script: &Script| {
        let missing = script.filesystems.iter().find(|name| {
            !known
                .lines()
                .any(|line| line.split_whitespace().last() == Some(name))
        });
        let missing = missing.filter(|_| !script.appliance);
        missing.map(|name| format!("this kernel has no {name}"))
    };
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    let work = || {
        while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
            if process::interrupted() {
                break;
            }
            let start = Instant::now();
            let client = script.release.as_ref().map(|name| releases.get(name));
            let (client, unavailable) = match client.flatten() {
                Some(Ok(release)) => (Some(release), None),
                Some(Err(error)) => (None, Some(format!("{error:#}"))),
                None => (None, None),
            };
            let one = if let Some(why) = lacks(script).or(unavailable) {
                println!("skip {}: {why}", script.name);
                Tally {
                    skipped: 1,
                    ..Tally::default()
                }
            } else {
                match test(script, client) {
                    Ok(()) => {
                        let took = start.elapsed().as_secs_f32();
                        println!("ok   {} ({took:.1} s)", script.name);
                        Tally {
                            passed: 1,
                            ..Tally::default()
                        }
                    }
                    Err(error) => {
                        println!("FAIL {}: {error:#}", script.name);
                        Tally {
                            failed: vec![script.name.clone()],
                            ..Tally::default()
                        }
                    }
                }
            };
            if let Ok(mut tally) = tally.lock() {
                tally.add(one);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(work);
        }
    });
    ensure!(!process::interrupted(), "interrupted");
    Ok(tally
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Runs one script and returns its output, normalised.
fn run(script: &Script, place: &Place, client: Option<&Release>) -> Result<String> {
    match attempt(script, place, client) {
        // One boot in a few hundred hangs under emulation, whatever is in it.
        Err(Failure::Boot) => attempt(script, place, client),
        result => result,
    }
    .map_err(|failure| match failure {
        Failure::Boot => anyhow::anyhow!("the virtual machine did not boot, twice"),
        Failure::Other(error) => error,
    })
}

enum Failure {
    /// The machine hung before the first command.
    Boot,
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

fn attempt(script: &Script, place: &Place, client: Option<&Release>) -> Result<String, Failure> {
    let directory = tempfile::Builder::new().prefix("guestfsd-").tempdir()?;
    let mut command = Command::new("sh");
    // One file for output and errors, in the order in which they come; and it
    // can be looked at when the time is up.
    if script.shell {
        command.args(["-c", "exec sh script >output 2>&1"]);
    } else {
        let line = "exec stdbuf -oL \"$@\" --keys-from-stdin -f script >output 2>&1";
        command.args(["-c", line, "sh"]);
        command.args(client.map_or_else(|| vec!["guestfish".into()], Release::client));
    }
    for (index, disk) in script.disks.iter().enumerate() {
        let path = directory.path().join(format!("disk{}.img", index + 1));
        fs::File::create(&path)?.set_len(disk.size)?;
    }
    for fixture in &script.fixtures {
        copy_fixture(fixture, directory.path())?;
    }
    let remote = script.rsync.then(|| Remote::start(directory.path()));
    let remote = remote.transpose()?;
    let url = remote.as_ref().map(|remote| remote.url(""));
    let commands = if script.shell {
        script.shell_commands()
    } else {
        script.commands(url.as_deref())
    };
    fs::write(directory.path().join("script"), commands)?;
    command
        .current_dir(directory.path())
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("TMPDIR", "/tmp");
    for variable in [
        "LIBGUESTFS_DEBUG",
        "LIBGUESTFS_TRACE",
        "LIBGUESTFS_BACKEND_SETTINGS",
    ] {
        command.env_remove(variable);
    }
    place.environment(&mut command, client)?;
    let extra = if place.boots() { BOOT } else { Duration::ZERO };
    let finished = process::output(&mut command, script.timeout + extra);
    let output = fs::read(directory.path().join("output")).unwrap_or_default();
    let mut output = String::from_utf8_lossy(&output).into_owned();
    let status = match finished {
        Ok(finished) => finished.status,
        // In a script for the shell it may be any of several boots.
        Err(_) if place.boots() && (script.shell || !output.contains("> ")) => {
            return Err(Failure::Boot);
        }
        Err(error) => return Err(Failure::Other(error.context(output))),
    };
    if !status.success() {
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        output.push_str(&format!("exit status {}\n", status.code().unwrap_or(-1)));
    }
    if let Some(url) = url {
        output = output.replace(&url, "RSYNC");
    }
    Ok(normal::normalise(&output, directory.path(), script))
}

fn copy_fixture(name: &str, to: &Path) -> Result<()> {
    let source = repository().join("tests/fixtures").join(name);
    let target = to.join(source.file_name().unwrap_or_default());
    fs::copy(&source, target).with_context(|| source.display().to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_script_is_named_by_its_whole_name() {
        let text = "## block/gpt-damaged, file/copy: part_list\n\n(`block/gpt_x`).\n";
        assert!(names(text, "block/gpt-damaged") && names(text, "file/copy"));
        assert!(names(text, "block/gpt_x"));
        assert!(!names(text, "block/gpt") && !names(text, "lock/gpt-damaged"));
    }
}
