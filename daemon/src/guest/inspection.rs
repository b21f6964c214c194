//! What operating systems are in the guest.

mod architecture;
mod headers;

use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;
use protocol::api::InspectionActions;
use protocol::{Context, Error, GuestPath, Result};

use super::reopen;
use super::tree::kind;
use crate::Daemon;

impl InspectionActions for Daemon {
    fn file_architecture(&mut self, filename: GuestPath) -> Result<String> {
        let handle = self.guest.handle_nofollow(&filename)?;
        let found = match kind(&handle).context(&filename)? {
            SFlag::S_IFREG => {
                let file = reopen(&handle, OFlag::O_RDONLY).context(&filename)?;
                architecture::of_file(file).context(&filename)?
            }
            _ => None,
        };
        found.ok_or_else(|| Error::new(format!("unknown architecture: {filename}")))
    }
}
