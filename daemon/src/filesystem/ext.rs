//! Handlers of `idl/filesystem/ext.idl`.

mod attributes;
mod tune2fs;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use protocol::api::{E2fsckOptions, ExtActions, SetE2attrsOptions, Tune2fsOptions};
use protocol::{Context, Device, Error, GuestPath, Result};

use super::labels;
use crate::command::{Command, STDERR_LIMIT};
use crate::daemon::Daemon;
use crate::guest::View;

/// e2fsck's greatest exit status that means that all is well now.
const CORRECTED: i32 = 1;

impl ExtActions for Daemon {
    fn tune2fs_l(&mut self, device: Device) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let out = Command::new("tune2fs")
            .arg("-l")
            .operands([device.path()])
            .run()
            .context(&device)?
            .stdout;
        Ok(tune2fs::fields(&out))
    }

    fn tune2fs(&mut self, device: Device, options: Tune2fsOptions<'_>) -> Result<()> {
        Command::new("tune2fs")
            .args(tune2fs::settings(&options)?)
            .operands([device.path()])
            .run()
            .context(&device)
            .map(drop)
    }

    fn e2fsck(&mut self, device: Device, options: E2fsckOptions) -> Result<()> {
        let chosen: Vec<&str> = [
            ("-p", options.correct),
            ("-y", options.forceall),
            ("-n", options.forceno),
        ]
        .into_iter()
        .filter(|(_, wanted)| *wanted == Some(true))
        .map(|(flag, _)| flag)
        .collect();
        match chosen[..] {
            [] => check(&device, None),
            [how] => check(&device, Some(how)),
            _ => Err(Error::invalid(
                "only one of the options 'correct', 'forceall' or 'forceno' may be specified",
            )),
        }
    }

    fn e2fsck_f(&mut self, device: Device) -> Result<()> {
        check(&device, Some("-p"))
    }

    fn resize2fs(&mut self, device: Device) -> Result<()> {
        self.resize(&device, None, None)
    }

    fn resize2fs_size(&mut self, device: Device, size: i64) -> Result<()> {
        if size <= 0 || size % 1024 != 0 {
            return Err(Error::invalid(format!(
                "{size}: size must be a round number of kilobytes"
            )));
        }
        self.resize(&device, None, Some(format!("{}K", size / 1024)))
    }

    fn resize2fs_m(&mut self, device: Device) -> Result<()> {
        self.resize(&device, Some("-M"), None)
    }

    fn get_e2attrs(&mut self, file: GuestPath) -> Result<Vec<u8>> {
        attributes::letters(&self.guest, &file)
    }

    fn set_e2attrs(
        &mut self,
        file: GuestPath,
        attrs: &str,
        options: SetE2attrsOptions,
    ) -> Result<()> {
        attributes::change(&self.guest, &file, attrs, options.clear == Some(true))
    }

    fn get_e2generation(&mut self, file: GuestPath) -> Result<i64> {
        attributes::generation(&self.guest, &file)
    }

    fn set_e2generation(&mut self, file: GuestPath, generation: i64) -> Result<()> {
        attributes::set_generation(&self.guest, &file, generation)
    }

    fn set_e2label(&mut self, device: Device, label: &[u8]) -> Result<()> {
        set_label(&device, label)
    }

    fn get_e2label(&mut self, device: Device) -> Result<Vec<u8>> {
        Ok(self
            .superblocks()
            .tag(&device, "LABEL")?
            .unwrap_or_default())
    }

    fn set_e2uuid(&mut self, device: Device, uuid: &str) -> Result<()> {
        set_uuid(&device, uuid)
    }

    fn get_e2uuid(&mut self, device: Device) -> Result<String> {
        let uuid = self.superblocks().tag(&device, "UUID")?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&uuid).into_owned())
    }

    fn mklost_and_found(&mut self, mountpoint: GuestPath) -> Result<()> {
        let top = self.top(&mountpoint)?;
        // The directory that it makes can be a link by the time it fills it.
        let view = View::writable(&top).context(&mountpoint)?;
        Command::new("mklost+found")
            .in_view(&view, &mountpoint)
            .run()
            .context(mountpoint)
            .map(drop)
    }
}

impl Daemon {
    /// Resizes a filesystem; one that is not mounted is checked before, as resize2fs wants.
    fn resize(&self, device: &Device, option: Option<&str>, size: Option<String>) -> Result<()> {
        if self.mount_of(device)?.is_none() {
            check(device, Some("-y"))?;
        }
        Command::new("resize2fs")
            .args(option)
            .operands([device.path()])
            .args(size)
            .run()
            .context(device)
            .map(drop)
    }
}

/// Checks a filesystem; `how` answers the questions.
fn check(device: &Device, how: Option<&str>) -> Result<()> {
    let output = Command::new("e2fsck")
        .arg("-f")
        .args(how)
        .operands([device.path()])
        // It writes about problems to either.
        .fold_stderr()
        .stdout_beginning(STDERR_LIMIT)
        .output()
        .context(device)?;
    if output.code <= CORRECTED {
        return Ok(());
    }
    Err(output.failure_on_stdout("e2fsck").about(device))
}

/// Sets the label of an ext2, ext3 or ext4 filesystem.
///
/// # Errors
///
/// EINVAL if it is too long; when tune2fs fails.
pub(super) fn set_label(device: &Device, label: &[u8]) -> Result<()> {
    labels::check_ext(label)?;
    Command::new("tune2fs")
        .arg("-L")
        .arg(OsStr::from_bytes(label))
        .operands([device.path()])
        .run()
        .context(device)
        .map(drop)
}

/// Sets the UUID of an ext2, ext3 or ext4 filesystem; also `clear`, `random` and `time`.
///
/// # Errors
///
/// When tune2fs fails.
pub(super) fn set_uuid(device: &Device, uuid: &str) -> Result<()> {
    // That the filesystem has to be checked first is said on the standard output.
    let output = Command::new("tune2fs")
        .args(["-U", uuid])
        .operands([device.path()])
        .fold_stderr()
        .output()
        .context(device)?;
    if output.code == 0 {
        return Ok(());
    }
    Err(output.failure_on_stdout("tune2fs").about(device))
}
