//! Handlers of `idl/filesystem/ext.idl`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use protocol::api::{E2fsckOptions, ExtActions, SetE2attrsOptions, Tune2fsOptions};
use protocol::{Context, Device, Error, GuestPath, Result};

use super::labels;
use crate::command::{Command, Output};
use crate::daemon::Daemon;
use crate::guest::View;

/// e2fsck's greatest exit status that means that all is well now.
const CORRECTED: i32 = 1;

/// The titles of what the guest has chosen, with what begins the line after each.
const FREE_TEXT: [(&[u8], &[u8]); 2] = [
    (b"Filesystem volume name", b"Last mounted on: "),
    (b"Last mounted on", b"Filesystem UUID: "),
];

/// What tune2fs prints for what is not set.
const UNSET: [&[u8]; 3] = [b"<none>", b"<not available>", b"(none)"];

/// Letters that chattr(1) takes for options of its own.
const RESERVED_LETTERS: [char; 4] = ['R', 'V', 'f', 'v'];

impl ExtActions for Daemon {
    fn tune2fs_l(&mut self, device: Device) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let out = Command::new("tune2fs")
            .arg("-l")
            .operands([device.path()])
            .run()
            .context(&device)?
            .stdout;
        Ok(superblock_fields(&out))
    }

    fn tune2fs(&mut self, device: Device, options: Tune2fsOptions<'_>) -> Result<()> {
        Command::new("tune2fs")
            .args(settings(&options)?)
            .operands([device.path()])
            .run()
            .context(&device)
            .map(drop)
    }

    fn e2fsck(&mut self, device: Device, options: E2fsckOptions) -> Result<()> {
        let chosen: Vec<&str> = [
            ("-p", options.correct),
            ("-y", options.forceall),
            ("-n", options.forceno),
        ]
        .into_iter()
        .filter(|(_, wanted)| *wanted == Some(true))
        .map(|(flag, _)| flag)
        .collect();
        match chosen[..] {
            [] => check(&device, None),
            [how] => check(&device, Some(how)),
            _ => Err(Error::invalid(
                "only one of the options 'correct', 'forceall' or 'forceno' may be specified",
            )),
        }
    }

    fn e2fsck_f(&mut self, device: Device) -> Result<()> {
        check(&device, Some("-p"))
    }

    fn resize2fs(&mut self, device: Device) -> Result<()> {
        self.resize(&device, None, None)
    }

    fn resize2fs_size(&mut self, device: Device, size: i64) -> Result<()> {
        if size <= 0 || size % 1024 != 0 {
            return Err(Error::invalid(format!(
                "{size}: size must be a round number of kilobytes"
            )));
        }
        self.resize(&device, None, Some(format!("{}K", size / 1024)))
    }

    fn resize2fs_m(&mut self, device: Device) -> Result<()> {
        self.resize(&device, Some("-M"), None)
    }

    fn get_e2attrs(&mut self, file: GuestPath) -> Result<Vec<u8>> {
        let out = self.on_file(Command::new("lsattr").arg("-d"), &file)?;
        letters(&out.stdout).ok_or_else(|| unsupported(&out, &file))
    }

    fn set_e2attrs(
        &mut self,
        file: GuestPath,
        attrs: &str,
        options: SetE2attrsOptions,
    ) -> Result<()> {
        check_letters(attrs)?;
        if attrs.is_empty() {
            return Ok(());
        }
        let sign = if options.clear == Some(true) {
            '-'
        } else {
            '+'
        };
        self.on_file(Command::new("chattr").arg(format!("{sign}{attrs}")), &file)
            .map(drop)
    }

    fn get_e2generation(&mut self, file: GuestPath) -> Result<i64> {
        let out = self.on_file(Command::new("lsattr").arg("-dv"), &file)?;
        generation(&out.stdout)
            .map(i64::from)
            .ok_or_else(|| unsupported(&out, &file))
    }

    fn set_e2generation(&mut self, file: GuestPath, generation: i64) -> Result<()> {
        let generation = u32::try_from(generation)
            .map_err(|_| Error::invalid(format!("{generation}: generation must fit in 32 bits")))?;
        let command = Command::new("chattr").arg("-v").arg(generation.to_string());
        self.on_file(command, &file).map(drop)
    }

    fn set_e2label(&mut self, device: Device, label: &[u8]) -> Result<()> {
        set_label(&device, label)
    }

    fn get_e2label(&mut self, device: Device) -> Result<Vec<u8>> {
        Ok(self
            .superblocks()
            .tag(&device, "LABEL")?
            .unwrap_or_default())
    }

    fn set_e2uuid(&mut self, device: Device, uuid: &str) -> Result<()> {
        set_uuid(&device, uuid)
    }

    fn get_e2uuid(&mut self, device: Device) -> Result<String> {
        let uuid = self.superblocks().tag(&device, "UUID")?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&uuid).into_owned())
    }

    fn mklost_and_found(&mut self, mountpoint: GuestPath) -> Result<()> {
        let top = self.top(&mountpoint)?;
        // The directory that it makes can be a link by the time it fills it.
        let view = View::writable(&top).context(&mountpoint)?;
        Command::new("mklost+found")
            .cwd(&view)
            .run()
            .context(mountpoint)
            .map(drop)
    }
}

impl Daemon {
    /// Resizes a filesystem; one that is not mounted is checked before, as resize2fs wants.
    fn resize(&self, device: &Device, option: Option<&str>, size: Option<String>) -> Result<()> {
        if self.mount_of(device)?.is_none() {
            check(device, Some("-y"))?;
        }
        Command::new("resize2fs")
            .args(option)
            .operands([device.path()])
            .args(size)
            .run()
            .context(device)
            .map(drop)
    }

