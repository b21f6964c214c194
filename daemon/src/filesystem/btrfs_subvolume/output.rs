//! What `btrfs` prints of subvolumes and quota groups.

use protocol::api::Btrfsqgroup;
use protocol::{Error, Result};
use serde_json::Value;

use super::names::Names;

/// Titles and values. Names may have line ends and tabs inside, so that a part of one looks like
/// a field; but it is known where they are and how long.
pub(super) fn show(out: &[u8], names: &Names) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    fields(out, names)
        .ok_or_else(|| Error::new("unexpected output from 'btrfs subvolume show' command"))
}

fn fields(out: &[u8], names: &Names) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    const SNAPSHOTS: &[u8] = b"\tSnapshot(s):\n";
    const INDENT: &[u8] = b"\t\t\t\t";
    let rest = out.strip_prefix(&*names.path)?;
    let rest = rest.strip_prefix(b"\n\tName: \t\t\t")?;
    let rest = rest.strip_prefix(&*names.name)?.strip_prefix(b"\n")?;
    let end = rest
        .windows(SNAPSHOTS.len())
        .position(|at| at == SNAPSHOTS)?;
    let (numbers, rest) = rest.split_at(end);
    let rest = rest.get(SNAPSHOTS.len()..)?;
    let lines = names.snapshots.iter();
    let length = lines.map(|path| INDENT.len() + path.len() + 1).sum();
    let quota = rest.get(length..)?;
    let mut found = vec![
        (b"path".to_vec(), names.path.clone()),
        (b"Name".to_vec(), names.name.clone()),
    ];
    numbered(numbers, &mut found)?;
    found.push((b"Snapshot(s)".to_vec(), names.snapshots.join(&b',')));
    numbered(quota, &mut found)?;
    Some(found)
}

/// Fields that have no names in them, a line each.
fn numbered(lines: &[u8], found: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Option<()> {
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let field = line.strip_prefix(b"\t")?;
        if field.starts_with(b"\t") {
            return None;
        }
        let field = field.trim_ascii();
        let colon = field.iter().position(|&byte| byte == b':')?;
        let (title, value) = field.split_at(colon);
        let value = value.strip_prefix(b":")?.trim_ascii_start();
        let value = if value == b"-" { b"" } else { value };
        found.push((title.to_vec(), value.to_vec()));
    }
    Some(())
}

/// What `btrfs qgroup show` prints as JSON, with numbers as texts.
pub(super) fn groups_json(out: &[u8]) -> Option<Vec<Btrfsqgroup>> {
    // Paths, which do not matter here, need not be UTF-8, which JSON has to be.
    let json: Value = serde_json::from_str(&String::from_utf8_lossy(out)).ok()?;
    let group = |row: &Value| {
        let number = |name| match row.get(name)? {
            Value::String(digits) => digits.parse().ok(),
            number => number.as_u64(),
        };
        Some(Btrfsqgroup {
            btrfsqgroup_id: row.get("qgroupid")?.as_str()?.as_bytes().to_vec(),
            btrfsqgroup_rfer: number("referenced")?,
            btrfsqgroup_excl: number("exclusive")?,
        })
    };
    let rows = json.get("qgroup-show")?.as_array()?;
    rows.iter().map(group).collect()
}

