//! Workers: C libraries that parse what guests wrote, each in a process of its own.
//!
//! A worker is this program, started again as `guestfsd --worker NAME`. It is started by the first
//! call that needs it, stays for later ones, and ends with the daemon. It gets open files and
//! nothing else, keeps none of them between calls, and has no way to anything else on the
//! appliance. When it crashes, hangs or wants too much memory, that is the error of one call; the
//! next one gets a new worker.
//!
//! [`Workers`] and `process` are the daemon's end; [`run()`], `sandbox` and a module for each library
//! are the worker's.

mod blkid;
mod libblkid;
mod libmagic;
mod magic;
mod process;
mod run;
mod sandbox;

use std::cell::{RefCell, RefMut};

use protocol::Result;

use process::Process;

pub use run::run;

/// The libraries that have a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    Magic,
    Blkid,
}

impl Library {
    const ALL: [Self; 2] = [Self::Magic, Self::Blkid];

    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Blkid => "blkid",
        }
    }

    /// The shared library.
    fn file(self) -> &'static str {
        match self {
            Self::Magic => "libmagic.so.1",
            Self::Blkid => "libblkid.so.1",
        }
    }

    /// The user that it runs as: one that nobody is, and another for each, since processes of one
    /// user can disturb each other.
    fn user(self) -> u32 {
        /// Distributions give the numbers from here on to no one.
        const FIRST: u32 = 65520;
        FIRST + self as u32
    }
}

/// The daemon's workers; none runs before it is needed.
#[derive(Debug)]
pub struct Workers {
    magic: RefCell<Process>,
    blkid: RefCell<Process>,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            magic: RefCell::new(Process::new(Library::Magic)),
            blkid: RefCell::new(Process::new(Library::Blkid)),
        }
    }
}

impl Workers {
    /// The worker that runs libmagic, to make a `MagicClient` of; `None` if it cannot be had in
    /// this appliance.
    ///
    /// # Errors
    ///
    /// When a process cannot be started now.
    pub(crate) fn magic(&self) -> Result<Option<RefMut<'_, Process>>> {
        ready(&self.magic)
    }

    /// The worker that runs libblkid, to make a `BlkidClient` of; `None` if it cannot be had in
    /// this appliance.
    ///
    /// # Errors
    ///
    /// When a process cannot be started now.
    pub(crate) fn blkid(&self) -> Result<Option<RefMut<'_, Process>>> {
        ready(&self.blkid)
    }
}

fn ready(process: &RefCell<Process>) -> Result<Option<RefMut<'_, Process>>> {
    let mut process = process.borrow_mut();
    Ok(process.ready()?.then_some(process))
}