    /// Runs lsattr or chattr on what a path leads to. They refuse links, even those to descriptors,
    /// so that they get a name in a view of its directory.
    fn on_file(&self, command: Command, file: &GuestPath) -> Result<Output> {
        let place = self.guest.parent(&self.guest.resolve(file)?)?;
        let view = View::writable(&place.dir).context(file)?;
        command
            .cwd(&view)
            .operands([Path::new(".").join(&place.name)])
            .run()
            .context(file)
    }
}

/// Checks a filesystem; `how` answers the questions.
fn check(device: &Device, how: Option<&str>) -> Result<()> {
    let output = Command::new("e2fsck")
        .arg("-f")
        .args(how)
        .operands([device.path()])
        // It writes about problems to either.
        .fold_stderr()
        .output()
        .context(device)?;
    if output.code <= CORRECTED {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(Error::new(format!("{device}: {}", said.trim())))
}

/// Sets the label of an ext2, ext3 or ext4 filesystem.
///
/// # Errors
///
/// EINVAL if it is too long; when tune2fs fails.
pub(super) fn set_label(device: &Device, label: &[u8]) -> Result<()> {
    labels::check_ext(label)?;
    Command::new("tune2fs")
        .arg("-L")
        .arg(OsStr::from_bytes(label))
        .operands([device.path()])
        .run()
        .context(device)
        .map(drop)
}

/// Sets the UUID of an ext2, ext3 or ext4 filesystem; also `clear`, `random` and `time`.
///
/// # Errors
///
/// When tune2fs fails.
pub(super) fn set_uuid(device: &Device, uuid: &str) -> Result<()> {
    // That the filesystem has to be checked first is said on the standard output.
    let output = Command::new("tune2fs")
        .args(["-U", uuid])
        .operands([device.path()])
        .fold_stderr()
        .output()
        .context(device)?;
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(Error::new(format!("{device}: {}", said.trim())))
}

fn settings(options: &Tune2fsOptions<'_>) -> Result<Vec<OsString>> {
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
fn superblock_fields(out: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
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

/// `----i--A------e------- ./NAME`
fn letters(out: &[u8]) -> Option<Vec<u8>> {
    let mut letters = first_word(out)?.to_vec();
    letters.retain(|letter| *letter != b'-');
    letters.sort_unstable();
    Some(letters)
}

/// `123456789  ---------------------- ./NAME`
fn generation(out: &[u8]) -> Option<u32> {
    std::str::from_utf8(first_word(out)?).ok()?.parse().ok()
}

fn first_word(out: &[u8]) -> Option<&[u8]> {
    let word = out.trim_ascii_start();
    word.get(..word.iter().position(|&b| b == b' ')?)
}

/// lsattr says what is wrong and exits with 0 where a filesystem has no attributes.
fn unsupported(out: &Output, file: &GuestPath) -> Error {
    Error::not_supported(format!("{file}: {}", out.message()))
}

fn check_letters(letters: &str) -> Result<()> {
    let mut seen = Vec::new();
    for letter in letters.chars() {
        let wrong = if RESERVED_LETTERS.contains(&letter) {
            "bad"
        } else if !letter.is_ascii_alphabetic() {
            "unknown"
        } else if seen.contains(&letter) {
            "duplicate"
        } else {
            seen.push(letter);
            continue;
        };
        return Err(Error::invalid(format!("{wrong} file attribute '{letter}'")));
    }
    Ok(())
}

fn not_negative(name: &str, value: i64) -> Result<String> {
    if value < 0 {
        return Err(Error::invalid(format!("{name} cannot be negative")));
    }
    Ok(value.to_string())
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
        let fields = superblock_fields(out);
        let field = |title: &str, value: &str| (title.into(), value.into());
        assert_eq!(
            fields,
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
        for (what, fields) in expected {
            for captured in outputs("e2fsprogs", what) {
                let (version, found) = (&captured.version, superblock_fields(&captured.bytes));
                assert!(!found[0].0.starts_with(b"tune2fs"), "{version}");
                assert!(
                    found.iter().all(|(title, _)| !title.is_empty()),
                    "{version}"
                );
                for (title, value) in fields {
                    let named = found.iter().find(|(other, _)| other == title.as_bytes());
                    let named = named.map(|(_, value)| &**value);
                    assert_eq!(named, Some(*value), "{version}: {title}");
                }
            }
        }
    }

    #[test]
    fn attributes_of_all_versions() {
        for (what, expected) in [
            ("lsattr", "Aei"),
            ("lsattr-directory", "de"),
            // Its name goes on with a line that looks like the program's.
            ("lsattr-name", "ae"),
        ] {
            for captured in outputs("e2fsprogs", what) {
                let found = letters(&captured.bytes).expect("letters");
                assert_eq!(found, expected.as_bytes(), "{what}: {}", captured.version);
            }
        }
        for captured in outputs("e2fsprogs", "lsattr-generation") {
            let found = generation(&captured.bytes);
            assert_eq!(found, Some(123_456_789), "{}", captured.version);
        }
        assert_eq!((letters(b""), generation(b"")), (None, None));
    }

    #[test]
    fn attribute_letters() {
        assert!(check_letters("").is_ok() && check_letters("iA").is_ok());
        let message = |letters| check_letters(letters).unwrap_err().message().to_owned();
        assert_eq!(message("ii"), "duplicate file attribute 'i'");
        assert_eq!(message("aR"), "bad file attribute 'R'");
        assert_eq!(message("-i"), "unknown file attribute '-'");
        assert_eq!(message("\u{e9}"), "unknown file attribute '\u{e9}'");
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
            "user cannot be negative"
        );
    }
}
