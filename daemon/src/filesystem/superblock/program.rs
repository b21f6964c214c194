//! The `blkid` program, for appliances without its library.

use std::os::unix::fs::MetadataExt;

use protocol::{Device, Result};

use super::Tags;
use crate::command::Command;

/// Its exit status for "nothing found".
const NOTHING: i32 = 2;

/// blkid without its cache, which may be older than what is on the device.
fn blkid() -> Command {
    Command::new("blkid").args(["-c", "/dev/null"])
}

/// One of the tags that libblkid finds, such as `TYPE` or `UUID`. A value is printed as it is, so
/// nothing else may be asked for with it.
///
/// # Errors
///
/// When blkid fails.
pub(super) fn tag(device: &Device, tag: &str) -> Result<Option<Vec<u8>>> {
    let output = blkid()
        .args(["-o", "value", "-s", tag])
        .operands([device.path()])
        .output()?;
    match output.code {
        0 => Ok(Some(value(output.stdout))),
        NOTHING => Ok(None),
        _ => Err(output.failure("blkid").about(device)),
    }
}

fn value(mut out: Vec<u8>) -> Vec<u8> {
    if out.last() == Some(&b'\n') {
        out.pop();
    }
    out
}

/// The types of what is on several devices, found in one go; empty where it is
/// nothing that is known.
///
/// # Errors
///
/// When blkid cannot be run.
pub(super) fn kinds(devices: &[Device]) -> Result<Vec<String>> {
    // Its exit status only says whether all of them are known.
    let output = blkid()
        .args(["-o", "export", "-s", "TYPE"])
        .operands(devices.iter().map(Device::path))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Vec<(u64, &str)> = types(&text)
        // It prefers names of its own, such as those of device-mapper.
        .filter_map(|(name, kind)| Some((number(name)?, kind)))
        .collect();
    Ok(devices
        .iter()
        .map(|device| {
            let number = number(device.as_str());
            found
                .iter()
                .find(|(other, _)| Some(*other) == number)
                .map_or_else(String::new, |(_, kind)| (*kind).to_owned())
        })
        .collect())
}

/// The devices in blkid's output for scripts, with their types; a line end in a value is `^J`
/// there.
fn types(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n\n").filter_map(|block| {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        };
        Some((field("DEVNAME")?, field("TYPE")?))
    })
}

fn number(path: &str) -> Option<u64> {
    std::fs::metadata(path).ok().map(|meta| meta.rdev())
}

/// Everything that a thorough probe of a device finds, in blkid's order.
///
/// # Errors
///
/// When blkid fails, or finds the signatures of several things.
pub(super) fn all(device: &Device) -> Result<Tags> {
    let out = blkid()
        .args(["-p", "-i", "-o", "export"])
        .operands([device.path()])
        .run()?
        .stdout;
    let mut tags = tags(&out);
    for (name, value) in &mut tags {
        if name == b"DEVNAME" {
            *value = device.name().as_bytes().to_vec();
        }
    }
    Ok(tags)
}

/// Names and values in blkid's output for scripts.
fn tags(out: &[u8]) -> Tags {
    let pairs = out.split(|&b| b == b'\n').filter_map(|line| {
        let at = line.iter().position(|&b| b == b'=')?;
        Some((line.get(..at)?.to_vec(), line.get(at + 1..)?.to_vec()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;
    use crate::filesystem::superblock::escaped;

    #[test]
    fn tags_of_all_versions() {
        const NAME: &[u8] = b"a\nb,\"c\\\xff d";
        const UUID: &[u8] = b"01234567-89ab-4cde-8f01-23456789abcd";
        let (name, partition) = (escaped(NAME), escaped(b"a\nb,\"c\\d:e;"));
        type Fields<'a> = &'a [(&'static str, &'a [u8])];
        let expected: [(&str, Fields<'_>); 4] = [
            (
                "blkid",
                &[
                    ("DEVNAME", b"/dev/sdb"),
                    ("LABEL", b"plain"),
                    ("UUID", UUID),
                    ("TYPE", b"ext4"),
                    ("USAGE", b"filesystem"),
                    ("LOGICAL_SECTOR_SIZE", b"512"),
                ],
            ),
            ("blkid-names", &[("LABEL", &name), ("TYPE", b"ext2")]),
            (
                "blkid-partition",
                &[
                    ("PART_ENTRY_SCHEME", b"gpt"),
                    ("PART_ENTRY_NAME", &partition),
                    ("PART_ENTRY_UUID", b"423ff1bd-4449-41d8-adea-7635532e0b51"),
                    ("PART_ENTRY_OFFSET", b"2048"),
                ],
            ),
            (
                "blkid-luks",
                &[("TYPE", b"crypto_LUKS"), ("UUID", UUID), ("VERSION", b"2")],
            ),
        ];
        for (what, wanted) in expected {
            for captured in outputs("util-linux", what) {
                let found = tags(&captured.bytes);
                for (name, value) in wanted {
                    let named: Vec<&[u8]> = found
                        .iter()
                        .filter(|(other, _)| other == name.as_bytes())
                        .map(|(_, value)| &**value)
                        .collect();
                    assert_eq!(named, [*value], "{what}: {}: {name}", captured.version);
                }
            }
        }
    }

    #[test]
    fn values_of_all_versions() {
        let expected: [(&str, &[u8]); 3] = [
            ("blkid-label", b"plain"),
            ("blkid-label-escape", b"\x1b[2J\nLABEL=\xffx"),
            ("blkid-label-names", b"a\nb,\"c\\\xff d"),
        ];
        for (what, label) in expected {
            for captured in outputs("util-linux", what) {
                let version = captured.version;
                assert_eq!(value(captured.bytes), label, "{what}: {version}");
            }
        }
    }

    /// The label of the first is `x`, a line end, and `TYPE=xfs`; the second is blank.
    #[test]
    fn types_from_all_versions() {
        for captured in outputs("util-linux", "blkid-types") {
            let text = captured.text();
            let found: Vec<_> = types(&text).collect();
            let expected = [("/dev/sdb", "ext2"), ("/dev/sdc", "xfs")];
            assert_eq!(found, expected, "{}", captured.version);
        }
    }
}
