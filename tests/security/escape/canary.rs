//! What lies outside of the guest and must stay hidden and unchanged, and how
//! it is recognised wherever it turns up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use rustix::fs::{XattrFlags, lsetxattr};

/// In the content of everything that must stay hidden.
pub(crate) const CANARY: &str = "CANARY";

/// The owner of everything that must stay hidden, and when it was last changed:
/// a number that nothing else has.
pub(crate) const OWNER: u32 = 918_273;

/// How large the files are that must stay hidden: a number that nothing else has, either.
const SIZE: usize = 735_193;

/// The canary as programs write it.
const FORMS: &[&str] = &[
    CANARY,
    // base64
    "Q0FOQVJZ",
    // hexdump
    "43 41 4e 41 52 59",
    // The owner and the size in a cpio header.
    "000E0301",
    "000B37D9",
    // Every machine's /etc/passwd, which the guest here does not have.
    "root:x:0:0",
];

/// The owner and the size in decimal, and in octal as tar has them.
const NUMBERS: &[&str] = &["918273", "3401401", "735193", "2633731"];

/// What of the canary is in a text.
pub(crate) fn leaked(text: &str) -> Option<&'static str> {
    let form = FORMS.iter().find(|form| text.contains(**form));
    let number = || {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        numbers.find_map(|number| {
            let number = number.trim_start_matches('0');
            NUMBERS.iter().find(|secret| **secret == number)
        })
    };
    form.or_else(number).copied()
}

/// Makes the directory, which must not exist. What is in it has not been read
/// since it changed, so that the kernel notes the first reader.
pub(crate) fn plant(outside: &Path, image: &[u8]) {
    for directory in ["", "dir", "empty"] {
        fs::create_dir(outside.join(directory)).expect("mkdir");
    }
    let lines = format!("{}\n", CANARY.repeat(3));
    let content: Vec<u8> = lines.bytes().cycle().take(SIZE).collect();
    for name in ["file", "dir/inside", "dir/CANARY-name"] {
        fs::write(outside.join(name), &content).expect("write");
    }
    fs::write(outside.join("image"), image).expect("write");
    for name in [
        "file",
        "image",
        "dir/inside",
        "dir/CANARY-name",
        "empty",
        "dir",
        "",
    ] {
        let path = outside.join(name);
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        std::os::unix::fs::chown(&path, Some(OWNER), Some(OWNER)).expect("chown");
        let name = "trusted.canary";
        lsetxattr(&path, name, CANARY.as_bytes(), XattrFlags::empty()).expect("xattr");
        let (read, changed) = (i64::from(OWNER) - 1, i64::from(OWNER));
        utimensat(
            nix::fcntl::AT_FDCWD,
            &path,
            &TimeSpec::new(read, 0),
            &TimeSpec::new(changed, 0),
            UtimensatFlags::NoFollowSymlink,
        )
        .expect("utimensat");
    }
}

/// Everything below a directory, with all that tells that something was
/// changed or read; reads nothing in a way that could be taken for that.
pub(crate) fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            let flags = OFlag::O_NOATIME | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
            let mut dir = Dir::open(&path, flags, Mode::empty()).expect("the canary's directory");
            for entry in dir.iter() {
                let entry = entry.expect("entry");
                let name = entry.file_name().to_string_lossy().into_owned();
                if name != "." && name != ".." {
                    waiting.push(path.join(name));
                }
            }
        }
        let state = format!(
            "mode {:o} owner {} {} links {} size {} changed {}.{} {}.{} read {}.{}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.atime(),
            meta.atime_nsec(),
        );
        found.insert(
            path.strip_prefix(directory).expect("below").to_owned(),
            state,
        );
    }
    found
}

/// What two snapshots differ in.
pub(crate) fn difference(
    before: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
) -> Vec<String> {
    let names = before.keys().chain(after.keys());
    let names: std::collections::BTreeSet<_> = names.collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let (before, after) = (before.get(name), after.get(name));
            format!("{}: {before:?} -> {after:?}", name.display())
        })
        .collect()
}

#[test]
fn the_canary_is_recognised_in_all_its_forms() {
    for text in [
        "xCANARYx",
        "uid: 918273,",
        "0003401401\0",
        "AQ0FOQVJZ",
        "000081A4000E0301000E0301",
    ] {
        assert!(leaked(text).is_some(), "{text}");
    }
    assert!(leaked(&format!("Ok({SIZE})")).is_some() && leaked(&format!("{SIZE:o}")).is_some());
    assert!(leaked(&format!("{SIZE:08X}")).is_some());
    for text in ["canary", "1918273", "9182730", "34014010"] {
        assert_eq!(leaked(text), None, "{text}");
    }
}
