//! `debug qtrace`: marks in the disk's trace of requests.

use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;
use protocol::{Context, Result};

use super::commands::{ok, shown, usage};
use super::device_speed::Aligned;
use crate::Daemon;

const SECTOR: usize = 512;

/// The program that analyses the trace knows these sequences of sectors.
const ON: [u64; 4] = [2, 21, 15, 2];
const OFF: [u64; 4] = [2, 15, 21, 2];

/// `qtrace DEVICE on|off`
pub(super) fn run(daemon: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    let bad = || usage("qtrace <device> <on|off>");
    let [name, switch] = args else {
        return Err(bad());
    };
    let pattern = match *switch {
        b"on" => ON,
        b"off" => OFF,
        _ => return Err(bad()),
    };
    daemon.drop_kernel_caches(3)?;
    let device = daemon.devices.translate(&shown(name)).context("qtrace")?;
    let file = daemon
        .devices
        .open(&device, OFlag::O_RDONLY | OFlag::O_DIRECT)
        .context("qtrace")?;
    let mut buffer = Aligned::new(SECTOR, 0);
    for sector in pattern {
        file.read_at(buffer.get(), sector * SECTOR as u64)
            .with_context(|| format!("qtrace: {device}"))?;
    }
    daemon.drop_kernel_caches(3)?;
    ok()
}
