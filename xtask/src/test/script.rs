//! A differential script: guestfish commands (`NAME.gfs`), or lines for the shell
//! that run other clients (`NAME.sh`), and what the lane must know.
//!
//! Lines that start with `#:` are directives:
//!
//! * `disk SIZE [LABEL]`: a blank disk (`64M`, `1G`); one of 64M when none is named
//! * `fixture PATH`: a copy of `tests/fixtures/PATH` in the working directory
//! * `key TEXT`: what the next command reads as a key; repeat for several
//! * `mask REGEX`: what it matches differs from run to run
//! * `kernel FILESYSTEM`: skip where this machine's kernel lacks the filesystem
//! * `timeout SECONDS`: instead of 60
//! * `lane appliance`: needs a real appliance
//! * `release NAME...`: with the client of another Debian release; once for each
//! * `rsync`: a daemon of rsync serves the directory `served`; `RSYNC` is its URL
//! * `for WORD in VALUE...` and `end`: what is between, for each value

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

use super::spelling::{self, Line};

/// A script and its directives.
pub(super) struct Script {
    /// `AREA/NAME`, for another release's client with `@RELEASE`.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) disks: Vec<Disk>,
    pub(super) fixtures: Vec<String>,
    pub(super) masks: Vec<Regex>,
    pub(super) filesystems: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) appliance: bool,
    pub(super) rsync: bool,
    /// Whose client it is for, if not this machine's.
    pub(super) release: Option<String>,
    /// Its lines are the shell's, and each client that they run launches.
    pub(super) shell: bool,
    pub(super) text: String,
    lines: Vec<Line>,
}

/// A blank disk.
pub(super) struct Disk {
    pub(super) size: u64,
    pub(super) label: Option<String>,
}

const DEFAULT_DISK: u64 = 64 << 20;

/// Reads every script below the directory whose name contains the filter.
pub(super) fn all(directory: &Path, filter: &str) -> Result<Vec<Script>> {
    let mut scripts = Vec::new();
    let mut paths = Vec::new();
    for area in list(directory)? {
        if area.is_dir() {
            paths.extend(list(&area)?);
        }
    }
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(directory)?.with_extension("");
        let name = name.to_string_lossy().into_owned();
        if path
            .extension()
            .is_none_or(|kind| kind != "gfs" && kind != "sh")
        {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let script = |release: Option<&str>| -> Result<Script> {
            let script = Script::parse(name.clone(), path.clone(), text.clone());
            let mut script = script.with_context(|| path.display().to_string())?;
            if let Some(release) = release {
                script.name = format!("{name}@{release}");
                script.release = Some(release.to_owned());
            }
            Ok(script)
        };
        match releases(&text) {
            names if names.is_empty() => scripts.push(script(None)?),
            names => {
                for name in names {
                    scripts.push(script(Some(name))?);
                }
            }
        }
    }
    scripts.retain(|script| script.name.contains(filter));
    Ok(scripts)
}

/// The releases that a script names.
fn releases(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| spelling::directive(line)?.strip_prefix("release "))
        .flat_map(str::split_whitespace)
        .collect()
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    Ok(entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?)
}

impl Script {
    fn parse(name: String, path: PathBuf, text: String) -> Result<Self> {
        let mut script = Self {
            name,
            shell: path.extension().is_some_and(|kind| kind == "sh"),
            path,
            disks: Vec::new(),
            fixtures: Vec::new(),
            masks: Vec::new(),
            filesystems: Vec::new(),
            timeout: Duration::from_secs(60),
            appliance: false,
            rsync: false,
            release: None,
            lines: spelling::lines(&text)?,
            text: String::new(),
        };
        for line in text.lines() {
            if let Some(directive) = spelling::directive(line) {
                script
                    .directive(directive)
                    .with_context(|| line.to_owned())?;
            }
        }
        if script.disks.is_empty() && !script.shell {
            script.disks.push(Disk {
                size: DEFAULT_DISK,
                label: None,
            });
        }
        script.text = text;
        Ok(script)
    }

