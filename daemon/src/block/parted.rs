//! Running parted: for changes to the layout of partition tables, and for the
//! kinds of tables that are not read otherwise.

use std::ffi::OsString;
use std::fmt;

use nix::errno::Errno;
use protocol::{Context, Device, Error, Result};

use super::table::Extent;
use crate::command::Command;
use crate::udev;

/// What parted says of a disk that has neither a partition table nor anything
/// else that it knows.
const NO_TABLE: &str = "unrecognised disk label";

/// Changes a partition table.
///
/// # Errors
///
/// What parted said.
pub(super) fn change<S: Into<OsString>>(
    device: &Device,
    args: impl IntoIterator<Item = S>,
) -> Result<()> {
    let command = Command::new("parted")
        .arg("-s")
        .operands([device.path()])
        .args(args);
    run_settled(command, format_args!("parted: {device}"))
}

/// Runs a program that changes a partition table; `subject` begins its error.
///
/// # Errors
///
/// What the program said.
pub(super) fn run_settled(command: Command, subject: impl fmt::Display) -> Result<()> {
    // udev opens devices that were written to; the kernel cannot be told of
    // changes to a partition that is open.
    udev::settle();
    let output = command.fold_stderr().output();
    udev::settle();
    let output = output.with_context(|| &subject)?;
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(Error::new(format!("{subject}: {}", said.trim())))
}

/// What parted says a disk holds.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::block) struct Listing {
    /// The kind of partition table; `loop` for a filesystem without one.
    pub(in crate::block) kind: String,
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    extent: Extent,
    flags: String,
}

impl Listing {
    /// Lets parted look at a disk.
    ///
    /// # Errors
    ///
    /// EINVAL if it has no partition table that parted knows.
    pub(super) fn read(device: &Device) -> Result<Self> {
        let output = Command::new("parted")
            .args(["-m", "-s"])
            .operands([device.path()])
            .args(["unit", "b", "print"])
            .output()
            .context(device)?;
        // parted opens the disk for writing, and udev looks at it when it is closed.
        udev::settle();
        if output.code != 0 {
            let said = output.message();
            let message = format!("parted: {device}: {said}");
            return Err(if said.contains(NO_TABLE) {
                Error::os(Errno::EINVAL, message)
            } else {
                Error::new(message)
            });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Self::parse(&text, device.as_str())
            .ok_or_else(|| Error::new(format!("{device}: cannot parse the output of parted")))
    }

    fn parse(text: &str, path: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines.next()? != "BYT;" {
            return None;
        }
        // The path may have colons inside.
        let disk = lines.next()?.strip_prefix(path)?;
        let kind = disk.split(':').nth(5)?.to_owned();
        let rows = lines.map(Row::parse).collect::<Option<_>>()?;
        Some(Self { kind, rows })
    }

    /// The partitions.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        self.rows.iter().map(|row| row.extent)
    }

    /// Whether a partition is one to boot from; `None` if there is no such one.
    pub(super) fn is_bootable(&self, number: u32) -> Option<bool> {
        let mut rows = self.rows.iter();
        let row = rows.find(|row| row.extent.number == number)?;
        Some(row.flags.contains("boot"))
    }
}

impl Row {
    /// `1:1048576B:2097151B:1048576B:FILESYSTEM:NAME:FLAGS;`, where the name may
    /// have colons inside, too.
    fn parse(line: &str) -> Option<Self> {
        let bytes = |field: &str| field.strip_suffix('B')?.parse().ok();
        let mut fields = line.splitn(5, ':');
        let number = fields.next()?.parse().ok()?;
        let start = bytes(fields.next()?)?;
        fields.next()?;
        let size = bytes(fields.next()?)?;
        let flags = fields.next()?.trim_end_matches(';').rsplit(':').next()?;
        Some(Self {
            extent: Extent {
                number,
                start,
                size,
            },
            flags: flags.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings() {
        let text = "BYT;\n/dev/x:y:67108864B:scsi:512:512:mac:A: B;\n\
                    1:512B:32767B:32256B::Apple:;\n\
                    2:32768B:512511B:479744B:ext2:a:b;c:boot, lvm;\n";
        let listing = Listing::parse(text, "/dev/x:y").expect("a listing");
        assert_eq!(listing.kind, "mac");
        let places: Vec<_> = listing
            .extents()
            .map(|extent| (extent.number, extent.start, extent.size))
            .collect();
        assert_eq!(places, [(1, 512, 32256), (2, 32768, 479_744)]);
        assert_eq!(listing.is_bootable(1), Some(false));
        assert_eq!(listing.is_bootable(2), Some(true));
        assert_eq!(listing.is_bootable(3), None);
    }

    /// By parted 2.1, whose second line ends with the model, and by 3.1 and later, where it ends
    /// with the disk's flags.
    #[test]
    fn listings_of_other_versions() {
        for head in [
            "/dev/sda:8388608B:scsi:512:512:sun:QEMU QEMU HARDDISK;",
            "/dev/sda:8388608B:scsi:512:512:sun:QEMU QEMU HARDDISK:;",
            "/dev/sda:8388608B:scsi:512:4096:sun:QEMU QEMU HARDDISK:pmbr_boot;",
        ] {
            let rows = "1:0B:4194303B:4194304B:::;\n3:0B:8388607B:8388608B:::boot;\n";
            let listing = Listing::parse(&format!("BYT;\n{head}\n{rows}"), "/dev/sda");
            let listing = listing.expect(head);
            assert_eq!(listing.kind, "sun", "{head}");
            assert_eq!(listing.extents().count(), 2, "{head}");
            assert_eq!(listing.is_bootable(3), Some(true), "{head}");
        }
    }

    #[test]
    fn what_is_no_listing() {
        for text in [
            "",
            "BYT;",
            "XYZ;\n/dev/x:1B:a:b:c:d:e;",
            "BYT;\n/dev/x:1B:a:1:1:gpt:;\nfoo",
        ] {
            assert_eq!(Listing::parse(text, "/dev/x"), None, "{text}");
        }
    }
}
