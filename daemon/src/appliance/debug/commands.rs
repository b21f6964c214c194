//! The table of debugging commands, and the short ones among them.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use protocol::{Context, Error, Progress, Result};

use super::{bmap, device_speed, progress, qtrace};
use crate::command::Command;
use crate::{Daemon, environment};

/// The arguments of a command.
type Args<'a> = &'a [&'a [u8]];

enum Handler {
    Plain(fn(&mut Daemon, Args<'_>) -> Result<Vec<u8>>),
    WithProgress(fn(&mut Progress<'_>, Args<'_>) -> Result<Vec<u8>>),
}

use Handler::{Plain, WithProgress};

const COMMANDS: [(&str, Handler); 20] = [
    ("help", Plain(help)),
    ("binaries", Plain(binaries)),
    ("bmap", Plain(bmap::read)),
    ("bmap_device", Plain(bmap::device)),
    ("bmap_file", Plain(bmap::file)),
    ("core_pattern", Plain(core_pattern)),
    ("device_speed", Plain(device_speed::run)),
    ("env", Plain(env)),
    ("error", Plain(error)),
    ("fds", Plain(fds)),
    ("ldd", Plain(ldd)),
    ("ls", Plain(ls)),
    ("ll", Plain(ll)),
    ("print", Plain(print)),
    ("progress", WithProgress(progress::run)),
    ("qtrace", Plain(qtrace::run)),
    ("segv", Plain(segv)),
    ("setenv", Plain(setenv)),
    ("sh", Plain(sh)),
    ("spew", Plain(spew)),
];

/// More is of no use to a test of long errors: messages are cut at 64 KiB.
const ERROR_MAX: usize = 1_000_000;

/// 72 characters and the line's end.
const SPEW: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890123456789\n";

/// What commands without a result say.
pub(super) fn ok() -> Result<Vec<u8>> {
    Ok(b"ok".to_vec())
}

/// An error about how a command is used.
pub(super) fn usage(text: &str) -> Error {
    Error::with_errno(Errno::EINVAL, text)
}

/// An argument that is a number.
pub(super) fn number<N: FromStr>(arg: &[u8]) -> Option<N> {
    std::str::from_utf8(arg).ok()?.trim().parse().ok()
}

/// An argument for people to read.
pub(super) fn shown(arg: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(arg)
}

pub(super) fn run(
    daemon: &mut Daemon,
    name: &str,
    args: &[&[u8]],
    progress: &mut Progress<'_>,
) -> Result<Vec<u8>> {
    let found = COMMANDS
        .iter()
        .find(|(command, _)| command.eq_ignore_ascii_case(name));
    match found {
        Some((_, Plain(handler))) => handler(daemon, args),
        Some((_, WithProgress(handler))) => handler(progress, args),
        None => Err(usage("use 'debug help 0' to list the supported commands")),
    }
}

fn help(_: &mut Daemon, _: &[&[u8]]) -> Result<Vec<u8>> {
    let mut text = "Commands supported:".to_owned();
    for (name, _) in COMMANDS {
        text.push(' ');
        text.push_str(name);
    }
    Ok(text.into_bytes())
}

/// The programs in the appliance: executable files in ELF format.
fn binaries(_: &mut Daemon, _: &[&[u8]]) -> Result<Vec<u8>> {
    let root = std::fs::metadata("/").context("/")?.dev();
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from("/")];
    while let Some(dir) = dirs.pop() {
        // What cannot be read has nothing to show.
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() && meta.dev() == root {
                dirs.push(entry.path());
            } else if meta.is_file()
                && meta.permissions().mode() & 0o111 != 0
                && is_elf(&entry.path())
            {
                found.push(entry.path().into_os_string().into_vec());
            }
        }
    }
    found.sort_unstable();
    Ok(found
        .into_iter()
        .flat_map(|mut line| {
            line.push(b'\n');
            line
        })
        .collect())
}

fn is_elf(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == *b"\x7fELF"
}

/// Lets programs that crash leave their memory in a file.
fn core_pattern(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    const PATTERN: &str = "/proc/sys/kernel/core_pattern";
    let pattern = args
        .first()
        .ok_or_else(|| usage("core_pattern: expecting a core pattern"))?;
    std::fs::write(PATTERN, pattern).context(PATTERN)?;
    setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY)
        .context("setrlimit (RLIMIT_CORE)")?;
    ok()
}

