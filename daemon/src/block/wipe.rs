//! Zeroing, scrubbing and wiping.

mod zeroes;

use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::api::WipeActions;
use protocol::{Context, Device, Error, GuestPath, Progress, Result};

use super::ioctl;
use crate::command::Command;
use crate::file::remove_tree;
use crate::guest::View;
use crate::{Daemon, logging, udev};
use zeroes::Zeroing;

/// How much `zero` overwrites: the superblocks of most filesystems.
const START: u64 = 128 << 10;

/// How much is read at a time.
const BLOCK: usize = 1 << 20;

impl WipeActions for Daemon {
    fn zero(&mut self, device: Device, progress: &mut Progress<'_>) -> Result<()> {
        self.zero_up_to(&device, START, progress)
    }

    fn zerofree(&mut self, device: Device) -> Result<()> {
        Command::new("zerofree")
            .arg(device.path())
            .run()
            .context(&device)?;
        udev::settle();
        Ok(())
    }

    fn scrub_device(&mut self, device: Device) -> Result<()> {
        Command::new("scrub")
            .operands([device.path()])
            .run()
            .context(&device)?;
        udev::settle();
        Ok(())
    }

    fn scrub_file(&mut self, file: GuestPath) -> Result<()> {
        // What the path leads to is scrubbed and deleted, not a link to it.
        let target = self.guest.resolve(&file)?;
        let place = self.guest.parent(&target)?;
        let content = self.guest.open_regular(&target, OFlag::O_RDWR)?;
        Command::new("scrub")
            .fd_arg(&content, &file)
            .run()
            .context(&file)?;
        unlinkat(
            &place.dir,
            place.name.as_os_str(),
            UnlinkatFlags::NoRemoveDir,
        )
        .context(&file)
    }

    fn scrub_freespace(&mut self, dir: GuestPath) -> Result<()> {
        let place = self.guest.parent(&dir)?;
        // scrub makes the directory itself, and does not take one that exists.
        if place.stat().is_ok() {
            return Err(Error::os(Errno::EEXIST, dir));
        }
        // The directory that it makes can be a link by the time it fills it.
        let view = View::writable(&place.dir).context(&dir)?;
        let scrubbed = Command::new("scrub")
            .arg("-X")
            .arg(Path::new(".").join(&place.name))
            .in_view(&view, place.directory(&dir).display())
            .run()
            .map(drop)
            .context(&dir);
        // Its files would leave no room on the filesystem.
        if scrubbed.is_err()
            && let Err(error) = remove_tree(place, &dir)
        {
            logging::warning(format_args!("scrub_freespace: {error}"));
        }
        scrubbed
    }

    fn zero_device(&mut self, device: Device, progress: &mut Progress<'_>) -> Result<()> {
        self.zero_up_to(&device, u64::MAX, progress)
    }

    fn is_zero(&mut self, path: GuestPath) -> Result<bool> {
        let file = self.guest.open_regular(&path, OFlag::O_RDONLY)?;
        zeroes::is_zero(file).context(path)
    }

    fn is_zero_device(&mut self, device: Device) -> Result<bool> {
        let file = self.devices.open(&device, OFlag::O_RDONLY)?;
        zeroes::is_zero(file).context(device)
    }

    fn wipefs(&mut self, device: Device) -> Result<()> {
        udev::settle();
        erase_signatures(&device)?;
        udev::settle();
        Ok(())
    }

    fn zero_free_space(&mut self, directory: GuestPath, progress: &mut Progress<'_>) -> Result<()> {
        zeroes::fill(&self.guest, &directory, progress)
    }
}

impl Daemon {
    /// Makes the first `limit` bytes of a device zero, and writes only where it
    /// is not so already: a sparse image stays sparse.
    fn zero_up_to(&self, device: &Device, limit: u64, progress: &mut Progress<'_>) -> Result<()> {
        let file = self.devices.open(device, OFlag::O_RDWR)?;
        let size = ioctl::size(&file).context(device)?.min(limit);
        let mut zeroing = Zeroing::new(&file);
        let mut block = vec![0; BLOCK];
        let mut position = 0;
        while position < size {
            let len = usize::try_from(size - position).map_or(BLOCK, |left| left.min(BLOCK));
            let part = block.get_mut(..len).unwrap_or_default();
            file.read_exact_at(part, position).context(device)?;
            zeroing.look_at(part, position).context(device)?;
            position += u64::try_from(len).unwrap_or(u64::MAX);
            progress.update(position, size);
        }
        zeroing.finish().context(device)?;
        file.sync_all().context(device)?;
        drop(file);
        udev::settle();
        Ok(())
    }
}

/// Erases the signatures of whatever is on a device.
///
/// # Errors
///
/// What wipefs said.
pub(crate) fn erase_signatures(device: &Device) -> Result<()> {
    Command::new("wipefs")
        .args(["-a", "--force"])
        .operands([device.path()])
        .run()
        .context(device)
        .map(drop)
}

/// Erases the signatures of what was on a device before something else is made
/// there: programs find leftovers that the new one does not overwrite. A failure
/// shows when it is made.
pub(crate) fn prepare(device: &Device) {
    if let Err(error) = erase_signatures(device) {
        logging::debug(format_args!("wipefs: {device}: {error}"));
    }
}
