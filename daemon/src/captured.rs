//! What programs of several releases print, for the tests of what reads it.

use std::fs;
use std::path::Path;

/// What one version of a program printed.
pub(crate) struct Captured {
    /// The program's version.
    pub(crate) version: String,
    /// All that it printed.
    pub(crate) bytes: Vec<u8>,
}

impl Captured {
    /// As text, in the way of those parsers that do not need bytes.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// `what` of every version of `tool` in `tests/captured`, the versions sorted as text. There are
/// two at least, or the test that asks would prove nothing.
pub(crate) fn outputs(tool: &str, what: &str) -> Vec<Captured> {
    let found = all(tool, what);
    assert!(found.len() > 1, "{tool}/*/{what}.txt: {}", found.len());
    found
}

/// The same, however few there are.
pub(crate) fn all(tool: &str, what: &str) -> Vec<Captured> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/captured")
        .join(tool);
    let entries = fs::read_dir(&directory).expect("a directory of the tool");
    let mut found: Vec<Captured> = entries
        .filter_map(|entry| {
            let entry = entry.expect("an entry");
            let bytes = fs::read(entry.path().join(format!("{what}.txt"))).ok()?;
            Some(Captured {
                version: entry.file_name().into_string().expect("a version"),
                bytes,
            })
        })
        .collect();
    found.sort_by(|a, b| a.version.cmp(&b.version));
    found
}
