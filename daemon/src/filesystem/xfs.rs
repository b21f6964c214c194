//! Handlers of `idl/filesystem/xfs.idl`.

mod geometry;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::OFlag;
use protocol::api::{XfsActions, XfsAdminOptions, XfsGrowfsOptions, XfsRepairOptions, Xfsinfo};
use protocol::{Context, Device, DeviceOrPath, Error, GuestPath, Result};

use super::{labels, not_negative};
use crate::command::{Command, STDERR_LIMIT};
use crate::daemon::Daemon;
use crate::devices::Devices;
use crate::guest::View;

use geometry::Geometry;

impl XfsActions for Daemon {
    fn xfs_info(&mut self, pathordevice: DeviceOrPath) -> Result<Xfsinfo> {
        let geometry = self.geometry(&pathordevice)?;
        geometry::structure(&geometry).context(pathordevice)
    }

    fn xfs_info2(&mut self, pathordevice: DeviceOrPath) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let geometry = self.geometry(&pathordevice)?;
        Ok(geometry
            .into_iter()
            .map(|(name, value)| (name.into_bytes(), value.into_bytes()))
            .collect())
    }

    fn xfs_growfs(&mut self, path: GuestPath, options: XfsGrowfsOptions) -> Result<()> {
        let args = growth(&options)?;
        let top = self.top(&path)?;
        if self.guest.mounted_at(&path)?.is_none() {
            return Err(Error::new(format!("{path}: not a mounted XFS filesystem")));
        }
        // The program finds out the name of its directory and goes by that.
        let view = View::writable(&top).context(&path)?;
        Command::new("xfs_growfs")
            .args(args)
            .in_view(&view, &path)
            .arg(".")
            .run()
            .context(path)
            .map(drop)
    }

    fn xfs_admin(&mut self, device: Device, options: XfsAdminOptions<'_>) -> Result<()> {
        administer()
            .args(changes(&options)?)
            .operands([device.path()])
            .run()
            .context(device)
            .map(drop)
    }

    fn xfs_repair(&mut self, device: DeviceOrPath, options: XfsRepairOptions<'_>) -> Result<i32> {
        let mut command = Command::new("xfs_repair").args(repairs(&options, &self.devices)?);
        command = match &device {
            DeviceOrPath::Device(device) => command.operands([device.path()]),
            DeviceOrPath::Path(path) => {
                let image = self.guest.open_regular(path, OFlag::O_RDWR)?;
                command.arg("-f").fd_arg(&image, path)
            }
        };
        let command = command.stdout_beginning(STDERR_LIMIT);
        let output = command.output().context(&device)?;
        let said = output.message();
        if let Some(needed) = too_little_memory(&said) {
            return Err(Error::invalid(format!(
                "maxmem was too small: raise it to at least {needed}"
            )));
        }
        Ok(output.code)
    }
}

impl Daemon {
    fn geometry(&self, place: &DeviceOrPath) -> Result<Geometry> {
        let command = Command::new("xfs_info");
        let output = match place {
            // xfs_info knows no `--`; a device's path is no option.
            DeviceOrPath::Device(device) => command.arg(device.path()).run(),
            DeviceOrPath::Path(path) => {
                let top = self.top(path)?;
                command.cwd(&top).arg(".").run()
            }
        };
        let mut geometry =
            geometry::parse(&String::from_utf8_lossy(&output.context(place)?.stdout));
        for (_, value) in &mut geometry {
            if value.starts_with("/dev/") {
                *value = self.devices.name_of(value);
            }
        }
        Ok(geometry)
    }
}

/// xfs_admin(8), for changing what stands in the superblock.
pub(super) fn administer() -> Command {
    Command::new("xfs_admin")
}

