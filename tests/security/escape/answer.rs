//! What a call let out, in a form that can be searched and compared.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use conformance::ClientError;
use protocol::api::Dirent;
use protocol::xdr::Decoder;

use super::guest;
use super::values::filtered;

/// More than this is never sent by an honest daemon here.
const ENDLESS: usize = 64 << 20;

/// A file from the daemon; fails when there seems to be no end of it.
#[derive(Debug, Default)]
pub(crate) struct Received(Vec<u8>);

impl Write for Received {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.0.len() + data.len() > ENDLESS {
            return Err(io::Error::other("there is no end of the file"));
        }
        self.0.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The result or the error, and what was sent as a file.
    Told(String, String),
    /// None came in time, or nothing that the protocol knows: the daemon is of no use any more.
    Broken(String),
}

impl Answer {
    pub(crate) fn new(action: &str, result: Result<String, ClientError>, sent: &Received) -> Self {
        let file = match action {
            "internal_readdir" => entries(&sent.0),
            _ => unpacked(&sent.0),
        };
        match result {
            Err(error @ (ClientError::Io(_) | ClientError::Protocol(_))) => {
                Self::Broken(error.to_string())
            }
            Err(ClientError::Daemon { errno, message }) => {
                Self::Told(format!("Err({errno}: {message})"), file)
            }
            Err(error) => Self::Told(format!("Err({error})"), file),
            Ok(text) => Self::Told(format!("Ok({})", readable(&text)), file),
        }
    }

    pub(crate) fn succeeded(&self) -> bool {
        matches!(self, Self::Told(text, _) if text.starts_with("Ok("))
    }

    /// Everything in it, for searching.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Told(text, file) => format!("{text} {file}"),
            Self::Broken(text) => text.clone(),
        }
    }

    /// Without what differs from call to call: numbers of inodes and devices,
    /// and times. A result that is nothing but a small number stays.
    pub(crate) fn comparable(&self, action: &str) -> String {
        let text = self.text();
        let inner = text
            .strip_prefix("Ok(")
            .and_then(|rest| rest.strip_suffix(") "));
        if inner
            .is_some_and(|inner| inner.len() < 5 && inner.bytes().all(|byte| byte.is_ascii_digit()))
        {
            return text;
        }
        let mut masked = String::with_capacity(text.len());
        let random = matches!(action, "mktemp" | "mkdtemp").then(|| random_name(&text));
        let text = without_uuids(&random.unwrap_or(text));
        for c in text.chars() {
            match c {
                '0'..='9' if masked.ends_with('#') => {}
                '0'..='9' => masked.push('#'),
                // Columns are as wide as the longest number.
                ' ' if masked.ends_with(' ') => {}
                c => masked.push(c),
            }
        }
        masked
    }
}

/// Two filesystems have different UUIDs.
fn without_uuids(text: &str) -> String {
    let parts = text.split_inclusive(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
    parts
        .map(|part| {
            let length = part
                .trim_end_matches(|c: char| !c.is_ascii_hexdigit())
                .len();
            if length == 36 && part.matches('-').count() == 4 {
                &part[length..]
            } else {
                part
            }
        })
        .collect()
}

/// The text without the name at the end of its only path, most of which the
/// daemon made up.
fn random_name(text: &str) -> String {
    let (above, name) = text.rsplit_once('/').unwrap_or((text, ""));
    let after = name.find(':').and_then(|colon| name.get(colon..));
    format!("{above}/{}", after.unwrap_or_default())
}

/// Bytes that `Debug` shows as numbers, as text.
fn readable(debug: &str) -> String {
    let mut out = String::with_capacity(debug.len());
    let mut rest = debug;
    while let Some(start) = rest.find('[') {
        out.push_str(&rest[..=start]);
        rest = &rest[start + 1..];
        let Some(end) = rest.find(|c: char| !(c.is_ascii_digit() || ", ".contains(c))) else {
            break;
        };
        let bytes: Result<Vec<u8>, _> = rest[..end].split(", ").map(str::parse).collect();
        if let Ok(bytes) = bytes
            && rest[end..].starts_with(']')
        {
            out.push_str(&String::from_utf8_lossy(&bytes));
            rest = &rest[end..];
        }
    }
    out + rest
}

/// The content of a file that the daemon sent, without its packing.
fn unpacked(file: &[u8]) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match file {
        [0x1f, 0x8b, ..] => text(&filtered("gzip", &["-dc"], file)),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => text(&filtered("xz", &["-dc"], file)),
        [b'h', b's', b'q', b's', ..] => squashfs(file),
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => cpio(file),
        _ => text(file),
    }
}

/// The entries of a directory, which are sent as the protocol's structures.
fn entries(file: &[u8]) -> String {
    let mut input = Decoder::new(file);
    let mut out = String::new();
    while let Ok(entry) = Dirent::decode(&mut input) {
        let name = String::from_utf8_lossy(&entry.name);
        out.push_str(&format!(
            "{} {} {name}\n",
            entry.ino,
            char::from(entry.ftyp)
        ));
    }
    out + &String::from_utf8_lossy(input.rest())
}

/// Names, attributes and contents of a squashfs image.
fn squashfs(image: &[u8]) -> String {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (from, to) = (scratch.path().join("image"), scratch.path().join("tree"));
    std::fs::write(&from, image).expect("write");
    let mut command = Command::new("unsquashfs");
    let status = command.arg("-q").arg("-n").arg("-d").arg(&to).arg(&from);
    let output = status.output().expect("unsquashfs");
    assert!(output.status.success(), "unsquashfs: {output:?}");
    shown(&to)
}

fn shown(tree: &Path) -> String {
    guest::states(tree)
        .into_iter()
        .map(|(name, state)| format!("{}: {}\n", name.display(), state.text))
        .collect()
}

/// The same for a cpio archive of the new kind, whose headers have the numbers
/// of inodes and of devices, in hexadecimal digits.
fn cpio(mut rest: &[u8]) -> String {
    let mut out = String::new();
    while rest.len() >= 110 && rest.starts_with(b"0707") {
        let field = |at: usize| {
            let digits = std::str::from_utf8(&rest[at..at + 8]).expect("digits");
            usize::from_str_radix(digits, 16).expect("a number")
        };
        let (size, name) = (field(54), field(94));
        let data = (110 + name).next_multiple_of(4);
        let end = (data + size).next_multiple_of(4);
        out.push_str(&format!("mode {:o} owner {} ", field(14), field(22)));
        out.push_str(&String::from_utf8_lossy(&rest[110..data + size]));
        out.push('\n');
        rest = rest.get(end..).unwrap_or_default();
    }
    out
}

#[test]
fn lists_of_bytes_are_read() {
    assert_eq!(readable("S { a: [67, 65], b: [] }"), "S { a: [CA], b: [] }");
    assert_eq!(readable("[300, 1]"), "[300, 1]");
    assert_eq!(readable("[[67], [65]"), "[[C], [A]");
}
