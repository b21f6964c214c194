//! The daemon itself: liveness, caches, umask, shutting down.

use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use protocol::api::DaemonActions;
use protocol::{Context, Error, Result};

use crate::Daemon;

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

impl Daemon {
    /// Writes out everything, then makes the kernel forget what it has cached.
    pub(crate) fn drop_kernel_caches(&self, what: i32) -> Result<()> {
        self.sync();
        // The kernel knows no 0, and drops nothing of what it does not know.
        if what == 0 {
            return Ok(());
        }
        std::fs::write(DROP_CACHES, what.to_string()).context(DROP_CACHES)
    }
}

impl DaemonActions for Daemon {
    fn sync(&mut self) -> Result<()> {
        Self::sync(self);
        Ok(())
    }

    fn drop_caches(&mut self, whattodrop: i32) -> Result<()> {
        self.drop_kernel_caches(whattodrop)
    }

    fn ping_daemon(&mut self) -> Result<()> {
        Ok(())
    }

    fn umask(&mut self, mask: i32) -> Result<i32> {
        match u32::try_from(mask) {
            Ok(bits @ 0..=0o777) => Ok(mask_value(umask(Mode::from_bits_truncate(bits)))),
            _ => Err(Error::with_errno(
                Errno::EINVAL,
                format!("0{mask:o}: mask negative or out of range"),
            )),
        }
    }

    fn echo_daemon(&mut self, words: Vec<&[u8]>) -> Result<Vec<u8>> {
        Ok(words.join(&b' '))
    }

    fn get_umask(&mut self) -> Result<i32> {
        // There is no way to read it but to set it.
        let mask = umask(Mode::from_bits_truncate(0o022));
        umask(mask);
        Ok(mask_value(mask))
    }

    fn internal_autosync(&mut self) -> Result<()> {
        self.autosync()
    }

    fn internal_exit(&mut self) -> Result<()> {
        self.exit = true;
        Ok(())
    }
}

fn mask_value(mask: Mode) -> i32 {
    // Nine bits fit.
    mask.bits() as i32
}
