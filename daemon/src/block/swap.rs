//! Swap areas.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::{MkswapOptions, SwapActions};
use protocol::{Context, Device, Error, GuestPath, Result};

use super::{ioctl, wipe};
use crate::command::Command;
use crate::{Daemon, udev};

/// What the header of a swap area has room for.
const MAX_LABEL: usize = 16;

impl SwapActions for Daemon {
    fn mkswap(&mut self, device: Device, options: MkswapOptions<'_>) -> Result<()> {
        make(&device, options.label, options.uuid)
    }

    fn mkswap_l(&mut self, label: &[u8], device: Device) -> Result<()> {
        make(&device, Some(label), None)
    }

    fn mkswap_u(&mut self, uuid: &str, device: Device) -> Result<()> {
        make(&device, None, Some(uuid))
    }

    fn swapon_device(&mut self, device: Device) -> Result<()> {
        let area = self.devices.open(&device, OFlag::O_RDONLY)?;
        ioctl::swap_on(&area).context(device)
    }

    fn swapoff_device(&mut self, device: Device) -> Result<()> {
        let area = self.devices.open(&device, OFlag::O_RDONLY)?;
        ioctl::swap_off(&area).context(device)?;
        drop(area);
        // The kernel has closed what it wrote to, for which udev looks at it again.
        udev::settle();
        Ok(())
    }

    fn swapon_file(&mut self, file: GuestPath) -> Result<()> {
        let area = self.guest.open_regular(&file, OFlag::O_RDONLY)?;
        ioctl::swap_on(&area).context(file)
    }

    fn swapoff_file(&mut self, file: GuestPath) -> Result<()> {
        let area = self.guest.open_regular(&file, OFlag::O_RDONLY)?;
        ioctl::swap_off(&area).context(file)
    }

    fn swapon_label(&mut self, label: &[u8]) -> Result<()> {
        check_label(label)?;
        let area = self.find_device("LABEL", label)?;
        self.swapon_device(area)
    }

    fn swapoff_label(&mut self, label: &[u8]) -> Result<()> {
        check_label(label)?;
        let area = self.find_device("LABEL", label)?;
        self.swapoff_device(area)
    }

    fn swapon_uuid(&mut self, uuid: &str) -> Result<()> {
        let area = self.find_device("UUID", uuid.as_bytes())?;
        self.swapon_device(area)
    }

    fn swapoff_uuid(&mut self, uuid: &str) -> Result<()> {
        let area = self.find_device("UUID", uuid.as_bytes())?;
        self.swapoff_device(area)
    }

    fn mkswap_file(&mut self, path: GuestPath) -> Result<()> {
        let file = self.guest.open_regular(&path, OFlag::O_RDWR)?;
        Command::new("mkswap")
            .arg("-f")
            .fd_arg(&file, &path)
            .run()
            .map(drop)
            .context(path)
    }
}

fn make(device: &Device, label: Option<&[u8]>, uuid: Option<&str>) -> Result<()> {
    let mut command = Command::new("mkswap").arg("-f");
    if let Some(label) = label {
        check_label(label)?;
        command = command.arg("-L").arg(OsString::from_vec(label.to_vec()));
    }
    if let Some(uuid) = uuid {
        command = command.args(["-U", uuid]);
    }
    wipe::prepare(device);
    command.operands([device.path()]).run().context(device)?;
    udev::settle();
    Ok(())
}

/// Checks that a label fits in a swap header.
///
/// # Errors
///
/// EINVAL when it is too long.
pub(crate) fn check_label(label: &[u8]) -> Result<()> {
    if label.len() <= MAX_LABEL {
        return Ok(());
    }
    Err(Error::with_errno(
        Errno::EINVAL,
        format!(
            "{}: Linux swap labels are limited to {MAX_LABEL} bytes",
            String::from_utf8_lossy(label)
        ),
    ))
}
