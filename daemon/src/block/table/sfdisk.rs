//! Reading a table where the appliance has no libblkid: sfdisk does, and prints JSON.

use protocol::{Device, Error, Result};
use serde_json::Value;

use super::{Extent, GptEntry, MbrEntry, Role, Table};
use crate::block::parted::Listing;
use crate::command::Command;

/// Names of attribute bits, where sfdisk does not use their numbers.
const ATTRIBUTES: [(&str, u32); 3] = [
    ("RequiredPartition", 0),
    ("NoBlockIOProtocol", 1),
    ("LegacyBIOSBootable", 2),
];

/// What [`Table::read`] gives.
///
/// # Errors
///
/// When sfdisk cannot be run, or prints something else.
pub(super) fn read(device: &Device) -> Result<Option<Table>> {
    // sfdisk takes a FAT filesystem's boot sector for a table.
    if !Listing::read(device).is_ok_and(|listing| matches!(&*listing.kind, "msdos" | "gpt")) {
        return Ok(None);
    }
    read_as_told(device)
}

/// The same, where something else may look like a table.
///
/// # Errors
///
/// As for [`read`].
pub(super) fn read_as_told(device: &Device) -> Result<Option<Table>> {
    let output = Command::new("sfdisk")
        .arg("--json")
        .operands([device.path()])
        .output()?;
    if output.code != 0 {
        return Ok(None);
    }
    let json = json(&output.stdout)
        .map_err(|error| Error::new(format!("{device}: sfdisk printed no JSON: {error}")))?;
    Ok(parse(&json, device.as_str()))
}

/// The name of a partition may have half of a character that takes two words, which sfdisk
/// prints as if it were one. That is not UTF-8, and JSON has to be.
fn json(output: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_str(&String::from_utf8_lossy(output))
}

fn parse(json: &Value, device: &str) -> Option<Table> {
    let table = json.get("partitiontable")?;
    let id = table.get("id")?.as_str()?;
    // Versions before 2.35 do not say it, and have 512 for all that they can read.
    let sector = table.get("sectorsize").map_or(Some(512), Value::as_u64)?;
    let rows = table.get("partitions").and_then(Value::as_array);
    let rows = rows.map(Vec::as_slice).unwrap_or_default();
    let row = |row| Row::parse(row, device, sector);
    let rows: Vec<Row<'_>> = rows.iter().map(row).collect::<Option<_>>()?;
    match table.get("label")?.as_str()? {
        "dos" => Table::mbr(
            id.trim_start_matches("0x").to_owned(),
            rows.iter().map(Row::mbr).collect::<Option<_>>()?,
        ),
        "gpt" => Some(Table::Gpt {
            id: id.to_uppercase(),
            entries: rows.iter().map(Row::gpt).collect(),
        }),
        _ => None,
    }
}

struct Row<'a> {
    extent: Extent,
    kind: &'a str,
    fields: &'a Value,
}

impl<'a> Row<'a> {
    fn parse(fields: &'a Value, device: &str, sector: u64) -> Option<Self> {
        let bytes = |name| fields.get(name)?.as_u64()?.checked_mul(sector);
        let node = fields.get("node")?.as_str()?.strip_prefix(device)?;
        Some(Self {
            extent: Extent {
                number: node.trim_start_matches('p').parse().ok()?,
                start: bytes("start")?,
                size: bytes("size")?,
            },
            kind: fields.get("type")?.as_str()?,
            fields,
        })
    }

    fn text(&self, name: &str) -> &'a str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn mbr(&self) -> Option<MbrEntry> {
        let kind = u8::from_str_radix(self.kind, 16).ok()?;
        Some(MbrEntry {
            extent: self.extent,
            kind,
            role: match (self.extent.number, kind) {
                (5.., _) => Role::Logical,
                (_, 0x05 | 0x0f | 0x85) => Role::Extended,
                _ => Role::Primary,
            },
            active: self.fields.get("bootable") == Some(&Value::Bool(true)),
        })
    }

    fn gpt(&self) -> GptEntry {
        GptEntry {
            extent: self.extent,
            kind: self.kind.to_uppercase(),
            guid: self.text("uuid").to_uppercase(),
            attributes: attributes(self.text("attrs")),
            name: self.text("name").as_bytes().to_vec(),
        }
    }
}

