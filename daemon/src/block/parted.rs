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

/// How long a word may be; parted writes beyond its memory with longer ones.
const MAX_WORD: usize = 255;

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

/// Text as one word of a command, which parted takes apart at blanks and quotes: what comes after
/// one would be another command.
///
/// # Errors
///
/// EINVAL if parted has no room for it.
pub(super) fn word(text: &str) -> Result<String> {
    if text.len() > MAX_WORD {
        return Err(Error::invalid(format!(
            "{} bytes are too many for parted, which takes {MAX_WORD} at most",
            text.len()
        )));
    }
    Ok(format!(
        "\"{}\"",
        text.replace('\\', r"\\").replace('"', "\\\"")
    ))
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
    Err(match said.trim() {
        "" => Error::new(format!("{subject}: exited with status {}", output.code)),
        said => Error::new(format!("{subject}: {said}")).repeating(said),
    })
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
            .args(["unit", "b", "print", "unit", "s", "print"])
            .output()
            .context(device)?;
        // parted opens the disk for writing, and udev looks at it when it is closed.
        udev::settle();
        if output.code != 0 {
            let said = output.message();
            let message = format!("parted: {device}: {said}");
            return Err(if finds_no_table(&said) {
                Error::os(Errno::EINVAL, message).repeating(&said)
            } else {
                Error::new(message).repeating(&said)
            });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Self::parse(&text, device.as_str())
            .ok_or_else(|| Error::new(format!("{device}: cannot parse the output of parted")))
    }

    /// Reads what is printed twice, with other units. Names may have line ends inside, and before
    /// 3.5, which has JSON as well, not even their colons are marked. But they are the same both
    /// times, and rows are not.
    fn parse(text: &str, path: &str) -> Option<Self> {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let (first, second) = lines.split_at(lines.len() / 2);
        let mut lines = first.iter().zip(second);
        if lines.next()? != (&"BYT;", &"BYT;") || first.len() != second.len() {
            return None;
        }
        // The path may have colons inside.
        let disk = lines.next()?.0.strip_prefix(path)?;
        let kind = disk.split(':').nth(5)?.to_owned();
        let mut records: Vec<String> = Vec::new();
        for (line, again) in lines {
            if line == again {
                let record = records.last_mut()?;
                record.push('\n');
                record.push_str(line);
            } else {
                records.push((*line).to_owned());
            }
        }
        let rows = records.iter().map(|record| {
            let whole = record.ends_with(';');
            Row::parse(record).filter(|_| whole)
        });
        let rows = rows.collect::<Option<_>>()?;
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

fn finds_no_table(said: &str) -> bool {
    said.contains(NO_TABLE)
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
    use crate::captured::outputs;

    /// A listing in both units, each of which stands for `@`. The numbers are not looked at the
    /// second time.
    fn parse(text: &str, path: &str) -> Option<Listing> {
        let both = ["B", "s"].map(|unit| text.replace('@', unit)).concat();
        Listing::parse(&both, path)
    }

    #[test]
    fn listings() {
        let text = "BYT;\n/dev/x:y:67108864@:scsi:512:512:mac:A: B;\n\
                    1:512@:32767@:32256@::Apple:;\n\
                    2:32768@:512511@:479744@:ext2:a:b;c:boot, lvm;\n";
        let listing = parse(text, "/dev/x:y").expect("a listing");
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
            "/dev/sda:8388608@:scsi:512:512:sun:QEMU QEMU HARDDISK;",
            "/dev/sda:8388608@:scsi:512:512:sun:QEMU QEMU HARDDISK:;",
            "/dev/sda:8388608@:scsi:512:4096:sun:QEMU QEMU HARDDISK:pmbr_boot;",
        ] {
            let rows = "1:0@:4194303@:4194304@:::;\n3:0@:8388607@:8388608@:::boot;\n";
            let listing = parse(&format!("BYT;\n{head}\n{rows}"), "/dev/sda");
            let listing = listing.expect(head);
            assert_eq!(listing.kind, "sun", "{head}");
            assert_eq!(listing.extents().count(), 2, "{head}");
            assert_eq!(listing.is_bootable(3), Some(true), "{head}");
        }
    }

    const MIB: u64 = 1 << 20;
    /// A cylinder, in parted's opinion of this disk.
    const CYLINDER: u64 = 510 * 512;

    #[test]
    fn listings_of_all_versions() {
        type Rows = &'static [(u32, u64, u64, bool)];
        let expected: [(&str, &str, Rows); 5] = [
            (
                "gpt",
                "gpt",
                &[
                    (1, MIB, MIB, true),
                    (2, 4 * MIB, 2 * MIB, false),
                    (3, 8 * MIB, 2 * MIB, false),
                ],
            ),
            (
                "dos",
                "msdos",
                &[
                    (1, MIB, MIB, true),
                    (2, 4 * MIB, 16 * MIB, false),
                    (5, 5 * MIB, MIB, false),
                ],
            ),
            (
                "sun",
                "sun",
                &[
                    (1, 0, CYLINDER, true),
                    (2, 2 * CYLINDER, 2 * CYLINDER, false),
                ],
            ),
            (
                "mac",
                "mac",
                &[
                    (1, 512, 63 * 512, false),
                    (2, MIB, 3 * MIB, false),
                    (3, 8 * MIB, 8 * MIB, true),
                ],
            ),
            ("loop", "loop", &[(1, 0, 512 * MIB, false)]),
        ];
        for (what, kind, rows) in expected {
            for captured in outputs("parted", what) {
                let version = captured.version.as_str();
                let listing = Listing::parse(&captured.text(), "/dev/sda").expect(version);
                assert_eq!(listing.kind, kind, "{what}: {version}");
                let found: Vec<_> = listing
                    .extents()
                    .map(|extent| {
                        let boot = listing.is_bootable(extent.number);
                        (extent.number, extent.start, extent.size, boot == Some(true))
                    })
                    .collect();
                assert_eq!(found, rows, "{what}: {version}");
            }
        }
    }

    /// Some names go on with what looks like a row with the number 9.
    #[test]
    fn names_with_line_ends() {
        let gpt = [(1, true), (2, false), (3, false), (5, false), (6, false)];
        let mac = [(1, false), (2, false), (3, true)];
        for (what, rows) in [("gpt-names", &gpt[..]), ("mac-names", &mac)] {
            for captured in outputs("parted", what) {
                let version = captured.version.as_str();
                let listing = Listing::parse(&captured.text(), "/dev/sda").expect(version);
                let found: Vec<(u32, bool)> = listing
                    .extents()
                    .map(|extent| {
                        (
                            extent.number,
                            listing.is_bootable(extent.number) == Some(true),
                        )
                    })
                    .collect();
                assert_eq!(found, rows, "{what}: {version}");
            }
        }
    }

    #[test]
    fn a_name_that_looks_like_a_row_is_a_name() {
        for name in [
            "n;\n9:0B:511B:512B:::boot;\n9:0s:0s:1s:::",
            "\nBYT;\n/dev/x:1B:a:1:1:mac:;\n9:0B:511B:512B::",
        ] {
            let text = format!("BYT;\n/dev/x:1@:a:1:1:mac:;\n1:0@:1@:2@::{name}:lvm;\n");
            let listing = parse(&text, "/dev/x").expect(name);
            let numbers: Vec<u32> = listing.extents().map(|extent| extent.number).collect();
            assert_eq!(numbers, [1], "{name}");
            assert_eq!(listing.is_bootable(1), Some(false), "{name}");
        }
    }

    #[test]
    fn disks_without_a_table_in_the_words_of_all_versions() {
        for captured in outputs("parted", "blank") {
            assert!(finds_no_table(&captured.text()), "{}", captured.version);
        }
        assert!(!finds_no_table("Error: Could not stat device /dev/sda"));
    }

    #[test]
    fn words_of_a_command() {
        for (text, expected) in [
            ("", r#""""#),
            ("a rm 2", r#""a rm 2""#),
            (r#"a" rm 2"#, r#""a\" rm 2""#),
            (r#"a\" rm 2"#, r#""a\\\" rm 2""#),
            ("it's", r#""it's""#),
        ] {
            assert_eq!(word(text).expect(text), expected);
        }
        assert!(word(&"x".repeat(MAX_WORD)).is_ok());
        let error = word(&"x".repeat(MAX_WORD + 1)).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EINVAL));
    }

    #[test]
    fn what_is_no_listing() {
        for text in [
            "",
            "BYT;",
            "XYZ;\n/dev/x:1@:a:b:c:d:e;\n",
            "BYT;\n/dev/x:1@:a:1:1:gpt:;\nfoo\n",
            "BYT;\n/dev/x:1@:a:1:1:gpt:;\n9:0B:1B:2B:::;\n",
            "BYT;\n/dev/x:1@:a:1:1:gpt:;\n1:0@:1@:2@:::;\nfoo\n",
        ] {
            assert_eq!(parse(text, "/dev/x"), None, "{text}");
        }
        let head = "BYT;\n/dev/x:1B:a:1:1:gpt:;\n";
        for once in [head.to_owned(), format!("{head}BYT;\n")] {
            assert_eq!(Listing::parse(&once, "/dev/x"), None, "{once}");
        }
    }
}
