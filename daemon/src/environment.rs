//! The process environment of the daemon and of the programs that it runs.
//!
//! The appliance's init starts the daemon with next to no environment, and a
//! person who debugs it with all of theirs; what changes how programs behave is
//! the same in both cases.
//! The daemon's own environment is never written to: that is not safe once a
//! library has threads.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use nix::sys::stat::{Mode, umask};

/// Where programs are looked for.
pub const PATH: &str = "/sbin:/usr/sbin:/bin:/usr/bin";

/// What every program gets, over what the daemon was started with.
const FIXED: [(&str, &str); 4] = [
    ("PATH", PATH),
    ("SHELL", "/bin/sh"),
    ("LC_ALL", "C"),
    ("TERM", "dumb"),
];

/// Set by `debug setenv`.
static ADDED: Mutex<Vec<(OsString, OsString)>> = Mutex::new(Vec::new());

/// Makes the process state one that handlers can rely on.
///
/// Rust's start-up code has opened descriptors 0 to 2 and ignored SIGPIPE by
/// now (children get the default action back).
pub fn prepare() {
    // The directory that the daemon was started in must not stay busy.
    if let Err(errno) = nix::unistd::chdir("/") {
        crate::logging::warning(format_args!("chdir: /: {errno}"));
    }
    umask(Mode::from_bits_truncate(0o022));
}

/// The variables that programs get in place of, or besides, the daemon's own.
pub fn overrides() -> Vec<(OsString, OsString)> {
    let mut all: Vec<_> = FIXED
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .collect();
    if let Ok(added) = ADDED.lock() {
        all.extend(added.iter().cloned());
    }
    all
}

/// Sets a variable for all programs run from now on. `name` must be usable as
/// one: not empty, no `=`, no NUL; and `value` without NUL. Gives back whether
/// they are.
pub fn set(name: &OsStr, value: &OsStr) -> bool {
    let (n, v) = (name.as_bytes(), value.as_bytes());
    if n.is_empty() || n.contains(&b'=') || n.contains(&0) || v.contains(&0) {
        return false;
    }
    match ADDED.lock() {
        Ok(mut added) => {
            added.retain(|(other, _)| other != name);
            added.push((name.to_owned(), value.to_owned()));
            true
        }
        Err(_) => false,
    }
}

/// What a program would find in its environment.
pub fn effective() -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for (name, value) in overrides() {
        match all.iter_mut().find(|(other, _)| *other == name) {
            Some(entry) => entry.1 = value,
            None => all.push((name, value)),
        }
    }
    all
}

/// The file that running `program` would execute: `program` itself if it has a
/// slash, otherwise the first on PATH.
pub fn find_program(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let program = program.as_ref();
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return executable(&path).then_some(path);
    }
    if program.is_empty() {
        return None;
    }
    let added = ADDED.lock().ok().and_then(|added| {
        let entry = added.iter().find(|(name, _)| name == "PATH");
        entry.map(|(_, value)| value.clone())
    });
    let search = added.unwrap_or_else(|| OsString::from(PATH));
    std::env::split_paths(&search)
        .map(|dir| dir.join(program))
        .find(|path| executable(path))
}

fn executable(path: &std::path::Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_fixed_path() {
        assert!(find_program("sh").is_some_and(|path| path.is_absolute()));
        assert!(find_program("/bin/sh").is_some());
        assert!(find_program("no-such-program").is_none());
        assert!(find_program("").is_none());
        assert!(
            find_program("/etc/passwd").is_none(),
            "it is not executable"
        );
        assert!(find_program("/bin").is_none(), "it is a directory");
    }

    #[test]
    fn added_variables_beat_fixed_ones() {
        assert!(set(OsStr::new("GUESTFSD_TEST_ADDED"), OsStr::new("one")));
        assert!(set(OsStr::new("GUESTFSD_TEST_ADDED"), OsStr::new("two")));
        let all = effective();
        let values: Vec<_> = all
            .iter()
            .filter(|(name, _)| name == "GUESTFSD_TEST_ADDED")
            .collect();
        assert_eq!(values.len(), 1);
        assert_eq!(values[0].1, "two");
        assert!(all.contains(&("LC_ALL".into(), "C".into())));
    }

    #[test]
    fn impossible_variables_are_refused() {
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0y")] {
            assert!(
                !set(OsStr::new(name), OsStr::new(value)),
                "{name:?}={value:?}"
            );
        }
    }
}
