//! The handlers of guestfsd, and what they share.
//!
//! [`run`] is the whole daemon. Handlers are methods of [`Daemon`]; they reach
//! the guest's files through [`guest`], block devices through [`devices`] and
//! programs through [`command`].

mod accounts;
mod acl;
mod appliance;
mod archive;
mod block;
#[cfg(test)]
mod captured;
pub mod channel;
pub mod command;
mod daemon;
pub mod devices;
mod encoding;
mod entries;
pub mod environment;
pub mod features;
mod file;
mod filesystem;
pub mod guest;
pub mod kernel_cmdline;
pub mod logging;
mod memory;
pub mod mounts;
mod number;
mod processors;
mod reading;
mod relative;
mod room;
mod scratch;
pub mod udev;
mod walk;
mod wildcard;
pub mod worker;
mod xattr;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use protocol::Pace;

pub use daemon::Daemon;

/// How the daemon is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the library is.
    pub channel: channel::Channel,
    /// Wait for a connection to the channel, a Unix socket.
    pub listen: bool,
    /// Programs in the guest may use the network.
    pub network: bool,
    /// Say on stderr what is being done.
    pub verbose: bool,
    /// Where the guest's filesystems are mounted; `/` for this machine itself.
    pub sysroot: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            channel: channel::Channel::default(),
            listen: false,
            network: false,
            verbose: false,
            sysroot: PathBuf::from("/sysroot"),
        }
    }
}

/// How much a block of memory takes at most for the allocator to keep it once it
/// is freed. It keeps twice as much at most.
const KEPT: usize = 4 << 20;

/// Has the memory of a large call kept for the next one. The allocator gives all
/// but the first 128 KiB back to the kernel at once, from which each page comes
/// back by a fault; but it learns from the largest block that it had to map.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT)));
}

/// Runs the daemon until the library closes the channel, or a call ends it.
///
/// # Errors
///
/// When the channel cannot be opened, or breaks in the middle of a message.
pub fn run(options: Options) -> anyhow::Result<()> {
    logging::set_verbose(options.verbose);
    environment::prepare();
    keep_freed_memory();
    let channel = options.channel.open(options.listen)?;
    let verbose = options.verbose;
    let mut daemon = Daemon::new(options);
    let served = protocol::serve(channel, &mut daemon, verbose, pace());
    // The library does this by a call of its own; not if it was killed.
    if daemon.guest.is_mounted()
        && let Err(error) = daemon.autosync()
    {
        logging::warning(format_args!("at exit: {error}"));
    }
    served.map(drop).context("the daemon has to end")
}

/// When progress messages leave. Tests, which have no time for long calls, set the
/// variable to another number of milliseconds.
fn pace() -> Pace {
    match std::env::var("GUESTFSD_PROGRESS_MILLISECONDS").map(|text| text.parse()) {
        Ok(Ok(time)) => Pace {
            first: Duration::from_millis(time),
            next: Duration::from_millis(time),
        },
        _ => Pace::default(),
    }
}
