//! Partitioning by sfdisk script, and disk geometry (deprecated, for old scripts).

use std::borrow::Cow;

use nix::fcntl::OFlag;
use protocol::api::SfdiskActions;
use protocol::{Context, Device, Result};

use super::ioctl;
use super::partition::part_number;
use crate::command::Command;
use crate::{Daemon, logging, udev};

impl SfdiskActions for Daemon {
    // sfdisk no longer takes a geometry: no disk has had one for decades, and
    // scripts that give one mean the same without it.
    fn sfdisk(
        &mut self,
        device: Device,
        _cyls: i32,
        _heads: i32,
        _sectors: i32,
        lines: Vec<&[u8]>,
    ) -> Result<()> {
        self.run_script(&device, &[], lines.into_iter().map(Cow::Borrowed))
    }

    fn sfdisk_n(
        &mut self,
        device: Device,
        partnum: i32,
        _cyls: i32,
        _heads: i32,
        _sectors: i32,
        line: &[u8],
    ) -> Result<()> {
        let number = part_number(partnum)?.to_string();
        self.run_script(&device, &["-N", &number], [Cow::Borrowed(line)])
    }

    fn sfdisk_l(&mut self, device: Device) -> Result<Device> {
        // The library takes the text for the name of a device.
        self.show(&device, "-l").map(Device::new)
    }

    fn sfdisk_kernel_geometry(&mut self, device: Device) -> Result<Vec<u8>> {
        self.show(&device, "-g").map(String::into_bytes)
    }

    fn sfdisk_disk_geometry(&mut self, device: Device) -> Result<Vec<u8>> {
        self.show(&device, "-G").map(String::into_bytes)
    }

    fn sfdiskm(&mut self, device: Device, lines: Vec<&[u8]>) -> Result<()> {
        self.run_script(&device, &[], lines.into_iter().map(in_megabytes))
    }
}

impl Daemon {
    fn run_script<'a>(
        &self,
        device: &Device,
        options: &[&str],
        lines: impl IntoIterator<Item = Cow<'a, [u8]>>,
    ) -> Result<()> {
        let mut script = Vec::new();
        for line in lines {
            script.extend_from_slice(&line);
            script.push(b'\n');
        }
        udev::settle();
        let result = Command::new("sfdisk")
            .args(options.iter().copied())
            .operands([device.path()])
            .stdin_bytes(script)
            .run();
        // sfdisk may have found the disk busy with udev, and left this undone.
        udev::settle();
        let disk = self.devices.open(device, OFlag::O_RDONLY);
        if let Err(error) = disk.and_then(|disk| ioctl::reread_partitions(&disk)) {
            logging::debug(format_args!("BLKRRPART: {device}: {error}"));
        }
        udev::settle();
        result
            .map(drop)
            .with_context(|| format!("sfdisk: {device}"))
    }

    fn show(&self, device: &Device, what: &str) -> Result<String> {
        let output = Command::new("sfdisk")
            .arg(what)
            .operands([device.path()])
            .run()
            .context(device)?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(self.devices.with_callers_names(&said))
    }
}

/// A line whose start and size, if they have no unit, are in megabytes.
fn in_megabytes(line: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(line) else {
        return Cow::Borrowed(line);
    };
    let fields = text.split(',').enumerate().map(|(at, field)| {
        let number = field.trim();
        let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if at < 2 && plain {
            Cow::Owned(format!("{number}MiB"))
        } else {
            Cow::Borrowed(field)
        }
    });
    let fields: Vec<_> = fields.collect();
    Cow::Owned(fields.join(",").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_megabytes() {
        for (line, meant) in [
            (",10", ",10MiB"),
            ("1, 20 ,83,*", "1MiB,20MiB,83,*"),
            ("1MiB,2048s", "1MiB,2048s"),
            (",,83", ",,83"),
            (",+", ",+"),
            (";", ";"),
            ("", ""),
        ] {
            assert_eq!(in_megabytes(line.as_bytes()), meant.as_bytes(), "{line}");
        }
        assert_eq!(in_megabytes(b"\xff,1"), b"\xff,1".as_slice());
    }
}
