//! `debug device_speed`: how fast a device is read or written.

use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::{Context, Error, Result};

use super::commands::{number, shown, usage};
use crate::Daemon;

const BLOCK: usize = 8192;

/// A buffer that `O_DIRECT` takes.
pub(super) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    const ALIGN: usize = 4096;

    /// `len` bytes of `fill`.
    pub(super) fn new(len: usize, fill: u8) -> Self {
        let bytes = vec![fill; len + Self::ALIGN];
        let start = bytes.as_ptr().align_offset(Self::ALIGN);
        Self { bytes, start, len }
    }

    pub(super) fn get(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.start..self.start.saturating_add(self.len))
            .unwrap_or_default()
    }
}

/// `device_speed DEVICE r|w SECONDS`: from the start of the device, again and
/// again, past all caches. Gives the number of bytes. Writing destroys what
/// the device holds.
pub(super) fn run(daemon: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    let bad = || usage("device_speed <device> <r|w> <secs>");
    let [name, direction, seconds] = args else {
        return Err(bad());
    };
    let writing = match *direction {
        b"r" | b"read" => false,
        b"w" | b"write" => true,
        _ => return Err(bad()),
    };
    let seconds = Duration::from_secs(number::<u32>(seconds).ok_or_else(bad)?.into());
    let device = daemon.devices.translate(&shown(name))?;
    let access = if writing {
        OFlag::O_WRONLY
    } else {
        OFlag::O_RDONLY
    };
    let mut file = daemon.devices.open(&device, access | OFlag::O_DIRECT)?;
    let size = file.seek(SeekFrom::End(0)).context(&device)?;
    if size < BLOCK as u64 {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("{device}: device is too small"),
        ));
    }
    // Zeros are written faster by some disks.
    let mut buffer = Aligned::new(BLOCK, 100);
    let (mut position, mut total) = (0, 0u64);
    let start = Instant::now();
    while start.elapsed() < seconds {
        if size - position < BLOCK as u64 {
            position = 0;
        }
        let moved = if writing {
            file.write_at(buffer.get(), position)
        } else {
            file.read_at(buffer.get(), position)
        }
        .context(&device)?;
        if moved == 0 {
            return Err(Error::new(format!(
                "{device}: unexpected end of the device"
            )));
        }
        position += BLOCK as u64;
        total += moved as u64;
    }
    Ok(total.to_string().into_bytes())
}
