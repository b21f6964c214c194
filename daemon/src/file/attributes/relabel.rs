//! Labelling files with SELinux contexts, by running setfiles.
//!
//! setfiles wants paths. It gets those of the guest's files with the guest's root, a descriptor,
//! as their beginning, which it also takes off before it looks for a context. No link is in them
//! that it could follow, and it follows none below. The specifications are copied out of the guest:
//! setfiles looks for more files by the side of the one that it is told of.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, copy};
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::{Context, Error, GuestPath, Result};

use crate::command::Command;
use crate::guest::{Guest, View};
use crate::scratch;

const PROGRAM: &str = "setfiles";

/// What belongs to a file of specifications: for home directories, local ones, and paths that are
/// to be labelled like others. The compiled form is left out. It is read without a check, and the
/// text says the same.
const BESIDES: [&str; 4] = [".homedirs", ".local", ".subs", ".subs_dist"];

/// How long a file of specifications may be.
const SPECIFICATIONS_MAX: u64 = 64 << 20;

/// Trees whose labels are made by the system that runs.
const NEVER: [&[u8]; 4] = [b"/dev", b"/proc", b"/selinux", b"/sys"];

/// The exit status after errors with single files, if the program tells them from others.
const SOME_FAILED: i32 = 1;

/// Has errors with single files end in a status of their own.
const TELLS_APART: char = 'C';
/// Takes the number of threads.
const THREADS: char = 'T';
/// Options that not every version has: not to leave out what is mounted, and not to remember every
/// file for hard links with different contexts, are the others. The one with an argument is last.
const OPTIONS: [char; 4] = ['m', TELLS_APART, 'A', THREADS];

/// Which files are to be labelled, and how.
pub(super) struct Relabel<'a> {
    pub(super) specfile: &'a [u8],
    pub(super) paths: &'a [GuestPath],
    pub(super) excludes: &'a [&'a [u8]],
    pub(super) force: bool,
}

impl Relabel<'_> {
    pub(super) fn run(&self, guest: &Guest) -> Result<()> {
        if self.paths.is_empty() {
            return Ok(());
        }
        let specfile = GuestPath::new(self.specfile)?;
        let scratch = scratch::Directory::new()?;
        let specifications = scratch.path().join("file_contexts");
        copy_specifications(guest, &specfile, &specifications)?;

        // Without links: what the program found to be a directory can be one when it goes on.
        let view = View::writable(&guest.handle(&GuestPath::root())?)?;
        let mut command = Command::new(PROGRAM);
        command.known_as(&specifications, &specfile);
        let root = command.view(&view, "/");
        if self.force {
            command = command.arg("-F");
        }
        for exclude in self.excludes(guest)? {
            command = command.arg("-e").arg(below(&root, &exclude));
        }
        let known = known_options()?;
        for letter in known.chars() {
            command = command.arg(format!("-{letter}"));
            if letter == THREADS {
                // As many as there are processors.
                command = command.arg("0");
            }
        }
        command = command.arg("-q").arg("-r").arg(&root).arg(&specifications);
        for path in self.paths {
            command = command.arg(below(&root, &guest.resolve_nofollow(path)?));
        }
        let output = command.output()?;
        let said = output.message();
        // It may end with the status of single files for want of usable specifications, too.
        let refused = is_said_of(&specfile, &said);
        let some_failed = output.code == SOME_FAILED && known.contains(TELLS_APART);
        if output.code == 0 || some_failed && !refused {
            return Ok(());
        }
        let said = said.strip_prefix("setfiles: ").unwrap_or(&said);
        let message = format!("{PROGRAM}: {said}");
        Err(match refused {
            true => Error::invalid(message),
            false => Error::new(message),
        })
    }

    /// The trees to leave out, as far as they exist.
    fn excludes(&self, guest: &Guest) -> Result<Vec<GuestPath>> {
        let mut found = Vec::new();
        for exclude in NEVER.iter().chain(self.excludes).copied() {
            match guest.resolve_nofollow(&GuestPath::new(exclude)?) {
                Ok(path) => found.push(path),
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// Whether the program gives the file as the reason for which it ended: what it says of single
/// lines of it, or of files to be labelled, begins with the program's own name.
fn is_said_of(file: &GuestPath, said: &str) -> bool {
    let reason = format!("{file}: ");
    said.lines().any(|line| line.starts_with(&reason))
}

fn copy_specifications(guest: &Guest, specfile: &GuestPath, to: &Path) -> Result<()> {
    copy_one(guest, specfile, to)?;
    for suffix in BESIDES {
        let beside = [specfile.as_bytes(), suffix.as_bytes()].concat();
        let mut name = to.as_os_str().to_owned();
        name.push(suffix);
        match copy_one(guest, &GuestPath::new(beside)?, Path::new(&name)) {
            Err(error) if is_missing(&error) => {}
            result => result?,
        }
    }
    Ok(())
}

fn copy_one(guest: &Guest, from: &GuestPath, to: &Path) -> Result<()> {
    let from_file = guest.open_regular(from, OFlag::O_RDONLY)?;
    let mut to_file = File::create_new(to).context(to.display())?;
    let mut limited = from_file.take(SPECIFICATIONS_MAX + 1);
    if copy(&mut limited, &mut to_file).context(from)? > SPECIFICATIONS_MAX {
        return Err(Error::os(Errno::EFBIG, from));
    }
    Ok(())
}

fn is_missing(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENOTDIR))
}

/// The path as the program is to see it. `path` begins with a slash, and is no more for the root,
/// whose descriptor is not followed without it.
fn below(root: &Path, path: &GuestPath) -> OsString {
    let mut name = root.as_os_str().to_owned();
    name.push(path.as_path());
    name
}

/// Those of [`OPTIONS`] that the program has. They have to be tried: neither help nor version tell.
fn known_options() -> Result<&'static str> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known);
    }
    let known = try_options(|options| {
        let output = Command::new(PROGRAM).arg(format!("-{options}")).output()?;
        Ok(output.message())
    })?;
    Ok(KNOWN.get_or_init(|| known))
}

/// Tries all at once, as a rule: without anything to label, the program only says which of them it
/// does not know.
fn try_options(mut said: impl FnMut(&str) -> Result<String>) -> Result<String> {
    let mut known = String::from_iter(OPTIONS);
    while !known.is_empty() {
        let said = said(&known)?;
        let before = known.len();
        known.retain(|letter| !said.contains(&format!("invalid option -- '{letter}'")));
        if known.len() == before {
            break;
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program says that ends at the first option that it does not know.
    fn tried(knows: &str) -> (String, u32) {
        let mut times = 0;
        let known = try_options(|options| {
            times += 1;
            let unknown = options.chars().find(|&letter| !knows.contains(letter));
            Ok(unknown.map_or_else(
                || "setfiles: option requires an argument -- 'T'\nusage: ...".to_owned(),
                |letter| format!("setfiles: invalid option -- '{letter}'\nusage: ..."),
            ))
        });
        (known.unwrap(), times)
    }

    #[test]
    fn options_are_tried_together() {
        assert_eq!(tried("mCAT"), ("mCAT".to_owned(), 1));
        assert_eq!(tried("rmqA"), ("mA".to_owned(), 3));
        assert_eq!(tried("rq"), (String::new(), 4));
    }
}