    fn directive(&mut self, directive: &str) -> Result<()> {
        let (word, value) = directive
            .split_once(char::is_whitespace)
            .unwrap_or((directive, ""));
        let value = value.trim();
        match word {
            "disk" => {
                let (size, label) = value.split_once(' ').unwrap_or((value, ""));
                let label = Some(label.trim().to_owned()).filter(|label| !label.is_empty());
                self.disks.push(Disk {
                    size: bytes(size)?,
                    label,
                });
            }
            "fixture" => self.fixtures.push(value.to_owned()),
            // Handed over with the command that it stands before.
            "key" => {}
            "mask" => self.masks.push(Regex::new(value)?),
            "kernel" => self.filesystems.push(value.to_owned()),
            "timeout" => self.timeout = Duration::from_secs(value.parse()?),
            "lane" if value == "appliance" => self.appliance = true,
            "rsync" => self.rsync = true,
            // Read with the lines that they are about, or before all lines.
            "for" | "end" | "release" => {}
            _ => bail!("no such directive; see docs/TESTING.md"),
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn for_test(text: String) -> Self {
        Self::parse("a/b".into(), PathBuf::new(), text).unwrap()
    }

    /// What it expects, or whatever else is kept beside it.
    pub(super) fn beside(&self, extension: &str) -> PathBuf {
        match &self.release {
            Some(release) => self.path.with_extension(format!("{release}.{extension}")),
            None => self.path.with_extension(extension),
        }
    }

    /// The script for the shell: every line is announced, and what it prints
    /// follows. A line that begins with `-` may fail, and tells its status.
    pub(super) fn shell_commands(&self) -> String {
        let mut out = String::new();
        for line in &self.lines {
            let shown = line.shown.trim();
            if is_comment(shown) {
                continue;
            }
            let quoted = shown.replace('\'', r"'\''");
            out.push_str(&format!("printf '> %s\\n' '{quoted}'\n"));
            let command = line.spelt_out.trim();
            let (command, otherwise) = match command.strip_prefix('-') {
                Some(command) => (command, "echo \"status $?\""),
                None => (command, "exit"),
            };
            out.push_str(&format!("{{ {command}\n}} || {otherwise}\n"));
        }
        out
    }

    /// The script for guestfish: launched first, and every command announced,
    /// so that the output can be read beside the script. `rsync` is the URL of the
    /// daemon that the script has asked for.
    pub(super) fn commands(&self, rsync: Option<&str>) -> String {
        let mut out = String::new();
        for (index, disk) in self.disks.iter().enumerate() {
            let label = disk.label.as_ref().map(|label| format!(" label:{label}"));
            let label = label.unwrap_or_default();
            out.push_str(&format!(
                "add-drive disk{}.img format:raw{label}\n",
                index + 1
            ));
        }
        out.push_str("run\n");
        let mut here_document: Option<String> = None;
        let mut keys = Vec::new();
        for line in &self.lines {
            let trimmed = line.shown.trim();
            if let Some(end) = &here_document {
                if trimmed == end {
                    here_document = None;
                }
            } else if let Some(key) = trimmed.strip_prefix("#: key ") {
                keys.push(key);
            } else if !is_comment(trimmed) {
                out.push_str("echo \"> ");
                out.push_str(&trimmed.replace('\\', "\\\\").replace('"', "\\\""));
                out.push_str("\"\n");
                here_document = here_document_end(trimmed);
            }
            match rsync {
                Some(url) => out.push_str(&line.spelt_out.replace("RSYNC", url)),
                None => out.push_str(&line.spelt_out),
            }
            out.push('\n');
            if !is_comment(trimmed) {
                // guestfish reads keys from where it reads commands.
                for key in keys.drain(..) {
                    out.push_str(key);
                    out.push('\n');
                }
            }
        }
        out
    }
}

fn is_comment(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

/// The word that ends a `-<<WORD` argument.
fn here_document_end(line: &str) -> Option<String> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix("-<<"))
        .map(str::to_owned)
}

fn bytes(size: &str) -> Result<u64> {
    let (digits, unit) = match size.strip_suffix(['K', 'M', 'G']) {
        Some(digits) => (digits, &size[digits.len()..]),
        None => (size, ""),
    };
    let shift = match unit {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => 0,
    };
    let number: u64 = digits
        .parse()
        .with_context(|| format!("{size} is no size"))?;
    Ok(number << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script> {
        Script::parse("a/b".into(), PathBuf::new(), text.into())
    }

    #[test]
    fn directives_are_read_and_unknown_ones_refused() {
        let script = parse("#: disk 1G data\n#: disk 512K\n#: timeout 5\n#: kernel xfs\n").unwrap();
        let sizes: Vec<_> = script.disks.iter().map(|disk| disk.size).collect();
        assert_eq!(sizes, [1 << 30, 512 << 10]);
        assert_eq!(script.disks[0].label.as_deref(), Some("data"));
        assert_eq!(script.timeout, Duration::from_secs(5));
        assert_eq!(script.filesystems, ["xfs"]);
        assert_eq!(parse("").unwrap().disks.len(), 1);
        assert!(parse("#: disc 1G\n").is_err());
        assert!(parse("#: disk big\n").is_err());
    }

    #[test]
    fn a_script_for_other_releases_is_one_for_each() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        let path = directory.path().join("a/b.gfs");
        std::fs::write(&path, "#: release old new\nping-daemon\n").unwrap();
        let scripts = all(directory.path(), "a/b").unwrap();
        let names: Vec<_> = scripts.iter().map(|script| &script.name).collect();
        assert_eq!(names, ["a/b@old", "a/b@new"]);
        assert_eq!(
            scripts[1].beside("expected"),
            path.with_file_name("b.new.expected")
        );
        assert_eq!(all(directory.path(), "@old").unwrap().len(), 1);
    }

    #[test]
    fn what_is_repeated_is_not_announced_at_length() {
        let script = parse("#: for P in [/d*3] x\n-rm P\n#: end\n").unwrap();
        assert_eq!(
            script.commands(None),
            "add-drive disk1.img format:raw\nrun\necho \"> -rm [/d*3]\"\n-rm /d/d/d\n\
             echo \"> -rm x\"\n-rm x\n"
        );
    }

    #[test]
    fn commands_are_announced_but_the_text_of_here_documents_is_not() {
        let script = parse("# why\nupload -<<END /a\necho \"x\"\nEND\n-cat \"/a\\n\"\n").unwrap();
        assert_eq!(
            script.commands(None),
            "add-drive disk1.img format:raw\nrun\n# why\necho \"> upload -<<END /a\"\nupload -<<END /a\necho \"x\"\nEND\n\
             echo \"> -cat \\\"/a\\\\n\\\"\"\n-cat \"/a\\n\"\n"
        );
    }

    #[test]
    fn the_url_of_rsync_is_not_announced() {
        let script = parse("#: rsync\nrsync-in RSYNC/a /\n").unwrap();
        assert!(script.rsync);
        assert!(
            script
                .commands(Some("rsync://x"))
                .ends_with("echo \"> rsync-in RSYNC/a /\"\nrsync-in rsync://x/a /\n")
        );
    }

    #[test]
    fn a_line_for_the_shell_may_fail_only_if_it_says_so() {
        let path = PathBuf::from("a/b.sh");
        let text = "# why\n#: for F in x y\necho 'F'\n#: end\n-false\n";
        let script = Script::parse("a/b".into(), path, text.into()).unwrap();
        assert!(script.shell && script.disks.is_empty());
        assert_eq!(
            script.shell_commands(),
            "printf '> %s\\n' 'echo '\\''x'\\'''\n{ echo 'x'\n} || exit\n\
             printf '> %s\\n' 'echo '\\''y'\\'''\n{ echo 'y'\n} || exit\n\
             printf '> %s\\n' '-false'\n{ false\n} || echo \"status $?\"\n"
        );
    }

    #[test]
    fn keys_follow_the_command_that_they_stand_before() {
        let script =
            parse("#: key one\n# why\n#: key two words\n-luks-x /dev/sda\nping\n").unwrap();
        assert_eq!(
            script.commands(None),
            "add-drive disk1.img format:raw\nrun\n#: key one\n# why\n#: key two words\n\
             echo \"> -luks-x /dev/sda\"\n-luks-x /dev/sda\none\ntwo words\necho \"> ping\"\nping\n"
        );
    }
}
