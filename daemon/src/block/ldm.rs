//! Windows dynamic disks (LDM).

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use nix::sys::stat::{major, minor};
use protocol::api::LdmActions;
use protocol::{Context, Device, Error, Result};
use serde_json::Value;

use crate::command::{Command, Output};
use crate::filesystem::mapper;
use crate::{Daemon, logging, udev};

const VOLUME: &str = "/dev/mapper/ldm_vol_";
const PARTITION: &str = "/dev/mapper/ldm_part_";

impl LdmActions for Daemon {
    fn list_ldm_volumes(&mut self) -> Result<Vec<Device>> {
        mapped(VOLUME)
    }

    fn list_ldm_partitions(&mut self) -> Result<Vec<Device>> {
        mapped(PARTITION)
    }

    fn ldmtool_create_all(&mut self) -> Result<()> {
        let before = mapped(PARTITION)?;
        let output = change(["create", "all"])?;
        // A volume that lacks a disk must not keep others from being used. Only when nothing
        // came of it is there no other sign.
        let failures = failures(&output, "create");
        if failures.is_empty() {
            return Ok(());
        }
        remove_unused(&before);
        if mapped(VOLUME)?.is_empty() {
            return Err(failed(&failures));
        }
        logging::warning(format_args!("ldmtool: {failures}"));
        Ok(())
    }

    fn ldmtool_remove_all(&mut self) -> Result<()> {
        let output = change(["remove", "all"])?;
        let failures = failures(&output, "remove");
        if failures.is_empty() {
            return Ok(());
        }
        Err(failed(&failures))
    }

    fn ldmtool_scan(&mut self) -> Result<Vec<Vec<u8>>> {
        scan(&[])
    }

    fn ldmtool_scan_devices(&mut self, devices: Vec<Device>) -> Result<Vec<Vec<u8>>> {
        scan(&devices)
    }

    fn ldmtool_diskgroup_name(&mut self, diskgroup: &[u8]) -> Result<Vec<u8>> {
        Shown::group(diskgroup)?.text("name")
    }

    fn ldmtool_diskgroup_volumes(&mut self, diskgroup: &[u8]) -> Result<Vec<Vec<u8>>> {
        let names = Shown::group(diskgroup)?.texts("volumes")?;
        Ok(names.into_iter().map(String::into_bytes).collect())
    }

    fn ldmtool_diskgroup_disks(&mut self, diskgroup: &[u8]) -> Result<Vec<Device>> {
        let names = Shown::group(diskgroup)?.texts("disks")?;
        Ok(names.into_iter().map(Device::new).collect())
    }

    fn ldmtool_volume_type(&mut self, diskgroup: &[u8], volume: &[u8]) -> Result<Vec<u8>> {
        Shown::volume(diskgroup, volume)?.text("type")
    }

    fn ldmtool_volume_hint(&mut self, diskgroup: &[u8], volume: &[u8]) -> Result<Vec<u8>> {
        Shown::volume(diskgroup, volume)?.hint()
    }

    fn ldmtool_volume_partitions(
        &mut self,
        diskgroup: &[u8],
        volume: &[u8],
    ) -> Result<Vec<Device>> {
        let names = Shown::volume(diskgroup, volume)?.texts("partitions")?;
        Ok(names.into_iter().map(Device::new).collect())
    }
}

fn mapped(prefix: &str) -> Result<Vec<Device>> {
    let mut devices = mapper::devices()?;
    devices.retain(|device| device.as_str().starts_with(prefix));
    Ok(devices)
}

fn change(args: [&str; 2]) -> Result<Output> {
    udev::settle();
    let output = Command::new("ldmtool").args(args).run();
    udev::settle();
    output.context("ldmtool")
}

/// What it says of single volumes, for which its exit status is 0.
fn failures(output: &Output, verb: &str) -> String {
    let start = format!("Unable to {verb} volume ");
    let message = output.message();
    let lines: Vec<&str> = message
        .lines()
        .filter_map(|line| line.find(&start).and_then(|at| line.get(at..)))
        .collect();
    lines.join("; ")
}

