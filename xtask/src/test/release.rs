//! The libguestfs of another Debian release: its client, which a script can ask
//! for, and its daemon, which is then the judge.
//!
//! `target/lanes/releases/NAME/root` holds the packages of guestfish and of the
//! libraries that it and the daemon need, unpacked and no more: nothing of them is
//! installed, no script of theirs is run, and they are started with that release's
//! own dynamic linker. The programs that a daemon starts are this machine's.
//!
//! apt fetches them, with lists of its own, so signatures and checksums are as
//! well looked after as for the machine itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::workshop;
use crate::process;
use crate::steps::step;

/// Everything from a slow mirror; a hanging one must still end.
const LIMIT: Duration = Duration::from_secs(900);

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The stable series of libguestfs that each release had when its scripts were
/// recorded. A release that is still made moves on, and its scripts are skipped
/// until they are recorded anew and the series is changed here.
const RECORDED: &[(&str, &str)] = &[("bullseye", "1.44"), ("trixie", "1.54"), ("sid", "1.60")];

/// What holds guestfish, by the names that it has had. Whatever else is taken is a
/// library that one of these needs.
const CLIENTS: &[&str] = &["guestfish", "libguestfs-tools"];

/// Where the stand-in shows what `STANDIN_SHARE` names.
const SHARED: &str = "/standin/share";

/// The directories of a root that libraries are in.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// A release that is at hand.
pub(super) struct Release {
    directory: PathBuf,
    /// The dynamic linker, below the directory.
    linker: PathBuf,
}

/// Those that the scripts of one run ask for; an error says why one cannot be had.
pub(super) type Releases = BTreeMap<String, Result<Release>>;

/// Fetches what is asked for and not there yet.
pub(super) fn get<'a>(names: impl Iterator<Item = &'a str>) -> Releases {
    let names: BTreeSet<&str> = names.collect();
    names
        .into_iter()
        .map(|name| (name.to_owned(), Release::get(name)))
        .collect()
}

impl Release {
    fn get(name: &str) -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "only Debian's packages for amd64 are looked for"
        );
        let directory = workshop::directory()?.join("releases").join(name);
        let root = directory.join("root");
        if !root.exists() {
            fs::create_dir_all(&directory)?;
            step(&format!("fetch the libguestfs of Debian {name}"), || {
                fetch(name, &directory)
            })
            .with_context(|| format!("cannot fetch the libguestfs of Debian {name}"))?;
        }
        let linker = linker(&root).with_context(|| format!("{name} has no dynamic linker"))?;
        let release = Self {
            linker: Path::new("root").join(linker),
            directory,
        };
        release.check_series(name)?;
        Ok(release)
    }

    /// That its client is of the series that scripts were recorded with.
    fn check_series(&self, name: &str) -> Result<()> {
        let recorded = RECORDED.iter().find(|(release, _)| *release == name);
        let (_, recorded) =
            recorded.with_context(|| format!("no series of libguestfs is known for {name}"))?;
        let mut words = self.client().into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        let said = process::run(command.args(words).arg("--version"), LIMIT)?.text();
        let version = said.trim().trim_start_matches("guestfish ");
        ensure!(
            is_of_series(version, recorded),
            "{name} has libguestfs {version}, and its scripts were recorded with {recorded}"
        );
        Ok(())
    }

    /// The command line that starts this release's guestfish.
    pub(super) fn client(&self) -> Vec<PathBuf> {
        let mut words = self.linked(&self.directory);
        words.push(self.directory.join("root/usr/bin/guestfish"));
        words
    }

    /// The release's daemon, and what a command needs in its environment for the
    /// stand-in to start it.
    pub(super) fn daemon(&self, command: &mut Command) -> Result<()> {
        let guestfs = self.directory.join("root").join(LIBRARIES[1]);
        let daemon = workshop::unpack_daemon(&guestfs.join("guestfs"), &self.directory)?;
        let words: Vec<String> = self
            .linked(Path::new(SHARED))
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        command
            .env("GUESTFSD_BIN", daemon)
            .env("STANDIN_SHARE", &self.directory)
            .env("STANDIN_WRAP", words.join(" "));
        Ok(())
    }

    /// The dynamic linker and where it finds libraries, with the release there. An
    /// environment variable would reach the programs that are started, too.
    fn linked(&self, directory: &Path) -> Vec<PathBuf> {
        let root = directory.join("root");
        let libraries = LIBRARIES.map(|name| root.join(name).to_string_lossy().into_owned());
        vec![
            directory.join(&self.linker),
            "--library-path".into(),
            libraries.join(":").into(),
        ]
    }
}

