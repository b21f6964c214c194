//! What a worker may do: nothing but compute, read what it is given, and answer.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{RLIM_INFINITY, Resource, UsageWho, getrusage, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{
    Gid, SysconfVar, Uid, chdir, chroot, close, fchdir, setgroups, setresgid, setresuid, sysconf,
};
use protocol::{Context, Error, Result};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::{logging, scratch};

/// How long a call may take, in seconds. Tests lower it with the variable.
const SECONDS: Limit = Limit {
    variable: "GUESTFSD_WORKER_SECONDS",
    default: 60,
};

/// How much a worker may allocate over what its library takes to load, in KiB. Tests lower it with
/// the variable.
const MEMORY: Limit = Limit {
    variable: "GUESTFSD_WORKER_MEMORY",
    default: 256 << 10,
};

/// How many descriptors it may have: its own and those of a call.
const DESCRIPTORS: u64 = 32;

struct Limit {
    variable: &'static str,
    default: u64,
}

impl Limit {
    fn value(&self) -> u64 {
        std::env::var(self.variable)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(self.default)
    }
}

/// How long a call to a worker may take.
pub(super) fn seconds() -> u64 {
    SECONDS.value()
}

/// How much a worker may allocate, in KiB.
pub(super) fn memory() -> u64 {
    MEMORY.value()
}

/// The variables that are all the environment of a worker.
pub(super) fn limits() -> impl Iterator<Item = (&'static str, OsString)> {
    [SECONDS, MEMORY]
        .into_iter()
        .filter_map(|limit| Some((limit.variable, std::env::var_os(limit.variable)?)))
}

/// Closes what a worker has inherited, but for stdin, stdout, stderr and its socket.
///
/// # Errors
///
/// When open descriptors cannot be listed.
pub(super) fn close_all_but(socket: &UnixStream) -> Result<()> {
    const LIST: &str = "/proc/self/fd";
    let open: Vec<RawFd> = fs::read_dir(LIST)
        .context(LIST)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2 && fd != socket.as_raw_fd())
        .collect();
    for fd in open {
        // The descriptor of the list itself is closed by now.
        let _ = close(fd);
    }
    Ok(())
}

/// Gives up for ever everything that a worker does not need.
///
/// # Errors
///
/// When something of it could not be given up: then the worker must not work.
pub(super) fn confine(user: u32) -> Result<()> {
    limit_resources()?;
    // Kernels without these namespaces have nothing for it to reach there.
    for namespace in [CloneFlags::CLONE_NEWNET, CloneFlags::CLONE_NEWIPC] {
        if let Err(errno) = unshare(namespace) {
            logging::debug(format_args!("worker: unshare: {errno}"));
        }
    }
    enter_nowhere()?;
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    setgroups(&[]).context("setgroups")?;
    setresgid(gid, gid, gid).context("setresgid")?;
    setresuid(uid, uid, uid).context("setresuid")?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, sets)
        .map_err(|errno| Errno::from_raw(errno.raw_os_error()))
        .context("capset")?;
    prctl::set_no_new_privs().context("no_new_privs")?;
    prctl::set_dumpable(false).context("dumpable")?;
    // The kernel forgets this one when the user changes.
    prctl::set_pdeathsig(Signal::SIGKILL).context("pdeathsig")?;
    Ok(())
}

/// Gives the next call its share of processor time: what was used counts for the whole process.
pub(super) fn renew() {
    let used = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        usage.user_time().tv_sec() + usage.system_time().tv_sec()
    });
    // Rounded up. The daemon's own watch ends a worker that could not set this.
    let until = u64::try_from(used).unwrap_or_default() + seconds() + 1;
    let _ = setrlimit(Resource::RLIMIT_CPU, until, RLIM_INFINITY);
}

fn limit_resources() -> Result<()> {
    let memory = loaded()?.saturating_add(memory().saturating_mul(1024));
    for (resource, limit) in [
        (Resource::RLIMIT_AS, memory),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_NPROC, 0),
    ] {
        setrlimit(resource, limit, limit).with_context(|| format!("{resource:?}"))?;
    }
    Ok(())
}

/// The size of the address space now, in bytes.
fn loaded() -> Result<u64> {
    const STATM: &str = "/proc/self/statm";
    let text = fs::read_to_string(STATM).context(STATM)?;
    let pages: Option<u64> = text
        .split_ascii_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    let size = sysconf(SysconfVar::PAGE_SIZE)
        .context("sysconf")?
        .and_then(|size| u64::try_from(size).ok());
    match (pages, size) {
        (Some(pages), Some(size)) => Ok(pages.saturating_mul(size)),
        _ => Err(Error::new(format!("{STATM}: not understood"))),
    }
}

/// Makes the root directory one that is empty and removed, so that nothing can be put into it.
fn enter_nowhere() -> Result<()> {
    let directory = scratch::Directory::new()?;
    let inside = File::open(directory.path()).context(directory.path().display())?;
    drop(directory);
    fchdir(&inside)
        .and_then(|()| chroot("."))
        .and_then(|()| chdir("/"))
        .context("chroot")
}