fn failed(said: &str) -> Error {
    Error::new(said).repeating(said).about("ldmtool")
}

/// Takes away the partitions that were made for a volume which then could not be.
fn remove_unused(before: &[Device]) {
    let unused = |device: &Device| {
        let holders = std::fs::metadata(device.path()).and_then(|metadata| {
            let number = metadata.rdev();
            let (major, minor) = (major(number), minor(number));
            std::fs::read_dir(format!("/sys/dev/block/{major}:{minor}/holders"))
        });
        holders.is_ok_and(|mut holders| holders.next().is_none())
    };
    for device in mapped(PARTITION).unwrap_or_default() {
        if before.contains(&device) || !unused(&device) {
            continue;
        }
        let removed = Command::new("dmsetup")
            .args(["remove", "--retry"])
            .operands([device.path()])
            .run();
        if let Err(error) = removed {
            logging::warning(format_args!("dmsetup: {device}: {error}"));
        }
    }
    udev::settle();
}

/// The GUIDs of the disk groups on these devices, or on all.
fn scan(devices: &[Device]) -> Result<Vec<Vec<u8>>> {
    let mut command = Command::new("ldmtool");
    // Without -d it looks at all devices, whatever else it is told to look at. What it is told
    // after the verb it looks at again, and then says what is wrong.
    for device in devices {
        command = command.arg("-d").arg(quoted(device));
    }
    let output = command
        .operands(["scan"])
        .args(devices.iter().map(quoted))
        .run()
        .context("ldmtool scan")?;
    let message = output.message();
    if !message.is_empty() {
        logging::warning(format_args!("ldmtool scan: {message}"));
    }
    let tree = parse(&output.stdout, "ldmtool scan")?;
    let guids = texts(&tree)
        .ok_or_else(|| Error::new("output of 'ldmtool scan' was not a JSON array of strings"))?;
    Ok(guids.into_iter().map(String::into_bytes).collect())
}

/// ldmtool expands the names of devices as a shell does.
fn quoted(device: &Device) -> OsString {
    let name = device.path().as_os_str();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_-+.:,@%=".contains(byte);
    if name.as_bytes().iter().all(plain) {
        return name.to_owned();
    }
    let mut text = OsString::from("'");
    text.push(name.to_string_lossy().replace('\'', r"'\''"));
    text.push("'");
    text
}

/// What `ldmtool show` prints of something.
struct Shown {
    what: &'static str,
    subject: String,
    object: Value,
}

impl Shown {
    fn group(guid: &[u8]) -> Result<Self> {
        let subject = String::from_utf8_lossy(guid).into_owned();
        Self::show("diskgroup", subject, &[guid])
    }

    fn volume(group: &[u8], name: &[u8]) -> Result<Self> {
        let subject = format!(
            "{}: {}",
            String::from_utf8_lossy(group),
            String::from_utf8_lossy(name)
        );
        Self::show("volume", subject, &[group, name])
    }

    fn show(what: &'static str, subject: String, names: &[&[u8]]) -> Result<Self> {
        let names = names.iter().map(|name| std::ffi::OsStr::from_bytes(name));
        let output = Command::new("ldmtool")
            .operands(["show", what])
            .args(names)
            .output()
            .with_context(|| format!("ldmtool: {subject}"))?;
        if output.code != 0 {
            // It has nothing to say of a volume that is not there.
            let message = output.message();
            let reason = match message.as_str() {
                "" if what == "volume" => "no such volume in this disk group",
                "" => "not found",
                said => said,
            };
            return Err(failed(&format!("{subject}: {reason}")));
        }
        let object = parse(&output.stdout, &format!("ldmtool show {what}"))?;
        Ok(Self {
            what,
            subject,
            object,
        })
    }