/// The rows of `btrfs qgroup show`, below two of titles.
pub(super) fn groups(text: &str) -> Vec<Btrfsqgroup> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let id = words.next().filter(|id| id.contains('/'))?;
            Some(Btrfsqgroup {
                btrfsqgroup_id: id.as_bytes().to_vec(),
                btrfsqgroup_rfer: words.next()?.parse().ok()?,
                btrfsqgroup_excl: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::captured::outputs;

    fn names(path: &str, snapshots: &[&str]) -> Names {
        let name = match path.rsplit('/').next() {
            Some("") | None => "<FS_TREE>",
            Some(name) => name,
        };
        Names {
            path: path.into(),
            name: name.into(),
            snapshots: snapshots.iter().map(|&path| path.into()).collect(),
        }
    }

    fn pair(title: &str, value: &str) -> (Vec<u8>, Vec<u8>) {
        (title.into(), value.into())
    }

    #[test]
    fn what_a_subvolume_says_of_itself() {
        let out = b"dir/s2\n\tName: \t\t\ts2\n\tParent UUID: \t\t-\n\tFlags: \t\t\t-\n\
            \tSnapshot(s):\n\t\t\t\tsnap/a\n\t\t\t\tsnap/b\n\tQuota group:\t\tn/a\n";
        let known = names("dir/s2", &["snap/a", "snap/b"]);
        let expected = [
            pair("path", "dir/s2"),
            pair("Name", "s2"),
            pair("Parent UUID", ""),
            pair("Flags", ""),
            pair("Snapshot(s)", "snap/a,snap/b"),
            pair("Quota group", "n/a"),
        ];
        assert_eq!(show(out, &known).unwrap(), expected);
        let quota = out.len() - b"\tQuota group:\t\tn/a\n".len();
        let found = show(&out[..quota], &known).unwrap();
        assert_eq!(found, expected[..5]);
        assert!(show(b"", &known).is_err());
        // One that was deleted meanwhile, or made.
        for others in [&["snap/a"][..], &["snap/a", "snap/b", "snap/c"]] {
            assert!(show(out, &names("dir/s2", others)).is_err());
        }
    }

    #[test]
    fn names_forge_no_fields() {
        let forged = "x\n\tUUID: \t\t\tforged\n\tSnapshot(s):\n\t\t\t\tforged\n\tA: b";
        let out = format!(
            "d\n\tName: \t\t\td/{forged}\n\tName: \t\t\t{forged}\n\tUUID: \t\t\t1-2\n\
             \tSnapshot(s):\n\t\t\t\ts\n\t\t\t\t {forged}\n"
        );
        let path = format!("d\n\tName: \t\t\td/{forged}");
        let known = names(&path, &["s", &format!(" {forged}")]);
        let expected = [
            pair("path", &path),
            pair("Name", forged),
            pair("UUID", "1-2"),
            pair("Snapshot(s)", &format!("s, {forged}")),
        ];
        assert_eq!(show(out.as_bytes(), &known).unwrap(), expected);
    }

    #[test]
    fn quota_groups() {
        let text = "Qgroupid    Referenced    Exclusive   Path \n\
            --------    ----------    ---------   ----\n\
            0/5              16384        16384   <toplevel>\n1/100 0 0\n";
        let groups = groups(text);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].btrfsqgroup_id, b"0/5");
        assert_eq!(groups[0].btrfsqgroup_rfer, 16384);
        assert_eq!(groups_json(b""), None);
        assert_eq!(groups_json(br#"{"qgroup-show": [{}]}"#), None);
    }

    fn shown(
        what: &str,
        names: Names,
    ) -> impl Iterator<Item = (String, impl Fn(&str) -> Option<Vec<u8>>)> {
        outputs("btrfs-progs", what)
            .into_iter()
            .map(move |captured| {
                let fields = show(&captured.bytes, &names).expect("fields");
                let field = move |title: &str| {
                    let mut titled = fields.iter().filter(|(t, _)| t == title.as_bytes());
                    let value = titled.next().map(|(_, value)| value.clone());
                    assert!(titled.next().is_none(), "two of {title}");
                    value
                };
                (captured.version, field)
            })
    }

    #[test]
    fn subvolumes_of_all_versions() {
        for (version, field) in shown("subvolume", names("one", &["snap", "snap2: x"])) {
            for (title, value) in [
                ("path", "one"),
                ("Name", "one"),
                ("Parent UUID", ""),
                ("Subvolume ID", "256"),
                ("Parent ID", "5"),
                ("Top level ID", "5"),
                ("Flags", ""),
                ("Snapshot(s)", "snap,snap2: x"),
            ] {
                let found = field(title);
                assert_eq!(
                    found.as_deref(),
                    Some(value.as_bytes()),
                    "{version}: {title}"
                );
            }
            assert_eq!(field("UUID").map(|uuid| uuid.len()), Some(36), "{version}");
        }
        for (version, field) in shown("subvolume-top", names("/", &[])) {
            assert_eq!(field("path").as_deref(), Some(&b"/"[..]), "{version}");
            assert_eq!(
                field("Subvolume ID").as_deref(),
                Some(&b"5"[..]),
                "{version}"
            );
            assert_eq!(field("Snapshot(s)").as_deref(), Some(&b""[..]), "{version}");
        }
    }

    #[test]
    fn subvolumes_with_line_ends_in_their_names() {
        let names = names("a\nb", &["s\nName: \t\t\tforged"]);
        for (version, field) in shown("subvolume-names", names) {
            for (title, value) in [
                ("path", "a\nb"),
                ("Name", "a\nb"),
                ("Parent ID", "5"),
                ("Snapshot(s)", "s\nName: \t\t\tforged"),
            ] {
                let found = field(title);
                assert_eq!(
                    found.as_deref(),
                    Some(value.as_bytes()),
                    "{version}: {title}"
                );
            }
            let own = [b"0/".to_vec(), field("Subvolume ID").expect("its number")].concat();
            assert_eq!(field("Quota group"), Some(own), "{version}");
        }
    }

    fn ids(groups: &[Btrfsqgroup]) -> Vec<&str> {
        let ids = groups.iter().map(|group| &group.btrfsqgroup_id);
        ids.map(|id| std::str::from_utf8(id).expect("digits"))
            .collect()
    }

    const GROUPS: [&str; 7] = ["0/5", "0/256", "0/257", "0/258", "0/259", "0/260", "1/100"];

    #[test]
    fn quota_groups_of_all_versions() {
        for captured in outputs("btrfs-progs", "groups") {
            let groups = groups(&captured.text());
            assert_eq!(ids(&groups), GROUPS, "{}", captured.version);
            for group in &groups[..6] {
                assert_eq!(group.btrfsqgroup_rfer, 16384, "{}", captured.version);
                assert_eq!(group.btrfsqgroup_excl, 16384, "{}", captured.version);
            }
            assert_eq!(groups[6].btrfsqgroup_rfer, 0, "{}", captured.version);
        }
    }

    /// Those that have it: older ones printed nothing, and failed.
    fn json(what: &str) -> impl Iterator<Item = (String, Vec<Btrfsqgroup>)> {
        outputs("btrfs-progs", what).into_iter().map(|captured| {
            let groups = groups_json(&captured.bytes).expect("groups");
            (captured.version, groups)
        })
    }

    #[test]
    fn quota_groups_as_json() {
        let texts: HashMap<_, _> = outputs("btrfs-progs", "groups")
            .into_iter()
            .map(|captured| (captured.version.clone(), groups(&captured.text())))
            .collect();
        for (version, groups) in json("groups-json") {
            assert_eq!(ids(&groups), GROUPS, "{version}");
            assert_eq!(Some(&groups), texts.get(&version), "{version}");
        }
        // A subvolume's path has a row of its own inside.
        for (version, groups) in json("groups-names-json") {
            assert!(!ids(&groups).contains(&"0/9"), "{version}");
            assert!(ids(&groups).contains(&"0/264"), "{version}");
        }
    }
}
