//! What callers call the files that a program was given in other ways.

use std::fmt;
use std::path::Path;

/// The names of files: the program's, and those of callers.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// Notes that callers call something `known`. They may have ended it with a slash, as a
    /// directory.
    pub(super) fn add(&mut self, path: &Path, known: impl fmt::Display) {
        let path = path.to_string_lossy().into_owned();
        self.0.push((path, known.to_string()));
    }

    /// Puts the callers' names into what a program said, wherever it used its own, alone or at the
    /// beginning of a path.
    pub(super) fn put_back(&self, said: Vec<u8>) -> Vec<u8> {
        if self.0.is_empty() {
            return said;
        }
        let mut said = String::from_utf8_lossy(&said).into_owned();
        for (path, known) in &self.0 {
            said = replaced(&said, path, known);
        }
        said.into_bytes()
    }
}

fn replaced(said: &str, path: &str, known: &str) -> String {
    let mut rest = said;
    let mut out = String::with_capacity(said.len());
    while let Some((before, after)) = rest.split_once(path) {
        out.push_str(before);
        out.push_str(match after.chars().next() {
            // It is the beginning of another name.
            Some(c) if c.is_alphanumeric() => path,
            Some('/') => known.trim_end_matches('/'),
            _ => known,
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_back(said: &str, known: &str) -> String {
        let mut names = Names::default();
        names.add(Path::new("/proc/self/fd/7"), known);
        names.add(Path::new("/tmp/mountAbCdEf"), known);
        String::from_utf8(names.put_back(said.into())).unwrap()
    }

    #[test]
    fn the_callers_names_are_put_back() {
        for (said, known, expected) in [
            ("open /proc/self/fd/7: no", "/a", "open /a: no"),
            ("\"/proc/self/fd/7/b\"", "/a", "\"/a/b\""),
            ("/proc/self/fd/7/b", "/a/", "/a/b"),
            ("/proc/self/fd/7/b", "/", "/b"),
            ("/proc/self/fd/7", "/", "/"),
            (
                "/proc/self/fd/77 /proc/self/fd/7",
                "/a",
                "/proc/self/fd/77 /a",
            ),
            ("/tmp/mountAbCdEf/b: /proc/self/fd/7", "/a", "/a/b: /a"),
            ("nothing of it", "/a", "nothing of it"),
            // A name that looks like the program's own is not looked at again.
            ("/proc/self/fd/7/b", "/proc/self/fd/7", "/proc/self/fd/7/b"),
        ] {
            assert_eq!(put_back(said, known), expected, "{said} {known}");
        }
    }

    #[test]
    fn what_a_program_says_of_other_things_stays_as_it_is() {
        assert_eq!(Names::default().put_back(vec![0xff]), [0xff]);
    }
}
