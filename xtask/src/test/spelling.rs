//! What a script spells shorter than guestfish would have it: commands for each
//! of several values, and text that is repeated.

use std::borrow::Cow;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use regex_lite::{Captures, Regex};

/// One line of a script, as it is written and as guestfish gets it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// With the value of `for` in it, but nothing repeated: for the announcement.
    pub(super) shown: String,
    pub(super) spelt_out: String,
}

impl Line {
    fn new(shown: Cow<'_, str>) -> Self {
        Self {
            spelt_out: repeat(&shown),
            shown: shown.into_owned(),
        }
    }
}

/// The lines of a script. Those between `#: for WORD in VALUE...` and `#: end`
/// are there once for each value, which stands in place of the word.
pub(super) fn lines(text: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut rest = text.lines();
    while let Some(line) = rest.next() {
        let Some(directive) = directive(line) else {
            lines.push(Line::new(line.into()));
            continue;
        };
        match directive.split_once(' ') {
            Some(("for", values)) => {
                let (word, values) = values
                    .split_once(" in ")
                    .with_context(|| format!("{line}: for WORD in VALUE..."))?;
                let mut body = Vec::new();
                loop {
                    match rest.next() {
                        Some(line) if ends(line) => break,
                        Some(line) => body.push(line),
                        None => bail!("{line}: no 'end'"),
                    }
                }
                for value in values.split_whitespace() {
                    let line = |line: &&str| Line::new(line.replace(word, value).into());
                    lines.extend(body.iter().map(line));
                }
            }
            _ if ends(line) => bail!("'end' without 'for'"),
            _ => lines.push(Line::new(line.into())),
        }
    }
    Ok(lines)
}

/// The text of a line that is a directive.
pub(super) fn directive(line: &str) -> Option<&str> {
    line.strip_prefix("#:").map(str::trim)
}

fn ends(line: &str) -> bool {
    directive(line) == Some("end")
}

/// Spells out `[TEXT*COUNT]`.
fn repeat(line: &str) -> String {
    // A constant; a wrong one fails every test that runs.
    static REPEATED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\[([^\[\]*\s]+)\*([0-9]{1,5})\]").unwrap_or_else(|error| panic!("{error}"))
    });
    let spell_out = |found: &Captures<'_>| found[1].repeat(found[2].parse().unwrap_or_default());
    REPEATED.replace_all(line, spell_out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str) -> Vec<(String, String)> {
        let lines = lines(text).unwrap();
        let both = |line: Line| (line.shown, line.spelt_out);
        lines.into_iter().map(both).collect()
    }

    #[test]
    fn what_is_between_for_and_end_is_there_for_each_value() {
        let text = "a P\n#: for P in /x \"\"\nb P\nc P P\n#: end\nd P\n";
        let shown: Vec<_> = both(text).into_iter().map(|(shown, _)| shown).collect();
        assert_eq!(
            shown,
            ["a P", "b /x", "c /x /x", "b \"\"", "c \"\" \"\"", "d P"]
        );
        assert!(lines("#: for P /x\n#: end\n").is_err());
        assert!(lines("#: for P in /x\nrm P\n").is_err());
        assert!(lines("#: end\n").is_err());
    }

    #[test]
    fn repetitions_are_spelt_out_but_not_shown() {
        let expected = ("-rm /[ab*3]".to_owned(), "-rm /ababab".to_owned());
        assert_eq!(
            both("#: for P in /[ab*3]\n-rm P\n#: end\n"),
            std::slice::from_ref(&expected)
        );
        assert_eq!(both("-rm /[ab*3]\n"), [expected]);
        for unchanged in ["ls [a-z*]", "!echo a[0]*2", "glob ls /[*3]"] {
            assert_eq!(both(unchanged), [(unchanged.into(), unchanged.into())]);
        }
    }
}
