//! The worker that runs libmagic: `idl/worker/magic.idl`.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::sys::stat::{Mode, fstat};
use protocol::api::worker_magic::MagicWorker;
use protocol::{Context, Result};

use super::libmagic::{Cookie, Flags};

/// How much of a file counts, in bytes: libmagic's own limit.
const LOOKED_AT: u64 = 7 << 20;

/// How descriptions of text begin that name nothing but its encoding.
const TEXT: [&str; 6] = [
    "ASCII text",
    "Unicode text",
    "ISO-8859 text",
    "Non-ISO extended-ASCII text",
    "International EBCDIC text",
    "EBCDIC text",
];

/// Text too, but what finds it knows nothing of separators.
const UTF_32: &[u8] = b"Unicode text, UTF-32";

/// libmagic, with its database.
pub(super) struct Magic {
    cookie: Cookie,
}

impl Magic {
    /// Loads the library and the database.
    ///
    /// # Errors
    ///
    /// When one of them is missing.
    pub(super) fn load() -> Result<Self> {
        Ok(Self {
            cookie: Cookie::load()?,
        })
    }
}

impl MagicWorker for Magic {
    fn describe(&mut self, file: OwnedFd, decompress: bool) -> Result<Vec<u8>> {
        let flags = if decompress {
            Flags::Decompress
        } else {
            Flags::Plain
        };
        let text = self.cookie.describe_file(&file, flags)?;
        with_bits(&file, text)
    }

    fn describe_inside(&mut self, file: OwnedFd, content: OwnedFd) -> Result<Vec<u8>> {
        let mut text = self.cookie.describe_bytes(&beginning(&content)?)?;
        text.extend(b" (");
        text.extend(self.cookie.describe_bytes(&beginning(&file)?)?);
        text.extend(b")");
        with_bits(&file, text)
    }
}

/// Puts the special bits of a file's mode before its description, as the `file` program does; the
/// library does it only for a file that it opens itself.
fn with_bits(file: &OwnedFd, text: Vec<u8>) -> Result<Vec<u8>> {
    let mode = Mode::from_bits_truncate(fstat(file).context("fstat")?.st_mode);
    let words: Vec<&str> = [
        (Mode::S_ISUID, "setuid"),
        (Mode::S_ISGID, "setgid"),
        (Mode::S_ISVTX, "sticky"),
    ]
    .into_iter()
    .filter(|&(bit, _)| mode.contains(bit))
    .map(|(_, word)| word)
    .collect();
    if words.is_empty() {
        return Ok(text);
    }
    // What follows is separated from other words in the way of the part that found it.
    let separator = if text == b"empty" {
        ", "
    } else if TEXT.iter().any(|name| text.starts_with(name.as_bytes())) && !text.starts_with(UTF_32)
    {
        " , "
    } else {
        " "
    };
    Ok([words.join(", ").as_bytes(), separator.as_bytes(), &text].concat())
}

fn beginning(file: &OwnedFd) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(file.try_clone().context("dup")?)
        .take(LOOKED_AT)
        .read_to_end(&mut bytes)
        .context("read")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;

    /// What the program prints.
    fn program(path: &Path) -> String {
        let output = Command::new("file")
            .args(["-z", "-S", "-b"])
            .arg(path)
            .env("LC_ALL", "C")
            .output()
            .expect("file");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    }

    fn library(magic: &mut Magic, path: &Path) -> String {
        let file = OwnedFd::from(File::open(path).expect("a file"));
        let text = magic.describe(file, true).expect("a description");
        String::from_utf8_lossy(&text).trim_end().to_owned()
    }

    /// Files of this system, of as many kinds as there are.
    fn samples() -> Vec<PathBuf> {
        [
            "/bin",
            "/sbin",
            "/etc",
            "/lib",
            "/usr/lib/file",
            "/usr/share/misc",
            "/usr/share/file",
            "/usr/share/doc/bash",
            "/usr/share/man/man1",
            "/usr/share/zoneinfo",
            "/usr/share/perl5",
            "/usr/lib/python3/dist-packages",
            "/var/lib/dpkg/info",
            "/usr/lib/git-core",
        ]
        .into_iter()
        .flat_map(|directory| {
            let mut paths: Vec<PathBuf> = fs::read_dir(directory)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    path.symlink_metadata()
                        .is_ok_and(|meta| meta.is_file() && meta.len() < 8 << 20)
                })
                .collect();
            paths.sort();
            paths.into_iter().take(25)
        })
        .collect()
    }

    #[test]
    fn descriptions_are_those_of_the_program() {
        let mut magic = Magic::load().expect("libmagic");
        let directory = tempfile::tempdir().expect("tempdir");
        let mut paths = samples();
        let own = |name: &str, content: &[u8], mode: u32| {
            let path = directory.path().join(name);
            fs::write(&path, content).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            path
        };
        for (name, content, mode) in [
            ("empty", &b""[..], 0o644),
            ("setuid", b"#!/bin/sh\n", 0o4755),
            ("all", b"text\n", 0o7755),
            ("setgid-empty", b"", 0o2755),
            ("utf32", b"\xff\xfe\0\0a\0\0\0\n\0\0\0", 0o2644),
            ("utf16", b"\xff\xfea\0\n\0", 0o2644),
            ("bytes", b"\x80\x81\xfe\x00\x01", 0o644),
            ("utf8", "\u{e9}t\u{e9}\n".as_bytes(), 0o644),
            ("escaped", b"\x1b[1mbold\x1b[0m\n", 0o644),
            ("json", b"{\"a\": [1, 2]}", 0o644),
            ("broken.gz", b"\x1f\x8bjunkjunkjunk", 0o644),
        ] {
            paths.push(own(name, content, mode));
        }
        let plain = own("plain", b"hello, hello, hello\n", 0o644);
        for program in ["gzip", "bzip2", "xz"] {
            let output = Command::new(program)
                .arg("-c")
                .arg(&plain)
                .output()
                .expect("compressor");
            paths.push(own(program, &output.stdout, 0o644));
        }
        assert!(paths.len() > 100, "{}", paths.len());
        for path in paths {
            assert_eq!(
                library(&mut magic, &path),
                program(&path),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn content_is_described_before_the_file() {
        let mut magic = Magic::load().expect("libmagic");
        let with = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().expect("tempfile");
            std::io::Write::write_all(&mut file, bytes).expect("write");
            std::io::Seek::rewind(&mut file).expect("rewind");
            OwnedFd::from(file)
        };
        let text = magic
            .describe_inside(with(b"\x28\xb5\x2f\xfd\0\0\0\0"), with(b"some text\n"))
            .expect("a description");
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(
            text.starts_with("ASCII text (Zstandard compressed data"),
            "{text}"
        );
    }
}