/// Whether `1.54.1` is of the series `1.54`.
fn is_of_series(version: &str, series: &str) -> bool {
    version
        .strip_prefix(series)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The dynamic linker below a root. What has its name for programs may be a link
/// to the machine's.
fn linker(root: &Path) -> Option<PathBuf> {
    LIBRARIES.iter().find_map(|libraries| {
        let entries = fs::read_dir(root.join(libraries)).ok()?;
        entries.flatten().find_map(|entry| {
            let name = entry.file_name();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let text = name.to_string_lossy();
            (is_file && text.starts_with("ld-") && text.contains(".so"))
                .then(|| Path::new(libraries).join(&name))
        })
    })
}

fn fetch(name: &str, directory: &Path) -> Result<()> {
    let scratch = tempfile::Builder::new()
        .prefix("fetch-")
        .tempdir_in(directory)?;
    let apt = Apt::new(name, scratch.path())?;
    let packages = apt.libraries()?;
    process::run(
        apt.command("apt-get", "download")
            .current_dir(&apt.packages)
            .args(&packages),
        LIMIT,
    )?;
    let root = scratch.path().join("root");
    for entry in fs::read_dir(&apt.packages)? {
        process::run(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(entry?.path())
                .arg(&root),
            LIMIT,
        )?;
    }
    // Last: it says that all is there.
    fs::rename(root, directory.join("root"))?;
    Ok(())
}

/// apt with another release's lists and without this machine's packages.
struct Apt {
    configuration: PathBuf,
    /// Where packages are put.
    packages: PathBuf,
}

impl Apt {
    fn new(release: &str, scratch: &Path) -> Result<Self> {
        let own = |name: &str| scratch.join(name).display().to_string();
        let apt = Self {
            configuration: scratch.join("apt.conf"),
            packages: scratch.join("packages"),
        };
        for name in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(scratch.join(name))?;
        }
        fs::write(
            scratch.join("sources.list"),
            format!("deb [arch=amd64 signed-by={KEYS}] {MIRROR} {release} main\n"),
        )?;
        fs::write(scratch.join("status"), "")?;
        let settings = [
            ("Dir::State", own("")),
            ("Dir::State::status", own("status")),
            ("Dir::Cache", own("cache")),
            ("Dir::Etc::sourcelist", own("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::Retries", "2".to_owned()),
            ("Acquire::http::Timeout", "30".to_owned()),
            // Releases that are kept for those who cannot leave them are no longer
            // signed anew.
            ("Acquire::Check-Valid-Until", "false".to_owned()),
            ("APT::Architecture", "amd64".to_owned()),
            // Only root can be another user, which has no way in here.
            ("APT::Sandbox::User", "root".to_owned()),
        ];
        let text: String = settings
            .iter()
            .map(|(setting, value)| format!("{setting} \"{value}\";\n"))
            .collect();
        fs::write(&apt.configuration, text)?;
        // Without a network this is a warning only, unless asked otherwise.
        process::run(
            apt.command("apt-get", "update").arg("--error-on=any"),
            LIMIT,
        )?;
        Ok(apt)
    }

    fn command(&self, program: &str, verb: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("APT_CONFIG", &self.configuration)
            .env("LC_ALL", "C")
            .args(["-q", verb]);
        command
    }

    /// A package with guestfish, and the libraries that it needs, theirs too, but no
    /// programs: the library names all that the appliance is made of.
    fn libraries(&self) -> Result<BTreeSet<String>> {
        let mut taken = BTreeSet::new();
        let mut new: BTreeSet<String> = self.client()?.into_iter().collect();
        while !new.is_empty() {
            let said = process::run(
                self.command("apt-cache", "depends")
                    .arg("--important")
                    .args(&new),
                LIMIT,
            )?;
            taken.append(&mut new);
            let needed = needed(&said.text());
            new.extend(needed.into_iter().filter(|name| !taken.contains(name)));
        }
        Ok(taken)
    }

    fn client(&self) -> Result<Option<String>> {
        for name in CLIENTS {
            let policy = process::run(self.command("apt-cache", "policy").arg(name), LIMIT)?;
            let text = policy.text();
            if text.contains("Candidate:") && !text.contains("Candidate: (none)") {
                return Ok(Some((*name).to_owned()));
            }
        }
        bail!("no package of it is called {}", CLIENTS.join(" or "))
    }
}

/// The libraries that `apt-cache depends` names. Of alternatives the first is
/// taken, as apt does; what several packages provide is no library.
fn needed(said: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut alternative = false;
    for line in said.lines() {
        let more = line.trim_start().starts_with('|');
        let word = line.trim_start_matches([' ', '|']);
        let name = ["Depends: ", "PreDepends: "]
            .iter()
            .find_map(|kind| word.strip_prefix(kind));
        if let Some(name) = name {
            let library = name.starts_with("lib") && !name.ends_with("-perl") || name == "zlib1g";
            if library && !alternative {
                names.insert(name.to_owned());
            }
            alternative = more;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_all_versions_that_begin_with_it() {
        assert!(is_of_series("1.54.1", "1.54"));
        assert!(is_of_series("1.54", "1.54"));
        assert!(!is_of_series("1.540.1", "1.54"));
        assert!(!is_of_series("1.6.1", "1.60"));
    }

    #[test]
    fn only_libraries_are_taken_and_of_alternatives_the_first() {
        let said = "libguestfs0t64\n  Depends: libacl1\n  Depends: qemu-system-x86\n \
                    |Depends: libone\n  Depends: libother\n  PreDepends: zlib1g\n\
                    guestfs-tools\n  Depends: libsys-virt-perl\n  Depends: <libvirtual>\n";
        let expected = ["libacl1", "libone", "zlib1g"].map(str::to_owned);
        assert_eq!(needed(said), expected.into());
    }
}
