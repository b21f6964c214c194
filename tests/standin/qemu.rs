//! What the library means by its qemu command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Error, Result};

use crate::disk::Spec;
use crate::launch::Launch;

/// Whether the library only asks what its qemu can do.
pub(crate) fn is_probe(args: &[OsString]) -> bool {
    channel(args).is_none()
}

/// Runs the real qemu; returns only when that fails.
pub(crate) fn become_real(args: &[OsString]) -> Error {
    let qemu = std::env::var_os("STANDIN_QEMU")
        .unwrap_or_else(|| format!("/usr/bin/qemu-system-{}", std::env::consts::ARCH).into());
    let error = Command::new(&qemu).args(args).exec();
    Error::from(error).context(PathBuf::from(qemu).display().to_string())
}

/// The launch that a qemu command line asks for.
pub(crate) fn launch(args: &[OsString]) -> Result<Launch> {
    let socket = channel(args).context("no guestfsd.sock on the command line")?;
    let channel = UnixStream::connect(&socket).with_context(|| socket.display().to_string())?;
    let cmdline = value_after(args, "-append").unwrap_or_default();
    let mut daemon_args: Vec<OsString> = Vec::new();
    for (word, arg) in [
        ("guestfs_verbose=1", "--verbose"),
        ("guestfs_network=1", "--network"),
    ] {
        if words(&cmdline).any(|found| found == word.as_bytes()) {
            daemon_args.push(arg.into());
        }
    }
    Ok(Launch {
        disks: drives(args),
        channel: channel.into(),
        cmdline,
        daemon_args,
        clean_exit_when_stopped: true,
    })
}

fn words(line: &OsStr) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&byte| byte == b' ')
}

fn value_after(args: &[OsString], option: &str) -> Option<OsString> {
    let at = args.iter().position(|arg| arg == option)?;
    args.get(at + 1).cloned()
}

/// The library's end of the channel: `-chardev socket,path=.../guestfsd.sock`.
fn channel(args: &[OsString]) -> Option<PathBuf> {
    args.iter().find_map(|arg| {
        let path = property(arg.as_bytes(), b"path")?;
        path.ends_with(b"guestfsd.sock")
            .then(|| PathBuf::from(OsString::from_vec(path)))
    })
}

/// The drives in the order in which the guest sees them, without the
/// appliance's own.
fn drives(args: &[OsString]) -> Vec<Spec> {
    let values = |option: &'static str| {
        args.windows(2)
            .filter(move |pair| pair[0] == option)
            .map(|pair| pair[1].as_bytes())
    };
    values("-drive")
        .filter_map(|drive| {
            let id = property(drive, b"id")?;
            if id == b"appliance" || property(drive, b"if").as_deref() == Some(b"pflash") {
                return None;
            }
            let file = [&b"file"[..], b"file.file.filename", b"file.filename"]
                .iter()
                .find_map(|key| property(drive, key))?;
            let device = values("-device")
                .find(|device| property(device, b"drive").as_ref() == Some(&id))
                .unwrap_or_default();
            let on = |key: &[u8]| property(drive, key).as_deref() == Some(b"on");
            Some(Spec {
                path: PathBuf::from(OsString::from_vec(file)),
                readonly: on(b"readonly") || on(b"read-only"),
                snapshot: on(b"snapshot"),
                serial: property(device, b"serial"),
                block_size: property(device, b"logical_block_size")
                    .and_then(|size| String::from_utf8(size).ok()?.parse().ok()),
            })
        })
        .collect()
}

/// The value of `key` in `KEY=VALUE,...`, where a comma inside a value is
/// doubled.
fn property(list: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = list;
    while !rest.is_empty() {
        let mut item = Vec::new();
        loop {
            match rest {
                [b',', b',', tail @ ..] => {
                    item.push(b',');
                    rest = tail;
                }
                [b',', tail @ ..] => {
                    rest = tail;
                    break;
                }
                [byte, tail @ ..] => {
                    item.push(*byte);
                    rest = tail;
                }
                [] => break,
            }
        }
        if let Some(value) = item
            .strip_prefix(key)
            .and_then(|item| item.strip_prefix(b"="))
        {
            return Some(value.to_vec());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(list: &[&str]) -> Vec<OsString> {
        list.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_doubled_comma_is_part_of_the_value() {
        assert_eq!(
            property(b"file=/a,,b,id=hd0", b"file"),
            Some(b"/a,b".to_vec())
        );
        assert_eq!(property(b"file=/a,,b,id=hd0", b"id"), Some(b"hd0".to_vec()));
        assert_eq!(property(b"socket,path=/x", b"path"), Some(b"/x".to_vec()));
        assert_eq!(property(b"id=hd0", b"file"), None);
    }

    #[test]
    fn probes_are_told_from_launches() {
        assert!(is_probe(&args(&["-display", "none", "-help"])));
        assert!(!is_probe(&args(&[
            "-chardev",
            "socket,path=/tmp/x/guestfsd.sock,id=c"
        ])));
    }

    #[test]
    fn drives_keep_their_order_and_leave_out_the_appliance() {
        let found = drives(&args(&[
            "-drive",
            "file=/one,cache=writeback,id=hd0,if=none",
            "-device",
            "scsi-hd,drive=hd0,serial=data",
            "-drive",
            "file.file.filename=/two,file.driver=qcow2,id=hd1,if=none",
            "-device",
            "scsi-hd,drive=hd1,physical_block_size=4096,logical_block_size=4096",
            "-drive",
            "file=/root,snapshot=on,id=appliance,if=none,format=raw",
        ]));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].path, PathBuf::from("/one"));
        assert_eq!(found[0].serial.as_deref(), Some(&b"data"[..]));
        assert_eq!(found[1].path, PathBuf::from("/two"));
        assert_eq!(found[1].block_size, Some(4096));
        assert!(!found[1].snapshot);
    }
}