/// `RequiredPartition GUID:60,62`, where older versions have spaces for the commas.
fn attributes(text: &str) -> u64 {
    let words = text.split([' ', ',']).map(|word| {
        let named = ATTRIBUTES.iter().find(|(name, _)| *name == word);
        named.map_or_else(
            || word.trim_start_matches("GUID:").parse().ok(),
            |(_, bit)| Some(*bit),
        )
    });
    words
        .flatten()
        .filter_map(|bit| 1_u64.checked_shl(bit))
        .fold(0, |bits, bit| bits | bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    fn table(text: &str) -> Option<Table> {
        parse(&serde_json::from_str(text).expect("JSON"), "/dev/sda")
    }

    /// In the form of util-linux 2.38.
    #[test]
    fn gpt() {
        let found = table(
            r#"{"partitiontable": {"label": "gpt", "id": "478ea2b8-0EA0-4060-BC3C-79A357415445",
                "device": "/dev/sda", "unit": "sectors", "firstlba": 6, "lastlba": 4000,
                "sectorsize": 4096, "partitions": [
                {"node": "/dev/sda3", "start": 128, "size": 10,
                 "type": "0fc63daf-8483-4772-8e79-3d69d8477de4",
                 "uuid": "423FF1BD-4449-41D8-ADEA-7635532E0B5D", "name": "a \"b\" \u00e9",
                 "attrs": "RequiredPartition LegacyBIOSBootable GUID:60,62"}]}}"#,
        );
        let entry = GptEntry {
            extent: Extent {
                number: 3,
                start: 128 * 4096,
                size: 10 * 4096,
            },
            kind: "0FC63DAF-8483-4772-8E79-3D69D8477DE4".to_owned(),
            guid: "423FF1BD-4449-41D8-ADEA-7635532E0B5D".to_owned(),
            attributes: 5 | 1 << 60 | 1 << 62,
            name: "a \"b\" \u{e9}".as_bytes().to_vec(),
        };
        let id = "478EA2B8-0EA0-4060-BC3C-79A357415445".to_owned();
        assert_eq!(
            found,
            Some(Table::Gpt {
                id,
                entries: vec![entry]
            })
        );
    }

    /// In the form of util-linux 2.34, which has no `sectorsize`.
    #[test]
    fn mbr() {
        let found = table(
            r#"{"partitiontable": {"label":"dos", "id":"0x52540dc0", "device":"/dev/sda",
                "unit":"sectors", "partitions": [
                {"node":"/dev/sda1", "start":2048, "size":2048, "type":"83", "bootable":true},
                {"node":"/dev/sda2", "start":8192, "size":16384, "type":"f"},
                {"node":"/dev/sda5", "start":10240, "size":1, "type":"8e"}]}}"#,
        )
        .expect("a table");
        let device = Device::new("/dev/sda");
        let role = |number| found.mbr_entry(&device, number).expect("entry").role;
        assert_eq!(
            [role(1), role(2), role(5)],
            [Role::Primary, Role::Extended, Role::Logical]
        );
        assert!(found.is_bootable(1).expect("1") && !found.is_bootable(5).expect("5"));
        assert!(found.is_bootable(3).is_err());
        assert_eq!(found.extents()[1].start, 8192 * 512);
    }

    fn captured(what: &str) -> impl Iterator<Item = (String, Table)> {
        outputs("util-linux", what).into_iter().map(|captured| {
            let json = json(&captured.bytes).expect("JSON");
            let table = parse(&json, "/dev/sda").expect("a table");
            (captured.version, table)
        })
    }

    fn entries(table: Table) -> Vec<GptEntry> {
        match table {
            Table::Gpt { id, entries } => {
                assert_eq!(id, "478EA2B8-0EA0-4060-BC3C-79A357415445");
                entries
            }
            Table::Mbr { .. } => panic!("an MBR"),
        }
    }

    #[test]
    fn gpt_of_all_versions() {
        let sector = 512;
        for (version, table) in captured("sfdisk-gpt") {
            let expected = [
                (
                    1,
                    2048,
                    2048,
                    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
                    "EFI System",
                ),
                (2, 8192, 4096, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", ""),
                (3, 16384, 4096, "E6D6D379-F507-44C2-A23C-238F2A3DF928", "c"),
            ];
            let expected = expected.map(|(number, start, size, kind, name)| GptEntry {
                extent: Extent {
                    number,
                    start: start * sector,
                    size: size * sector,
                },
                kind: kind.to_owned(),
                guid: format!("423FF1BD-4449-41D8-ADEA-7635532E0B5{number}"),
                attributes: if number == 1 {
                    5 | 1 << 60 | 1 << 62
                } else {
                    0
                },
                name: name.as_bytes().to_vec(),
            });
            assert_eq!(entries(table), expected, "{version}");
        }
    }

    #[test]
    fn names_in_a_gpt() {
        for (version, table) in captured("sfdisk-gpt-names") {
            let names: Vec<String> = entries(table)
                .into_iter()
                .map(|entry| String::from_utf8(entry.name).expect("UTF-8"))
                .collect();
            let (half, names): (Vec<String>, Vec<String>) = names
                .into_iter()
                .partition(|name| name.contains('\u{fffd}'));
            assert_eq!(
                names,
                [
                    "a\nb,\"c\\d:e;",
                    "Gr\u{f6}\u{df}e \u{65e5}\u{672c}",
                    "\u{1f600}x",
                    "n\n9:0B:511B:512B:::boot;",
                ],
                "{version}"
            );
            assert!(
                half.len() == 1 && half[0].ends_with('y'),
                "{version}: {half:?}"
            );
        }
    }

    #[test]
    fn mbr_of_all_versions() {
        for (version, table) in captured("sfdisk-dos") {
            let Table::Mbr { id, entries, .. } = &table else {
                panic!("{version}: no MBR");
            };
            assert_eq!(id, "52540dc0", "{version}");
            let found: Vec<_> = entries
                .iter()
                .map(|entry| (entry.extent.number, entry.kind, entry.role, entry.active))
                .collect();
            let expected = [
                (1, 0x83, Role::Primary, true),
                (2, 0x0f, Role::Extended, false),
                (5, 0x8e, Role::Logical, false),
            ];
            assert_eq!(found, expected, "{version}");
            let starts: Vec<u64> = table.extents().iter().map(|extent| extent.start).collect();
            assert_eq!(starts, [2048 * 512, 8192 * 512, 10240 * 512], "{version}");
        }
    }

    #[test]
    fn what_is_no_table_of_the_two_kinds() {
        for text in [
            "{}",
            "[]",
            r#"{"partitiontable": {"label": "sun", "id": "x"}}"#,
            r#"{"partitiontable": {"label": "dos", "id": "0x1"}}"#,
            r#"{"partitiontable": {"label": "gpt", "id": "x", "partitions": [{"node": 1}]}}"#,
        ] {
            assert_eq!(table(text), None, "{text}");
        }
    }
}
