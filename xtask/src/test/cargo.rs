//! Lanes that are tests of cargo's kind.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::Tally;
use crate::process;

/// Runs `cargo test` (through `cargo nextest` where that is installed) and
/// counts its results. What it prints goes to the caller's terminal.
pub(super) fn run(
    selection: &[&str],
    filter: &str,
    daemon: Option<&Path>,
    environment: &[(&str, &str)],
    limit: Duration,
) -> Result<Tally> {
    let nextest = process::find("cargo-nextest").is_some();
    let mut command = crate::cargo::command();
    if nextest {
        command.args([
            "nextest",
            "run",
            "--no-fail-fast",
            "--no-tests=pass",
            "--color=never",
        ]);
        command.args(["--status-level=fail", "--final-status-level=none"]);
        command.args(selection);
        if !filter.is_empty() {
            command.args(["--", filter]);
        }
    } else {
        command.args(["test", "--no-fail-fast"]).args(selection);
        if !filter.is_empty() {
            command.args(["--", filter]);
        }
    }
    if let Some(daemon) = daemon {
        command.env("GUESTFSD_BIN", daemon);
    }
    // What could not be tested here, as neither of the two has words for that.
    let skipped = tempfile::NamedTempFile::new()?;
    command.env("GUESTFSD_SKIPPED", skipped.path());
    command.envs(environment.iter().copied());
    // One stream, so that it can be shown and read at the same time.
    let (reader, writer) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = process::spawn(&mut command)?;
    // Ours of the writing end goes with the command, or the reader never ends.
    drop(command);
    let output = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            println!("{line}");
            lines.push(line);
        }
        lines
    });
    let status = process::wait(&mut child, limit);
    // nextest has each test in a group of its own.
    process::stop_gently(&mut child);
    let lines = output.join().unwrap_or_default();
    let mut tally = if nextest {
        nextest_tally(&lines)
    } else {
        cargo_tally(&lines)
    };
    tally.skip(&std::fs::read_to_string(skipped.path())?);
    match status? {
        Some(status) if status.success() => {}
        // It did not compile, or crashed: nothing was counted, and yet it failed.
        Some(_) if tally.failed.is_empty() => tally.failed.push(format!("{selection:?}")),
        Some(_) => {}
        None => tally
            .failed
            .push(format!("{selection:?} (after {} s)", limit.as_secs())),
    }
    Ok(tally)
}

impl Tally {
    /// Takes out of what has passed the tests that have said why they did nothing.
    fn skip(&mut self, said: &str) {
        let said: BTreeSet<&str> = said.lines().collect();
        for line in &said {
            println!("skip {line}");
        }
        self.passed = self.passed.saturating_sub(said.len());
        self.skipped += said.len();
    }
}

/// Reads `Summary [ 0.1s] 3 tests run: 1 passed (1 slow), 2 failed, 4 skipped`
/// and the names in `FAIL [ 0.1s] crate test`.
fn nextest_tally(lines: &[String]) -> Tally {
    let mut tally = Tally::default();
    let mut unsuccessful = 0;
    for line in lines {
        let line = line.trim();
        if line.starts_with("Summary [") {
            let counts = line
                .split("tests run:")
                .nth(1)
                .or(line.split("test run:").nth(1));
            for part in counts.unwrap_or_default().split(',') {
                let (count, what) = counted(part);
                match what {
                    Some("passed") => tally.passed += count,
                    // What a filter left out is also reported as skipped.
                    Some("skipped") | None => {}
                    Some(_) => unsuccessful += count,
                }
            }
        } else if [
            "FAIL",
            "TIMEOUT",
            "SIGABRT",
            "SIGSEGV",
            "ABORT",
            "LEAK-FAIL",
        ]
        .iter()
        .any(|word| line.starts_with(&format!("{word} [")))
        {
            // Before the name there may be its number, as in `(2/3)`.
            let name = line.split(']').nth(1).unwrap_or_default();
            let name = name.split_once(')').map_or(name, |(_, name)| name);
            let name = name.trim().to_owned();
            if !tally.failed.contains(&name) {
                tally.failed.push(name);
            }
        }
    }
    while tally.failed.len() < unsuccessful {
        tally.failed.push("see above".to_owned());
    }
    tally
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; ...` and `test NAME ... FAILED`.
fn cargo_tally(lines: &[String]) -> Tally {
    let mut tally = Tally::default();
    for line in lines {
        if let Some(counts) = line.strip_prefix("test result:") {
            for part in counts.split([';', '.']) {
                let (count, what) = counted(part);
                match what {
                    Some("passed") => tally.passed += count,
                    Some("ignored") => tally.skipped += count,
                    _ => {}
                }
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            tally.failed.push(name.to_owned());
        }
    }
    tally
}

/// A number and what it counts, as in `3 passed`.
fn counted(part: &str) -> (usize, Option<&str>) {
    let mut words = part.split_whitespace();
    let count = words
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    (count, words.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn nextests_summary_is_counted() {
        let tally = nextest_tally(&lines(
            "        FAIL [   0.003s] (2/3) crate tests::b\n\
             ------------\n     Summary [   0.01s] 3 tests run: 1 passed (1 slow), 1 failed, 1 timed out, 9 skipped\n",
        ));
        assert_eq!((tally.passed, tally.skipped), (1, 0));
        assert_eq!(tally.failed, ["crate tests::b", "see above"]);
        let one = nextest_tally(&lines(
            "     Summary [   0.01s] 1 test run: 1 passed, 0 skipped\n",
        ));
        assert_eq!(one.passed, 1);
    }

    #[test]
    fn what_was_skipped_has_not_passed() {
        let mut tally = cargo_tally(&lines("test result: ok. 4 passed; 1 ignored;\n"));
        tally.skip("a::b: no xfs\na::c: no xfs\n");
        assert_eq!((tally.passed, tally.skipped), (2, 3));
    }

    #[test]
    fn cargos_summaries_are_added_up() {
        let tally = cargo_tally(&lines(
            "test a ... ok\ntest b ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
             test result: ok. 4 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out\n",
        ));
        assert_eq!((tally.passed, tally.skipped), (5, 2));
        assert_eq!(tally.failed, ["b"]);
    }
}
