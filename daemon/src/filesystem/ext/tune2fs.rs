//! What tune2fs is told, and what it prints.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use protocol::api::Tune2fsOptions;
use protocol::{Error, Result};

use crate::filesystem::not_negative;

/// The titles of what the guest has chosen, with what begins the line after each.
const FREE_TEXT: [(&[u8], &[u8]); 2] = [
    (b"Filesystem volume name", b"Last mounted on: "),
    (b"Last mounted on", b"Filesystem UUID: "),
];

/// What tune2fs prints for what is not set.
const UNSET: [&[u8]; 3] = [b"<none>", b"<not available>", b"(none)"];

/// The arguments that make these changes.
///
/// # Errors
///
/// EINVAL for numbers below zero, and for behaviours that there are not.
pub(super) fn settings(options: &Tune2fsOptions<'_>) -> Result<Vec<OsString>> {
    let mut args: Vec<OsString> = Vec::new();
    if options.force == Some(true) {
        args.push("-f".into());
    }
    for (flag, name, value) in [
        ("-c", "maxmountcount", options.maxmountcount.map(i64::from)),
        ("-C", "mountcount", options.mountcount.map(i64::from)),
        ("-g", "group", options.group),
        (
            "-m",
            "reservedblockspercentage",
            options.reservedblockspercentage.map(i64::from),
        ),
        ("-r", "reservedblockscount", options.reservedblockscount),
        ("-u", "user", options.user),
    ] {
        if let Some(value) = value {
            args.extend([flag.into(), not_negative(name, value)?.into()]);
        }
    }
    if let Some(behaviour) = options.errorbehavior {
        if !matches!(behaviour, "continue" | "remount-ro" | "panic") {
            return Err(Error::invalid(format!(
                "invalid errorbehavior parameter: {behaviour}"
            )));
        }
        args.extend(["-e".into(), behaviour.into()]);
    }
    if let Some(interval) = options.intervalbetweenchecks {
        let seconds = not_negative("intervalbetweenchecks", i64::from(interval))?;
        // Without the unit they would be days.
        args.extend(["-i".into(), format!("{seconds}s").into()]);
    }
    if let Some(directory) = options.lastmounteddirectory {
        args.extend(["-M".into(), OsStr::from_bytes(directory).to_owned()]);
    }
    Ok(args)
}

/// What `tune2fs -l` prints after its own name: titles, colons and values. What the guest has
/// chosen of it may have line ends inside.
pub(super) fn fields(out: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (at, line) in out.split(|&b| b == b'\n').enumerate() {
        if at == 0 && line.starts_with(b"tune2fs ") {
            continue;
        }
        let within = FREE_TEXT.iter().find(|(title, _)| {
            let last = found.last().map(|(last, _)| last.as_slice());
            last == Some(title)
        });
        match (found.last_mut(), within) {
            (Some((_, value)), Some((_, next))) if !line.starts_with(next) => {
                value.push(b'\n');
                value.extend_from_slice(line);
            }
            _ if line.is_empty() => {}
            _ => {
                let colon = line.iter().position(|&b| b == b':');
                let (title, value) = line.split_at(colon.unwrap_or(line.len()));
                let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii_start();
                found.push((title.to_vec(), value.to_vec()));
            }
        }
    }
    for (_, value) in &mut found {
        if UNSET.contains(&value.as_slice()) {
            value.clear();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn fields_of_the_superblock() {
        let out = b"tune2fs 1.47.0 (5-Feb-2023)\nFilesystem volume name:   <none>\n\
            Last mounted on:          /a: b\nFilesystem UUID:          x\n\
            Check interval:           0 (<none>)\nodd line\n";
        let found = fields(out);
        let field = |title: &str, value: &str| (title.into(), value.into());
        assert_eq!(
            found,
            [
                field("Filesystem volume name", ""),
                field("Last mounted on", "/a: b"),
                field("Filesystem UUID", "x"),
                field("Check interval", "0 (<none>)"),
                field("odd line", ""),
            ]
        );
    }

    #[test]
    fn what_the_guest_chose_makes_no_field() {
        let out = b"Filesystem volume name:   a\nFilesystem state: x\n\nb\n\
            Last mounted on:          /c\nFilesystem UUID\n\
            Filesystem UUID:          x\n";
        let found = fields(out);
        let field = |title: &str, value: &str| (title.into(), value.into());
        let expected = [
            field("Filesystem volume name", "a\nFilesystem state: x\n\nb"),
            field("Last mounted on", "/c\nFilesystem UUID"),
            field("Filesystem UUID", "x"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn superblocks_of_all_versions() {
        const UUID: &[u8] = b"01234567-89ab-4cde-8f01-23456789abcd";
        type Fields = &'static [(&'static str, &'static [u8])];
        let expected: [(&str, Fields); 3] = [
            (
                "tune2fs",
                &[
                    ("Filesystem volume name", b"plain"),
                    ("Last mounted on", b"/a: b"),
                    ("Filesystem UUID", UUID),
                    ("Filesystem magic number", b"0xEF53"),
                    ("Filesystem revision #", b"1 (dynamic)"),
                    ("Block count", b"65536"),
                    ("Block size", b"1024"),
                    ("Check interval", b"0 (<none>)"),
                    ("Directory Hash Seed", UUID),
                ],
            ),
            (
                "tune2fs-ext2",
                &[
                    ("Filesystem volume name", b""),
                    ("Last mounted on", b""),
                    ("Filesystem UUID", UUID),
                    ("Block count", b"16384"),
                ],
            ),
            (
                "tune2fs-names",
                &[
                    ("Filesystem volume name", b"a\nb,\"c\\\xff d"),
                    ("Last mounted on", b"/m\nn: o"),
                    ("Filesystem UUID", UUID),
                    ("Filesystem state", b"clean"),
                ],
            ),
        ];
        for (what, wanted) in expected {
            for captured in outputs("e2fsprogs", what) {
                let (version, found) = (&captured.version, fields(&captured.bytes));
                assert!(!found[0].0.starts_with(b"tune2fs"), "{version}");
                assert!(
                    found.iter().all(|(title, _)| !title.is_empty()),
                    "{version}"
                );
                for (title, value) in wanted {
                    let named = found.iter().find(|(other, _)| other == title.as_bytes());
                    let named = named.map(|(_, value)| &**value);
                    assert_eq!(named, Some(*value), "{version}: {title}");
                }
            }
        }
    }

    #[test]
    fn settings_of_tune2fs() {
        let options = Tune2fsOptions {
            intervalbetweenchecks: Some(90),
            maxmountcount: Some(0),
            ..Tune2fsOptions::default()
        };
        assert_eq!(settings(&options).unwrap(), ["-c", "0", "-i", "90s"]);
        let options = Tune2fsOptions {
            user: Some(-1),
            ..Tune2fsOptions::default()
        };
        assert_eq!(
            settings(&options).unwrap_err().message(),
            "user must be >= 0"
        );
    }
}