fn growth(options: &XfsGrowfsOptions) -> Result<Vec<String>> {
    let mut args = Vec::new();
    for (flag, wanted) in [
        ("-d", options.datasec),
        ("-l", options.logsec),
        ("-r", options.rtsec),
    ] {
        if wanted == Some(true) {
            args.push(flag.to_owned());
        }
    }
    for (flag, name, value) in [
        ("-D", "datasize", options.datasize),
        ("-L", "logsize", options.logsize),
        ("-R", "rtsize", options.rtsize),
        ("-e", "rtextsize", options.rtextsize),
        ("-m", "maxpct", options.maxpct.map(i64::from)),
    ] {
        if let Some(value) = value {
            args.extend([flag.to_owned(), not_negative(name, value)?]);
        }
    }
    Ok(args)
}

fn changes(options: &XfsAdminOptions<'_>) -> Result<Vec<OsString>> {
    let mut args: Vec<OsString> = Vec::new();
    for (flag, wanted) in [
        ("-e", options.extunwritten),
        ("-f", options.imgfile),
        ("-j", options.v2log),
        ("-p", options.projid32bit),
    ] {
        if wanted == Some(true) {
            args.push(flag.into());
        }
    }
    if let Some(lazy) = options.lazycounter {
        args.extend(["-c".into(), u8::from(lazy).to_string().into()]);
    }
    if let Some(label) = options.label {
        labels::check_xfs(label)?;
        labels::check_xfs_admin(label)?;
        args.extend(["-L".into(), OsStr::from_bytes(label).to_owned()]);
    }
    if let Some(uuid) = options.uuid {
        if !matches!(uuid, "nil" | "generate" | "restore") {
            labels::check_xfs_uuid(uuid)?;
        }
        args.extend(["-U".into(), uuid.into()]);
    }
    Ok(args)
}

fn repairs(options: &XfsRepairOptions<'_>, devices: &Devices) -> Result<Vec<OsString>> {
    let mut args: Vec<OsString> = Vec::new();
    for (flag, wanted) in [
        ("-L", options.forcelogzero),
        ("-n", options.nomodify),
        ("-P", options.noprefetch),
    ] {
        if wanted == Some(true) {
            args.push(flag.into());
        }
    }
    if options.forcegeometry == Some(true) {
        args.extend(["-o".into(), "force_geometry".into()]);
    }
    if let Some(size) = options.maxmem {
        args.extend(["-m".into(), not_negative("maxmem", size)?.into()]);
    }
    for (word, name, value) in [
        ("ihash", "ihashsize", options.ihashsize),
        ("bhash", "bhashsize", options.bhashsize),
        ("ag_stride", "agstride", options.agstride),
    ] {
        if let Some(value) = value {
            let value = not_negative(name, value)?;
            args.extend(["-o".into(), format!("{word}={value}").into()]);
        }
    }
    for (flag, device) in [("-l", options.logdev), ("-r", options.rtdev)] {
        let Some(device) = device else { continue };
        let device = devices.translate(&String::from_utf8_lossy(device))?;
        args.extend([flag.into(), device.as_str().into()]);
    }
    Ok(args)
}

/// How much memory xfs_repair says that it needs, if it was given less.
fn too_little_memory(said: &str) -> Option<&str> {
    const GREATER: &str = "Required memory for repair is greater tha";
    let (_, rest) = said.split_once(GREATER)?;
    let (_, rest) = rest.split_once("at least ")?;
    rest.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn too_little_memory_in_the_words_of_all_versions() {
        for captured in outputs("xfsprogs", "too-little-memory") {
            let text = captured.text();
            let needed = too_little_memory(&text).expect("a number");
            let needed = needed.parse::<u32>();
            assert!(
                needed.is_ok_and(|megabytes| megabytes > 1),
                "{}",
                captured.version
            );
        }
    }

    #[test]
    fn memory_that_repair_needs() {
        let said = "Required memory for repair is greater that the maximum specified\n\
            with the -m option. Please increase it to at least 64.";
        assert_eq!(too_little_memory(said), Some("64"));
        assert_eq!(too_little_memory("all is well"), None);
    }
}
