//! What `btrfs` prints of subvolumes and quota groups.

use protocol::api::Btrfsqgroup;
use protocol::{Error, Result};
use serde_json::Value;

/// The path in the first line, then titles and values, indented by a tab; the snapshots follow
/// their title, one a line, indented by four. A name may have line ends inside: what is not
/// indented belongs to what is before it.
pub(super) fn show(out: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    if out.is_empty() {
        return Err(Error::new("btrfs subvolume show printed nothing"));
    }
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let lines = out.strip_suffix(b"\n").unwrap_or(out);
    for line in lines.split(|&b| b == b'\n') {
        let Some((_, last)) = found.last_mut() else {
            found.push((b"path".to_vec(), line.to_vec()));
            continue;
        };
        if let Some(snapshot) = line.strip_prefix(b"\t\t\t\t") {
            if !last.is_empty() {
                last.push(b',');
            }
            last.extend_from_slice(snapshot);
        } else if let Some(field) = line.strip_prefix(b"\t") {
            let field = field.trim_ascii_start();
            let colon = field.iter().position(|&b| b == b':');
            let (title, value) = field.split_at(colon.unwrap_or(field.len()));
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
            let value = if value == b"-" { b"" } else { value };
            found.push((title.to_vec(), value.to_vec()));
        } else {
            last.push(b'\n');
            last.extend_from_slice(line);
        }
    }
    Ok(found)
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

    #[test]
    fn what_a_subvolume_says_of_itself() {
        let out = b"dir/s2\n\tName: \t\t\ts2\n\tParent UUID: \t\t-\n\tFlags: \t\t\t-\n\
            \tSnapshot(s):\n\t\t\t\tsnap/a\n\t\t\t\tsnap/b\n\tQuota group:\t\tn/a\n";
        let found = show(out).unwrap();
        let pair = |title: &str, value: &str| (title.into(), value.into());
        assert_eq!(
            found,
            [
                pair("path", "dir/s2"),
                pair("Name", "s2"),
                pair("Parent UUID", ""),
                pair("Flags", ""),
                pair("Snapshot(s)", "snap/a,snap/b"),
                pair("Quota group", "n/a"),
            ]
        );
        assert!(show(b"").is_err());
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

    fn shown(what: &str) -> impl Iterator<Item = (String, impl Fn(&str) -> Option<Vec<u8>>)> {
        outputs("btrfs-progs", what).into_iter().map(|captured| {
            let fields = show(&captured.bytes).expect("fields");
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
        for (version, field) in shown("subvolume") {
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
        for (version, field) in shown("subvolume-top") {
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
        for (version, field) in shown("subvolume-names") {
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
