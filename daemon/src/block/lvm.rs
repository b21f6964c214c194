//! LVM: creating, removing, resizing and activating.

pub(crate) mod filter;
pub(crate) mod report;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use protocol::api::LvmActions;
use protocol::{Context, Device, Error, Result};

use crate::command::Command;
use crate::{Daemon, features, logging, udev};

impl LvmActions for Daemon {
    fn pvcreate(&mut self, device: Device) -> Result<()> {
        change(lvm(["pvcreate", "--force", "--yes"]).operands([device.path()]))
    }

    fn vgcreate(&mut self, volgroup: &str, physvols: Vec<Device>) -> Result<()> {
        let members = physvols.iter().map(|device| device.path().as_os_str());
        // Without `--yes`, so that it refuses devices that hold something else.
        let command = lvm(["vgcreate"]).operands([volgroup]);
        change(command.args(members))
    }

    fn lvcreate(&mut self, logvol: &str, volgroup: &str, mbytes: i32) -> Result<()> {
        create_volume(&["-L", &mbytes.to_string()], logvol, volgroup)
    }

    fn lvm_remove_all(&mut self) -> Result<()> {
        for volume in report::volumes()? {
            let path = volume.path();
            deactivate(lvm(["lvchange", "-an"]).operands([path]));
            change(lvm(["lvremove", "-f"]).operands([path]))
                .with_context(|| format!("lvremove: {volume}"))?;
        }
        for group in report::groups()? {
            let name = OsString::from_vec(group);
            let shown = name.to_string_lossy().into_owned();
            deactivate(lvm(["vgchange", "-an"]).operands([&name]));
            change(lvm(["vgremove", "-f"]).operands([&name]))
                .with_context(|| format!("vgremove: {shown}"))?;
        }
        for device in report::physical_volumes()? {
            change(lvm(["pvremove", "-f", "--yes"]).operands([device.path()]))
                .with_context(|| format!("pvremove: {device}"))?;
        }
        Ok(())
    }

    fn lvremove(&mut self, device: Device) -> Result<()> {
        change(lvm(["lvremove", "-f"]).operands([device.path()]))
    }

    fn vgremove(&mut self, vgname: &str) -> Result<()> {
        change(lvm(["vgremove", "-f"]).operands([vgname]))
    }

    fn pvremove(&mut self, device: Device) -> Result<()> {
        change(lvm(["pvremove", "-ff", "--yes"]).operands([device.path()]))
    }

    fn pvresize(&mut self, device: Device) -> Result<()> {
        change(lvm(["pvresize"]).operands([device.path()])).context(device)
    }

    fn vg_activate_all(&mut self, activate: bool) -> Result<()> {
        self.vg_activate(activate, Vec::new())
    }

    fn vg_activate(&mut self, activate: bool, volgroups: Vec<&[u8]>) -> Result<()> {
        let groups = volgroups
            .into_iter()
            .map(|name| OsString::from_vec(name.to_vec()));
        let state = if activate { "y" } else { "n" };
        change(lvm(["vgchange", "-a", state]).operands(groups)).context("vgchange")
    }

    fn lvresize(&mut self, device: Device, mbytes: i32) -> Result<()> {
        let size = mbytes.to_string();
        resize(lvm(["lvresize", "--force", "-L", &size]).operands([device.path()]))
    }

    fn lvrename(&mut self, logvol: &str, newlogvol: &str) -> Result<()> {
        change(lvm(["lvrename"]).operands([logvol, newlogvol]))
            .with_context(|| format!("{logvol} -> {newlogvol}"))
    }

    fn vgrename(&mut self, volgroup: &str, newvolgroup: &str) -> Result<()> {
        change(lvm(["vgrename"]).operands([volgroup, newvolgroup]))
            .with_context(|| format!("{volgroup} -> {newvolgroup}"))
    }

    fn vgscan(&mut self) -> Result<()> {
        self.lvm_scan(false)
    }

    fn lvresize_free(&mut self, lv: Device, percent: i32) -> Result<()> {
        let size = format!("+{}%FREE", percentage(percent)?);
        resize(lvm(["lvresize", "-l", &size]).operands([lv.path()]))
    }

    fn pvresize_size(&mut self, device: Device, size: i64) -> Result<()> {
        let size = format!("{size}b");
        let command = lvm(["pvresize", "--yes", "--setphysicalvolumesize", &size]);
        change(command.operands([device.path()])).context(device)
    }

    fn lvcreate_free(&mut self, logvol: &str, volgroup: &str, percent: i32) -> Result<()> {
        let size = format!("{}%FREE", percentage(percent)?);
        create_volume(&["-l", &size], logvol, volgroup)
    }

    fn lvm_scan(&mut self, activate: bool) -> Result<()> {
        // This was never part of the feature, so callers expect it to work anywhere.
        if !features::program_exists("lvm") {
            return Ok(());
        }
        let mut command = lvm(["pvscan", "--cache"]);
        if activate {
            command = command.args(["--activate", "ay"]);
        }
        change(command)
    }
}

/// An LVM command.
pub(crate) fn lvm<const N: usize>(args: [&str; N]) -> Command {
    Command::new("lvm").args(args)
}

/// Runs a command that may change devices.
pub(crate) fn change(command: Command) -> Result<()> {
    // A device that udev looks at is in use for LVM.
    udev::settle();
    let result = command.run();
    udev::settle();
    result.map(drop)
}

fn create_volume(size: &[&str], volume: &str, group: &str) -> Result<()> {
    let command = lvm(["lvcreate", "--yes"]).args(size.iter().copied());
    change(command.args(["-n", volume]).operands([group]))
}

/// Before something is removed; whether that was needed shows then.
fn deactivate(command: Command) {
    if let Err(error) = change(command) {
        logging::debug(format_args!("lvm: {error}"));
    }
}

/// Resizes a volume; that it has the size already is no error.
fn resize(command: Command) -> Result<()> {
    udev::settle();
    let output = command.output()?;
    udev::settle();
    let said = output.message();
    if output.code == 0 || has_that_size(&said) {
        return Ok(());
    }
    Err(output.failure("lvm"))
}

/// Its exit status is that of all failures. The words changed in 2.03.17 or soon after.
fn has_that_size(said: &str) -> bool {
    said.contains("No size change")
        || said.contains("New size (") && said.contains("matches existing size (")
}

fn percentage(percent: i32) -> Result<i32> {
    if (0..=100).contains(&percent) {
        return Ok(percent);
    }
    Err(Error::with_errno(
        Errno::EINVAL,
        format!("percentage must be [0..100] (was {percent})"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn volumes_that_have_the_size_in_the_words_of_all_versions() {
        for captured in outputs("lvm2", "same-size") {
            assert!(has_that_size(&captured.text()), "{}", captured.version);
        }
        assert!(!has_that_size("Insufficient free space: 10 extents needed"));
    }
}
