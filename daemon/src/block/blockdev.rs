//! Sizes, flags and caches of block devices; discarding blocks.

use std::fs::File;

use nix::fcntl::OFlag;
use protocol::api::BlockdevActions;
use protocol::{Context, Device, Error, Result};

use super::ioctl;
use crate::{Daemon, udev};

/// What the kernel counts in where it has no better unit.
const UNIT: u64 = 512;

impl Daemon {
    fn block(&self, device: &Device) -> Result<File> {
        self.devices.open(device, OFlag::O_RDONLY)
    }
}

impl BlockdevActions for Daemon {
    fn blockdev_setro(&mut self, device: Device) -> Result<()> {
        ioctl::set_read_only(&self.block(&device)?, true).context(device)
    }

    fn blockdev_setrw(&mut self, device: Device) -> Result<()> {
        ioctl::set_read_only(&self.block(&device)?, false).context(device)
    }

    fn blockdev_getro(&mut self, device: Device) -> Result<bool> {
        ioctl::is_read_only(&self.block(&device)?).context(device)
    }

    fn blockdev_getss(&mut self, device: Device) -> Result<i32> {
        let size = ioctl::sector_size(&self.block(&device)?).context(&device)?;
        i32::try_from(size).map_err(|_| too_large(&device))
    }

    fn blockdev_getbsz(&mut self, device: Device) -> Result<i32> {
        ioctl::block_size(&self.block(&device)?).context(device)
    }

    fn blockdev_setbsz(&mut self, _device: Device, _blocksize: i32) -> Result<()> {
        Ok(())
    }

    fn blockdev_getsz(&mut self, device: Device) -> Result<i64> {
        let size = ioctl::size(&self.block(&device)?).context(&device)?;
        i64::try_from(size / UNIT).map_err(|_| too_large(&device))
    }

    fn blockdev_getsize64(&mut self, device: Device) -> Result<i64> {
        let size = ioctl::size(&self.block(&device)?).context(&device)?;
        i64::try_from(size).map_err(|_| too_large(&device))
    }

    fn blockdev_flushbufs(&mut self, device: Device) -> Result<()> {
        ioctl::flush_buffers(&self.block(&device)?).context(device)
    }

    fn blockdev_rereadpt(&mut self, device: Device) -> Result<()> {
        // udev holds a device that was just written to open for a while, and
        // while it does so for a partition, the disk is busy.
        udev::settle();
        let disk = self.block(&device)?;
        ioctl::reread_partitions(&disk).context(device)?;
        drop(disk);
        udev::settle();
        Ok(())
    }

    fn blkdiscard(&mut self, device: Device) -> Result<()> {
        let file = self.devices.open(&device, OFlag::O_WRONLY)?;
        let size = ioctl::size(&file).context(&device)?;
        ioctl::discard(&file, 0, size).context(device)
    }

    fn blkdiscardzeroes(&mut self, device: Device) -> Result<bool> {
        ioctl::discard_zeroes(&self.block(&device)?).context(device)
    }

    fn blockdev_setra(&mut self, device: Device, sectors: i32) -> Result<()> {
        if sectors < 0 {
            return Err(Error::new("readahead sectors must be >= 0"));
        }
        ioctl::set_read_ahead(&self.block(&device)?, sectors).context(device)
    }
}

fn too_large(device: &Device) -> Error {
    Error::with_errno(
        nix::errno::Errno::EOVERFLOW,
        format!("{device}: the size does not fit into the result"),
    )
}