    fn hint(&self) -> Result<Vec<u8>> {
        // Older versions print `null` for a volume without a hint, newer ones nothing.
        match self.object.get("hint") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(_) => self.text("hint"),
        }
    }

    fn text(&self, key: &str) -> Result<Vec<u8>> {
        let value = self.object.get(key).and_then(Value::as_str);
        let text = value.ok_or_else(|| self.unexpected(key, "string"))?;
        Ok(text.as_bytes().to_vec())
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        let value = self.object.get(key).and_then(texts);
        value.ok_or_else(|| self.unexpected(key, "array of strings"))
    }

    fn unexpected(&self, key: &str, kind: &str) -> Error {
        let (what, subject) = (self.what, &self.subject);
        Error::new(format!(
            "{subject}: output of 'ldmtool show {what}' was not a JSON object containing a key \
             '{key}' of type {kind}"
        ))
    }
}

/// Names come from the disk, and need not be UTF-8, which JSON has to be. The parser itself
/// bounds how deep the values may be.
fn parse(output: &[u8], command: &str) -> Result<Value> {
    serde_json::from_slice(output)
        .map_err(|error| Error::new(format!("output of '{command}' was not JSON: {error}")))
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let items = value.as_array()?.iter();
    items.map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::{Captured, outputs};

    fn shown(what: &'static str, captured: &Captured) -> Shown {
        Shown {
            what,
            subject: captured.version.clone(),
            object: parse(&captured.bytes, what).expect("JSON"),
        }
    }

    #[test]
    fn groups_of_all_versions() {
        const GROUP: &str = "03c0c4fc-8b6f-402a-8431-4be2e5823b1c";
        for captured in outputs("ldmtool", "scan") {
            let found = texts(&parse(&captured.bytes, "scan").expect("JSON"));
            assert_eq!(found, Some(vec![GROUP.to_owned()]), "{}", captured.version);
        }
        for captured in outputs("ldmtool", "group") {
            let group = shown("diskgroup", &captured);
            assert_eq!(group.text("name").expect("name"), b"Group1-Dg0");
            let volumes = group.texts("volumes").expect("volumes");
            assert_eq!(
                volumes,
                ["Volume1", "Volume2", "Stripe1", "Mirror1", "Raid1"]
            );
            let disks = group.texts("disks").expect("disks");
            assert_eq!(disks, ["Disk1", "Disk2", "Disk3"]);
            assert!(group.text("disks").is_err() && group.texts("no").is_err());
        }
    }

    #[test]
    fn volumes_of_all_versions() {
        for (what, kind, hint, partitions) in [
            (
                "volume-mirrored",
                "mirrored",
                "G:",
                ["Disk1-Mirror1-1", "Disk2-Mirror1-2"],
            ),
            (
                "volume-spanned",
                "spanned",
                "",
                ["Disk1-Volume2-1", "Disk2-Volume2-2"],
            ),
        ] {
            for captured in outputs("ldmtool", what) {
                let (version, volume) = (&captured.version, shown("volume", &captured));
                assert_eq!(
                    volume.text("type").expect("type"),
                    kind.as_bytes(),
                    "{version}"
                );
                assert_eq!(volume.hint().expect("hint"), hint.as_bytes(), "{version}");
                let found = volume.texts("partitions").expect("partitions");
                assert_eq!(found, partitions, "{version}");
            }
        }
    }

    #[test]
    fn failures_in_the_words_of_all_versions() {
        let said = |stderr| Output {
            code: 0,
            stdout: Vec::new(),
            stderr,
        };
        for captured in outputs("ldmtool", "create-failed") {
            // That version crashes then, which is an error without any words.
            if captured.version == "0.2.4" {
                assert!(captured.text().contains("Aborted"));
                continue;
            }
            let failures = failures(&said(captured.bytes), "create");
            let first = failures.split("; ").next().unwrap_or_default();
            assert!(first.starts_with("Unable to create volume "), "{failures}");
            assert!(
                failures.contains("Volume2"),
                "{}: {failures}",
                captured.version
            );
        }
        // What is made without one of its disks has not failed.
        for captured in outputs("ldmtool", "create") {
            assert_eq!(failures(&said(captured.bytes), "create"), "");
        }
    }
}
