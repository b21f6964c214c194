//! Every action on block devices and filesystems is called in a real appliance.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What disks and filesystems of a real machine are needed for.
const AREAS: [&str; 2] = ["block", "filesystem"];

/// Actions that no test of the appliance lane calls, and why.
const EXCEPTIONS: &[(&str, &str)] = &[];

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

/// What the appliance lane calls.
fn called() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut called = BTreeSet::new();
    let read = |path: PathBuf| fs::read_to_string(path).expect("text");
    for script in files(&root.join("appliance"), "py").into_iter().map(read) {
        methods(&PYTHON.code(&script), "g", &mut called);
    }
    for test in files(&root.join("appliance"), "rs").into_iter().map(read) {
        let code = RUST.code(&test);
        for object in ["client", "machine"] {
            methods(&code, object, &mut called);
        }
    }
    for script in files(&root.join("differential"), "gfs")
        .into_iter()
        .map(read)
    {
        if script.lines().any(|line| line == "#: lane appliance") {
            commands(&script, &mut called);
        }
    }
    called
}

#[test]
fn every_action_on_disks_and_filesystems_is_called_in_an_appliance() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = codegen::load(&root.join("../idl")).expect("IDL");
    let called = called();
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for module in &model.modules {
        if !AREAS.contains(&module.area.as_str()) {
            continue;
        }
        for action in module.actions.iter().filter(|action| !action.pending) {
            let name = action.name.as_str();
            known.insert(name);
            let excepted = EXCEPTIONS.iter().any(|(exception, _)| *exception == name);
            match (called.contains(name), excepted) {
                (false, false) => wrong.push(format!("{name} is not called")),
                (true, true) => wrong.push(format!("{name} is called, and an exception")),
                _ => {}
            }
        }
    }
    for (name, reason) in EXCEPTIONS {
        if !known.contains(name) || reason.is_empty() {
            wrong.push(format!("the exception {name} has no handler or no reason"));
        }
    }
    assert!(known.len() > 150, "the IDL has {} of them", known.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
