//! A client's output, without what may differ from run to run and between two
//! daemons that do the same.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use regex_lite::Regex;

use super::script::Script;

// The patterns are constants; a wrong one fails every test that runs.
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("{error}"))
}

static UUID: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-z]{6}(?:-[0-9a-z]{4}){5}-[0-9a-z]{6}\b",
    )
});
static SCRATCH: LazyLock<Regex> = LazyLock::new(|| pattern(r"/tmp/libguestfs\w+"));
static ERROR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^(?:\S+:\d+: )?libguestfs: error: (?:([a-z0-9_]+): )?(.*)$"));

/// The output in the form in which it is kept and compared.
///
/// * The working directory and the library's scratch names are named as such.
/// * UUIDs that are not in the script itself are random.
/// * Of an error, the action and the system's error text are kept: the words
///   between are each daemon's own.
/// * What the script masks is masked.
pub(super) fn normalise(output: &str, directory: &Path, script: &Script) -> String {
    let output = output.replace(&*directory.to_string_lossy(), "DIRECTORY");
    let output = UUID.replace_all(&output, |found: &regex_lite::Captures<'_>| {
        let uuid = &found[0];
        if script.text.contains(uuid) {
            uuid.to_owned()
        } else {
            "UUID".to_owned()
        }
    });
    let output = SCRATCH.replace_all(&output, "SCRATCH");
    let mut kept = String::new();
    let mut error: Option<(String, String)> = None;
    for line in output.lines() {
        if let Some(found) = ERROR.captures(line) {
            finish(&mut kept, error.take());
            let action = found.get(1).map_or("", |action| action.as_str()).to_owned();
            error = Some((action, found[2].to_owned()));
        } else if line.starts_with("> ") || line.starts_with("exit status ") {
            finish(&mut kept, error.take());
            kept.push_str(line);
            kept.push('\n');
        } else if let Some((_, message)) = &mut error {
            // An external program's words may take several lines.
            message.push('\n');
            message.push_str(line);
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    finish(&mut kept, error);
    for mask in &script.masks {
        kept = mask.replace_all(&kept, "MASKED").into_owned();
    }
    kept
}

fn finish(kept: &mut String, error: Option<(String, String)>) {
    let Some((action, message)) = error else {
        return;
    };
    let text = system_error(&message).unwrap_or_else(|| "(message)".to_owned());
    let action = if action.is_empty() {
        String::new()
    } else {
        format!("{action}: ")
    };
    let _ = writeln!(kept, "error: {action}{text}");
}

/// The text of an errno at the end of the message.
fn system_error(message: &str) -> Option<String> {
    let message = message.trim_end().trim_end_matches('.');
    TEXTS
        .iter()
        .filter(|text| {
            message
                .strip_suffix(text.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(": "))
        })
        .max_by_key(|text| text.len())
        .cloned()
}

/// What the C library says of each errno.
static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    (1..=133)
        .map(|errno| {
            let text = std::io::Error::from_raw_os_error(errno).to_string();
            text.split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
});

/// A unified diff of what was expected and what came.
pub(super) fn diff(name: &str, expected: &str, actual: &str) -> anyhow::Result<String> {
    use std::process::Command;
    let directory = tempfile::tempdir()?;
    let (left, right) = (
        directory.path().join("expected"),
        directory.path().join("actual"),
    );
    std::fs::write(&left, expected)?;
    std::fs::write(&right, actual)?;
    let finished = crate::process::output(
        Command::new("diff")
            .args(["-u", "--label"])
            .arg(format!("{name} (expected)"))
            .arg("--label")
            .arg(format!("{name} (actual)"))
            .args([&left, &right]),
        std::time::Duration::from_secs(20),
    )?;
    Ok(finished.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(output: &str, script: &str) -> String {
        let text = script.to_owned();
        let script = super::super::script::Script::for_test(text);
        normalise(output, Path::new("/tmp/work"), &script)
    }

    #[test]
    fn an_error_keeps_its_action_and_the_systems_words() {
        assert_eq!(
            run(
                "s:3: libguestfs: error: stat: stat: /x: No such file or directory\n> next\n",
                ""
            ),
            "error: stat: No such file or directory\n> next\n"
        );
        assert_eq!(
            run(
                "libguestfs: error: mkfs: ext4: mke2fs 1.47\nmore\nwords\n> next\n",
                ""
            ),
            "error: mkfs: (message)\n> next\n"
        );
        assert_eq!(
            run("libguestfs: error: mount: \n", ""),
            "error: mount: (message)\n"
        );
    }

    #[test]
    fn only_uuids_that_the_script_does_not_name_are_random() {
        let uuid = "12345678-1234-1234-1234-123456789abc";
        assert_eq!(run(&format!("{uuid}\n"), ""), "UUID\n");
        assert_eq!(run(&format!("{uuid}\n"), uuid), format!("{uuid}\n"));
    }

    #[test]
    fn the_working_directory_and_masks_are_replaced() {
        assert_eq!(
            run("/tmp/work/a 17\n", "#: mask [0-9]+\n"),
            "DIRECTORY/a MASKED\n"
        );
    }
}
