//! Debugging the daemon and the appliance.

mod bmap;
mod commands;
mod device_speed;
mod progress;
mod qtrace;

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::DebugActions;
use protocol::{Context, Error, FileIn, Progress, Result};

use crate::Daemon;
use crate::command::Command;

pub(crate) use bmap::State;

impl DebugActions for Daemon {
    fn debug(
        &mut self,
        subcmd: &str,
        extraargs: Vec<&[u8]>,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<u8>> {
        commands::run(self, subcmd, &extraargs, progress)
    }

    fn dmesg(&mut self) -> Result<Vec<u8>> {
        Command::new("dmesg").run().map(|output| output.stdout)
    }

    fn sleep(&mut self, secs: i32) -> Result<()> {
        let secs = u64::try_from(secs)
            .map_err(|_| Error::with_errno(Errno::EINVAL, "secs must not be negative"))?;
        std::thread::sleep(Duration::from_secs(secs));
        Ok(())
    }

    fn debug_upload(&mut self, filename: &mut FileIn<'_>, tmpname: &[u8], mode: i32) -> Result<()> {
        let path = Path::new(OsStr::from_bytes(tmpname));
        let mode = u32::try_from(mode)
            .ok()
            .filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| {
                Error::with_errno(Errno::EINVAL, format!("0{mode:o}: mode out of range"))
            })?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(path)
            .context(path.display())?;
        filename.copy_to(&file, None).context(path.display())?;
        Ok(())
    }

    fn internal_rhbz914931(&mut self, filename: &mut FileIn<'_>, count: i32) -> Result<()> {
        if !(1..=1000).contains(&count) {
            return Err(Error::with_errno(Errno::EINVAL, "count out of range"));
        }
        for _ in 0..count {
            std::thread::sleep(Duration::from_secs(1));
            if filename.next_block()?.is_none() {
                return Ok(());
            }
        }
        // What the test is for: the library must notice that the daemon died.
        std::process::abort();
    }
}
