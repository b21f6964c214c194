//! What LVM reports, as rows of fields.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::str::FromStr;

use protocol::{Device, Error, Result};

use super::lvm;

/// Nothing that LVM prints contains it.
const SEPARATOR: &str = "\t";

/// How LVM shows a physical volume that is missing.
const MISSING: [&[u8]; 2] = [b"unknown device", b"[unknown]"];

/// Volumes that can hold something of the caller's: no thin pools, no parts of
/// others, none that are not to be activated.
const USABLE: &str = "lv_role=public && lv_skip_activation!=yes";

/// The devices of the physical volumes, sorted.
///
/// # Errors
///
/// What LVM said.
pub(crate) fn physical_volumes() -> Result<Vec<Device>> {
    Ok(present(column("pvs", "pv_name", None)?))
}

fn present(mut names: Vec<Vec<u8>>) -> Vec<Device> {
    names.retain(|name| !MISSING.contains(&name.as_slice()));
    let names = names.iter().map(|name| String::from_utf8_lossy(name));
    sorted(names.map(Device::new))
}

/// The names of the volume groups, sorted.
///
/// # Errors
///
/// What LVM said.
pub(crate) fn groups() -> Result<Vec<Vec<u8>>> {
    let mut names = column("vgs", "vg_name", None)?;
    names.sort();
    Ok(names)
}

/// The devices of the logical volumes, sorted.
///
/// # Errors
///
/// What LVM said.
pub(crate) fn volumes() -> Result<Vec<Device>> {
    let output = lvm(["lvs", "--noheadings", "-o", "vg_name,lv_name"])
        .args(["--separator", "/", "-S", USABLE])
        .run()?;
    Ok(below_dev(&output.stdout))
}

/// The devices of `GROUP/VOLUME`.
fn below_dev(output: &[u8]) -> Vec<Device> {
    let names = lines(output).map(String::from_utf8_lossy);
    sorted(names.map(|name| Device::new(format!("/dev/{name}"))))
}

fn sorted(devices: impl Iterator<Item = Device>) -> Vec<Device> {
    let mut devices: Vec<Device> = devices.collect();
    devices.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    devices
}

/// One field of each thing that a command reports, or of those that belong to
/// `subject`; empty ones are left out.
///
/// # Errors
///
/// What LVM said.
pub(crate) fn column(command: &str, field: &str, subject: Option<&OsStr>) -> Result<Vec<Vec<u8>>> {
    let output = lvm([command, "--unbuffered", "--noheadings", "-o", field])
        .operands(subject)
        .run()?;
    Ok(lines(&output.stdout).map(<[u8]>::to_vec).collect())
}

fn lines(output: &[u8]) -> impl Iterator<Item = &[u8]> {
    output
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        // No name has a space. What LVM remarks on damaged disks has several, and comes
        // between the names.
        .filter(|line| !line.is_empty() && !line.contains(&b' '))
}

