//! The calls in the text of tests, whatever they are written in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How a language writes what is no code: the comment that ends with the line,
/// and its quotes, of which none is the beginning of a later one.
struct Language {
    comment: &'static str,
    quotes: &'static [&'static str],
}

const PYTHON: Language = Language {
    comment: "#",
    quotes: &["\"\"\"", "'''", "\"", "'"],
};

const RUST: Language = Language {
    comment: "//",
    quotes: &["\""],
};

/// What tests in Rust call a client.
const CLIENTS: [&str; 4] = ["client", "d", "direct", "machine"];

impl Language {
    /// The text without comments and quoted text, each chain of calls in one piece.
    fn code(&self, text: &str) -> String {
        let mut code = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if rest.starts_with(self.comment) {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
            } else if let Some(quote) = self.quotes.iter().find(|quote| rest.starts_with(**quote)) {
                rest = after(&rest[quote.len()..], quote);
                code.push('"');
            } else {
                if c == '.' {
                    code.truncate(code.trim_end().len());
                }
                code.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        code
    }
}

/// What follows the quoted text that begins here.
fn after<'a>(mut text: &'a str, quote: &str) -> &'a str {
    while let Some(c) = text.chars().next() {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest;
        }
        text = &text[c.len_utf8()..];
        if c == '\\' {
            let skipped = text.chars().next().map_or(0, char::len_utf8);
            text = &text[skipped..];
        }
    }
    text
}

/// The methods of this object that are called.
fn methods(code: &str, object: &str, called: &mut BTreeSet<String>) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let prefix = format!("{object}.");
    for (at, _) in code.match_indices(&prefix) {
        let before = code[..at].chars().next_back();
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        if !before.is_some_and(word) && rest.starts_with('(') {
            called.insert(name.to_owned());
        }
    }
}

/// The commands of a guestfish script.
fn commands(script: &str, called: &mut BTreeSet<String>) {
    for line in script.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix('-').unwrap_or(line);
        if let Some(word) = line.split_whitespace().next()
            && word.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            called.insert(word.replace('-', "_"));
        }
    }
}

/// All files below the directory with this extension.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

/// The text of all files below the directory with this extension.
fn texts(directory: &Path, extension: &str) -> Vec<String> {
    let read = |path: &PathBuf| fs::read_to_string(path).expect("text");
    files(directory, extension).iter().map(read).collect()
}

/// What the scripts of Python below the directory call.
pub(super) fn python(directory: &Path, called: &mut BTreeSet<String>) {
    for script in texts(directory, "py") {
        methods(&PYTHON.code(&script), "g", called);
    }
}

/// What the tests in Rust below the directory call.
pub(super) fn rust(directory: &Path, called: &mut BTreeSet<String>) {
    for test in texts(directory, "rs") {
        let code = RUST.code(&test);
        for object in CLIENTS {
            methods(&code, object, called);
        }
    }
}

/// What those of guestfish's scripts below the directory call that are wanted.
pub(super) fn scripts(
    directory: &Path,
    wanted: impl Fn(&str) -> bool,
    called: &mut BTreeSet<String>,
) {
    for script in texts(directory, "gfs") {
        if wanted(&script) {
            commands(&script, called);
        }
    }
}

#[test]
fn calls_are_told_from_words() {
    let mut called = BTreeSet::new();
    let script = "# g.comment()\n\"\"\"g.docstring()\"\"\"\ng.one(g.two( 'g.quoted(\\'' ))\n\
                  fails(\"\", g.passed, bag.other(), g.name)\nassert g.three()\n";
    methods(&PYTHON.code(script), "g", &mut called);
    let test = "// client.comment()\nclient\n    .four(\"client.quoted(\\\"\");\nclient.field;\n\
                let five = five(); client.five()";
    methods(&RUST.code(test), "client", &mut called);
    commands(
        "# six\n\n-sfdisk-N /dev/sda part-add\n!ls\n#: disk 1M\n",
        &mut called,
    );
    let called: Vec<&str> = called.iter().map(String::as_str).collect();
    assert_eq!(called, ["five", "four", "one", "sfdisk_N", "three", "two"]);
}
