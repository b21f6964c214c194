//! Names that are left out of an archive, in the manner of GNU tar.

use nix::errno::Errno;
use protocol::{Error, Result};

use crate::wildcard::{self, Dot};

/// Wildcards, any of which leaves a file out.
///
/// A pattern may match from the beginning of a name or from after any slash,
/// and wildcards match slashes too.
#[derive(Debug, Default)]
pub(crate) struct Excludes {
    patterns: Vec<Vec<u8>>,
}

impl Excludes {
    /// Takes patterns as the library sends them.
    ///
    /// # Errors
    ///
    /// EINVAL if one has a newline inside, for programs read them from a file.
    pub(crate) fn new(action: &str, patterns: &[&[u8]]) -> Result<Self> {
        check_patterns(action, patterns)?;
        let patterns = patterns
            .iter()
            .map(|pattern| pattern.trim_ascii_end().to_vec())
            .filter(|pattern| !pattern.is_empty())
            .collect();
        Ok(Self { patterns })
    }

    /// Whether a name is to be left out.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| {
            let starts = std::iter::once(0).chain(
                name.windows(2)
                    .enumerate()
                    .filter(|(_, pair)| matches!(pair, [b'/', next] if *next != b'/'))
                    .map(|(at, _)| at + 1),
            );
            starts
                .filter_map(|start| name.get(start..))
                .any(|part| wildcard::matches(pattern, part, Dot::Free))
        })
    }
}

/// Refuses patterns that a file of patterns cannot hold.
pub(crate) fn check_patterns(action: &str, patterns: &[&[u8]]) -> Result<()> {
    if patterns.iter().any(|pattern| pattern.contains(&b'\n')) {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("{action}: excludes file patterns cannot contain \\n character"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(pattern: &str, name: &str) -> bool {
        Excludes::new("tar-out", &[pattern.as_bytes()])
            .unwrap()
            .matches(name.as_bytes())
    }

    #[test]
    fn patterns_match_from_any_component_on() {
        assert!(excluded("x", "./d/x") && excluded("d/x", "./d/x") && excluded("./d", "./d"));
        assert!(excluded("*.o", "./a/b.o") && excluded("a*o", "./a/b.o"));
        assert!(!excluded("x", "./d/xy") && !excluded("d", "./d/x") && !excluded("./x", "./d/x"));
        assert!(excluded("*", ".") && excluded("x ", "./x") && !excluded(" ", "./x"));
    }

    #[test]
    fn a_newline_is_refused() {
        let error = Excludes::new("tar-out", &[b"a\nb"]).unwrap_err();
        assert!(
            error
                .message()
                .starts_with("tar-out: excludes file patterns")
        );
    }
}