/// The fields of one thing, by their names.
#[derive(Debug)]
pub(crate) struct Row(HashMap<&'static str, Vec<u8>>);

/// Everything that a command reports.
///
/// # Errors
///
/// What LVM said.
pub(crate) fn rows(command: &str, fields: &[&'static str]) -> Result<Vec<Row>> {
    let output = lvm([command, "--unbuffered", "--noheadings", "--nosuffix"])
        .args(["--units", "b", "--separator", SEPARATOR, "-o"])
        .arg(fields.join(","))
        .run()?;
    parse(&output.stdout, fields)
}

/// The rows of what [`rows`] asks for.
///
/// # Errors
///
/// If a row has more or fewer fields.
pub(crate) fn parse(output: &[u8], fields: &[&'static str]) -> Result<Vec<Row>> {
    output
        .split(|&byte| byte == b'\n')
        // A remark on a damaged disk has no fields.
        .filter(|line| line.contains(&b'\t'))
        .map(|line| Row::parse(line, fields))
        .collect()
}

impl Row {
    fn parse(line: &[u8], fields: &[&'static str]) -> Result<Self> {
        // The first field is indented, to go below a heading.
        let values: Vec<&[u8]> = line
            .split(|&byte| SEPARATOR.as_bytes().contains(&byte))
            .map(<[u8]>::trim_ascii)
            .collect();
        if values.len() != fields.len() {
            return Err(Error::new(format!(
                "unexpected output from lvm: {}",
                String::from_utf8_lossy(line)
            )));
        }
        let values = values.into_iter().map(<[u8]>::to_vec);
        Ok(Self(fields.iter().copied().zip(values).collect()))
    }

    /// The value of a field.
    ///
    /// # Errors
    ///
    /// If it is no such value.
    pub(crate) fn take<T: Field>(&mut self, field: &str) -> Result<T> {
        let text = self.0.remove(field).unwrap_or_default();
        T::parse(&text).ok_or_else(|| {
            Error::new(format!(
                "unexpected output from lvm: {field} is '{}'",
                String::from_utf8_lossy(&text)
            ))
        })
    }
}

/// What a field can hold.
pub(crate) trait Field: Sized {
    /// `None` if the text is no such value.
    fn parse(text: &[u8]) -> Option<Self>;
}

impl Field for Vec<u8> {
    fn parse(text: &[u8]) -> Option<Self> {
        Some(text.to_vec())
    }
}

impl Field for Device {
    fn parse(text: &[u8]) -> Option<Self> {
        Some(Self::new(String::from_utf8_lossy(text)))
    }
}

/// A UUID, without its hyphens.
impl Field for [u8; 32] {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut text = text.to_vec();
        text.retain(|&byte| byte != b'-');
        text.try_into().ok()
    }
}

/// -1 if it is empty.
impl Field for i64 {
    fn parse(text: &[u8]) -> Option<Self> {
        number(text, -1)
    }
}

/// A percentage; -1 if it is empty.
impl Field for f32 {
    fn parse(text: &[u8]) -> Option<Self> {
        number(text, -1.0)
    }
}

fn number<T: FromStr>(text: &[u8], empty: T) -> Option<T> {
    if text.is_empty() {
        return Some(empty);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    fn paths(devices: &[Device]) -> Vec<&str> {
        devices.iter().map(Device::as_str).collect()
    }

    fn columns(what: &str) -> impl Iterator<Item = (String, Vec<Vec<u8>>)> {
        outputs("lvm2", what).into_iter().map(|captured| {
            let column = lines(&captured.bytes).map(<[u8]>::to_vec).collect();
            (captured.version, column)
        })
    }

    #[test]
    fn remarks_are_no_names() {
        let output = b"  Retrying metadata scan.\n  one\n";
        assert_eq!(lines(output).collect::<Vec<_>>(), [b"one"]);
        let rows = parse(b"  Retrying metadata scan.\n  a\tb\n", &["name", "uuid"]);
        assert_eq!(rows.expect("rows").len(), 1);
    }

    #[test]
    fn columns_of_all_versions() {
        let all = ["/dev/sdb", "/dev/sdc", "/dev/sdd", "/dev/sde"];
        for (version, names) in columns("pvs") {
            assert_eq!(paths(&present(names)), all, "{version}");
        }
        for (version, names) in columns("pvs-missing") {
            let left = ["/dev/sdb", "/dev/sdc", "/dev/sde"];
            assert_eq!(paths(&present(names)), left, "{version}");
        }
        for (version, names) in columns("vgs") {
            assert_eq!(names, [b"vg1"], "{version}");
        }
        for captured in outputs("lvm2", "lvs") {
            let volumes = below_dev(&captured.bytes);
            let expected = ["/dev/vg1/lv-2.x+", "/dev/vg1/lv1", "/dev/vg1/snap"];
            assert_eq!(paths(&volumes), expected, "{}", captured.version);
        }
        for (what, count) in [("vg-pv-uuids", 3), ("vg-lv-uuids", 4)] {
            for (version, uuids) in columns(what) {
                assert_eq!(uuids.len(), count, "{what}: {version}");
                assert!(
                    uuids.iter().all(|uuid| uuid.len() == 38),
                    "{what}: {version}"
                );
            }
        }
    }

    #[test]
    fn missing_volumes_are_left_out() {
        for word in MISSING {
            assert_eq!(present(vec![word.to_vec()]), []);
        }
    }

    #[test]
    fn rows_have_all_fields() {
        let fields = ["name", "uuid", "size", "percent", "tags"];
        let line = b"  lv\tabcdef-0123-4567-89ab-cdef-0123-456789\t4096\t\t";
        let mut row = Row::parse(line, &fields).expect("a row");
        assert_eq!(row.take::<Vec<u8>>("name").expect("name"), b"lv");
        let uuid: [u8; 32] = row.take("uuid").expect("uuid");
        assert_eq!(&uuid, b"abcdef0123456789abcdef0123456789");
        assert_eq!(row.take::<i64>("size").expect("size"), 4096);
        let percent: f32 = row.take("percent").expect("percent");
        assert_eq!(percent.to_bits(), (-1.0f32).to_bits());
        assert_eq!(row.take::<Vec<u8>>("tags").expect("tags"), b"");
        assert!(Row::parse(b"a\tb", &fields).is_err());
        let mut row = Row::parse(b"a\tb\tc\td\te", &fields).expect("a row");
        assert!(row.take::<[u8; 32]>("uuid").is_err());
        assert!(row.take::<i64>("size").is_err());
    }
}
