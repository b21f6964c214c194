//! Paths relative to a directory, as walks and archives give them: without
//! slashes at their ends, and empty for the directory itself.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The directory that holds what `path` names, and its name there.
pub(crate) fn split(path: &[u8]) -> (&[u8], &OsStr) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => {
            let (dir, name) = path.split_at(at);
            (dir, OsStr::from_bytes(name.get(1..).unwrap_or_default()))
        }
        None => (b"", OsStr::from_bytes(path)),
    }
}

/// Whether `path` is `directory` or below it.
pub(crate) fn is_inside(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insides_and_parents() {
        assert!(is_inside(b"a/b", b"a") && is_inside(b"a", b"a") && is_inside(b"x", b""));
        assert!(!is_inside(b"ab", b"a"));
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], OsStr::new("c")));
        assert_eq!(split(b"a"), (&b""[..], OsStr::new("a")));
    }
}
