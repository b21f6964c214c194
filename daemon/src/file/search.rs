//! Finding files and lines.

mod globbing;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::{GlobExpandOptions, GrepOptions, SearchActions};
use protocol::wire::MESSAGE_MAX;
use protocol::{Context, Error, FileOut, GuestPath, Result, Sent};

use crate::Daemon;
use crate::command::Command;
use crate::room::Strings;
use crate::walk::Walk;

/// How much memory grep may use. It holds whole lines, and the guest may have a
/// file that is one.
const GREP_MEMORY: u64 = 256 << 20;

/// How grep is to look for a pattern.
#[derive(Debug, Clone, Copy, Default)]
struct How {
    extended: bool,
    fixed: bool,
    insensitive: bool,
    compressed: bool,
}

const PLAIN: How = How {
    extended: false,
    fixed: false,
    insensitive: false,
    compressed: false,
};

const EXTENDED: How = How {
    extended: true,
    ..PLAIN
};

const FIXED: How = How {
    fixed: true,
    ..PLAIN
};

impl How {
    const fn insensitive(self) -> Self {
        Self {
            insensitive: true,
            ..self
        }
    }

    const fn compressed(self) -> Self {
        Self {
            compressed: true,
            ..self
        }
    }
}

impl SearchActions for Daemon {
    fn glob_expand(
        &mut self,
        pattern: GuestPath,
        options: GlobExpandOptions,
    ) -> Result<Vec<Vec<u8>>> {
        let slash = options.directoryslash.unwrap_or(true);
        globbing::expand(&self.guest, pattern.as_bytes(), slash)
    }

    fn grep(
        &mut self,
        regex: &[u8],
        path: GuestPath,
        options: GrepOptions,
    ) -> Result<Vec<Vec<u8>>> {
        let how = How {
            extended: options.extended.unwrap_or_default(),
            fixed: options.fixed.unwrap_or_default(),
            insensitive: options.insensitive.unwrap_or_default(),
            compressed: options.compressed.unwrap_or_default(),
        };
        self.lines(regex, &path, how)
    }

    fn egrep(&mut self, regex: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(regex, &path, EXTENDED)
    }

    fn fgrep(&mut self, pattern: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(pattern, &path, FIXED)
    }

    fn grepi(&mut self, regex: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(regex, &path, PLAIN.insensitive())
    }

    fn egrepi(&mut self, regex: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(regex, &path, EXTENDED.insensitive())
    }

    fn fgrepi(&mut self, pattern: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(pattern, &path, FIXED.insensitive())
    }

    fn zgrep(&mut self, regex: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(regex, &path, PLAIN.compressed())
    }

    fn zegrep(&mut self, regex: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(regex, &path, EXTENDED.compressed())
    }

    fn zfgrep(&mut self, pattern: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(pattern, &path, FIXED.compressed())
    }

    fn zgrepi(&mut self, regex: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(regex, &path, PLAIN.insensitive().compressed())
    }

    fn zegrepi(&mut self, regex: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(regex, &path, EXTENDED.insensitive().compressed())
    }

    fn zfgrepi(&mut self, pattern: &[u8], path: GuestPath) -> Result<Vec<Vec<u8>>> {
        self.lines(pattern, &path, FIXED.insensitive().compressed())
    }

    fn find0(&mut self, directory: GuestPath, files: FileOut<'_>) -> Result<Sent> {
        let top = super::open_directory(&self.guest, &directory)?;
        let mut walk = Walk::new(&top).context(&directory)?;
        let mut out = files.start()?;
        // Names go on where the caller's path ends.
        let slash = !directory.as_bytes().ends_with(b"/");
        while let Some(entry) = walk.next().context(&directory)? {
            if slash {
                out.send(b"/")?;
            }
            out.send(entry.path)?;
            out.send(b"\0")?;
        }
        out.finish()
    }

    fn case_sensitive_path(&mut self, path: GuestPath) -> Result<Vec<u8>> {
        let mut components = path
            .as_bytes()
            .split(|&byte| byte == b'/')
            .filter(|component| !component.is_empty())
            .peekable();
        let ends_in_slash = path.as_bytes().ends_with(b"/");
        let mut found = GuestPath::root();
        while let Some(component) = components.next() {
            if matches!(component, b"." | b"..") {
                return Err(Error::with_errno(
                    Errno::EINVAL,
                    format!("{path}: path contains \".\" or \"..\" elements"),
                ));
            }
            let last = components.peek().is_none();
            match self.spelling(&found, component)? {
                Some(name) => found = found.join(&name),
                None if last && !ends_in_slash => found = found.join(component),
                None => {
                    let name = String::from_utf8_lossy(component);
                    return Err(Error::with_errno(
                        Errno::ENOENT,
                        format!("{path}: {name}: not found"),
                    ));
                }
            }
            if !last || ends_in_slash {
                self.guest
                    .open(&found, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
            }
        }
        Ok(found.into_bytes())
    }
}

impl Daemon {
    fn lines(&self, pattern: &[u8], path: &GuestPath, how: How) -> Result<Vec<Vec<u8>>> {
        if how.extended && how.fixed {
            return Err(Error::with_errno(
                Errno::EINVAL,
                "can't use 'extended' and 'fixed' flags at the same time",
            ));
        }
        let file = self.guest.open_regular(path, OFlag::O_RDONLY)?;
        let mut command = Command::new(if how.compressed { "zgrep" } else { "grep" });
        for (wanted, option) in [
            (how.extended, "-E"),
            (how.fixed, "-F"),
            (how.insensitive, "-i"),
        ] {
            if wanted {
                command = command.arg(option);
            }
        }
        let output = command
            .arg("-e")
            .arg(OsStr::from_bytes(pattern))
            .stdin_file(file)
            .stdout_limit(MESSAGE_MAX)
            .memory_limit(GREP_MEMORY)
            .output()
            .context(path)?;
        // 1 is for no match, which is no error.
        if output.code > 1 {
            return Err(grep_failure(pattern, path, &output.message()));
        }
        let mut lines = Strings::default();
        for line in output.stdout.split_inclusive(|&byte| byte == b'\n') {
            lines.push(line.strip_suffix(b"\n").unwrap_or(line))?;
        }
        Ok(lines.into_vec())
    }

    /// The entry of a directory whose name is equal but for the case of letters.
    fn spelling(&self, directory: &GuestPath, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut dir = self.guest.directory(directory)?;
        let mut found = None;
        for entry in dir.iter() {
            let entry = entry.context(directory)?;
            let candidate = entry.file_name().to_bytes();
            if candidate == name {
                return Ok(Some(name.to_vec()));
            }
            if found.is_none() && candidate.eq_ignore_ascii_case(name) {
                found = Some(candidate.to_vec());
            }
        }
        Ok(found)
    }
}

/// What grep says of a failure.
fn grep_failure(pattern: &[u8], path: &GuestPath, said: &str) -> Error {
    if said.contains("memory exhausted") || said.contains("Cannot allocate memory") {
        let message =
            format!("{path}: a line is too long for grep in {GREP_MEMORY} bytes of memory");
        return Error::with_errno(Errno::ENOMEM, message);
    }
    Error::new(format!("{}: {said}", String::from_utf8_lossy(pattern)))
}