/// The environment of the programs that the daemon runs.
fn env(_: &mut Daemon, _: &[&[u8]]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for (name, value) in environment::effective() {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

fn setenv(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    let [name, value] = args else {
        return Err(usage("setenv: two arguments expected"));
    };
    if environment::set(OsStr::from_bytes(name), OsStr::from_bytes(value)) {
        ok()
    } else {
        Err(usage("setenv: a name must not be empty or have a = inside"))
    }
}

/// An error message of a given length, with an errno that nothing else here gives.
fn error(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    let len = match args {
        [len] => number::<usize>(len),
        _ => None,
    };
    match len {
        None => Err(usage(
            "debug error: expecting one arg: length of error message",
        )),
        Some(len) if len > ERROR_MAX => Err(usage("debug error: length argument too large")),
        Some(len) => Err(Error::with_errno(Errno::EROFS, "a".repeat(len))),
    }
}

/// The daemon's open descriptors.
fn fds(_: &mut Daemon, _: &[&[u8]]) -> Result<Vec<u8>> {
    const DIR: &str = "/proc/self/fd";
    let mut found: Vec<(u32, OsString)> = Vec::new();
    for entry in std::fs::read_dir(DIR).context(DIR)? {
        let entry = entry.context(DIR)?;
        if let Some(fd) = number(entry.file_name().as_bytes())
            && let Ok(target) = std::fs::read_link(entry.path())
        {
            found.push((fd, target.into_os_string()));
        }
    }
    found.sort_unstable();
    let mut text = Vec::new();
    for (fd, target) in found {
        text.extend_from_slice(format!("{fd:2} ").as_bytes());
        text.extend_from_slice(target.as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

/// The libraries of a program in the appliance. `ldd` puts its findings on
/// stdout and stderr alike.
fn ldd(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    let [file] = args else {
        return Err(usage("ldd: no file argument"));
    };
    let output = Command::new("ldd")
        .arg("-r")
        .operands([OsStr::from_bytes(file)])
        .run()
        .with_context(|| format!("ldd: {}", shown(file)))?;
    Ok([output.stdout, output.stderr].concat())
}

fn ls(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    list("ls", "-a", args)
}

fn ll(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    list("ll", "-la", args)
}

/// Files of the appliance. Arguments may be options of `ls`, for whoever debugs.
fn list(name: &str, option: &str, args: &[&[u8]]) -> Result<Vec<u8>> {
    Command::new("ls")
        .arg(option)
        .args(args.iter().map(|arg| OsStr::from_bytes(arg)))
        .run()
        .map(|output| output.stdout)
        .context(name)
}

/// Words for the console.
fn print(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    let mut line = args.join(&b' ');
    line.push(b'\n');
    std::io::stderr().write_all(&line).context("print")?;
    ok()
}

/// What a crash of a helper looks like. The daemon goes on.
fn segv(_: &mut Daemon, _: &[&[u8]]) -> Result<Vec<u8>> {
    Command::new("/bin/sh")
        .args(["-c", "kill -SEGV $$"])
        .run()
        .map(|output| output.stdout)
}

/// A shell in the appliance, on purpose: the one place that has one. `$root`
/// is the guest's root, `$sd` how disks are named.
fn sh(daemon: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    if args.is_empty() {
        return Err(usage("sh: expecting a command to run"));
    }
    // guestfish cut the command into words.
    let script = OsString::from_vec(args.join(&b' '));
    let mut command = Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .env("root", daemon.guest.sysroot());
    let kinds = ["sd", "hd", "ubd", "vd"];
    if let Some(kind) = kinds
        .iter()
        .find(|kind| Path::new(&format!("/sys/block/{kind}a")).exists())
    {
        command = command.env("sd", kind);
    }
    let mut output = command.fold_stderr().output()?;
    if output.code == 0 {
        // Clients print the result as a line.
        while output.stdout.last() == Some(&b'\n') {
            output.stdout.pop();
        }
        Ok(output.stdout)
    } else {
        let said = String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned();
        Err(Error::new(if said.is_empty() {
            format!("sh exited with status {}", output.code)
        } else {
            said
        }))
    }
}

/// Many lines for the console, to see whether any are lost.
fn spew(_: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    let [count] = args else {
        return Err(usage("spew: expecting number of lines <n>"));
    };
    let count: u64 = number(count).ok_or_else(|| {
        usage(&format!(
            "spew: could not parse number of lines '{}'",
            shown(count)
        ))
    })?;
    let mut stderr = std::io::stderr().lock();
    for _ in 0..count {
        stderr.write_all(SPEW).context("spew")?;
    }
    ok()
}
