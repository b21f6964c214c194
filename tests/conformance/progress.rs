//! What calls say of how far they have come. The daemon is told to say it at once
//! and every time, so that no call has to be slow.

use std::collections::BTreeSet;
use std::path::Path;

use conformance::{ClientError, Direct, DiskSpec};
use protocol::api::{ACTIONS, CopyFileToFileOptions, MkfsOptions};
use protocol::wire::ProgressMessage;

/// The size of `/data`: what the kernel copies at a time is less.
const DATA: i32 = 40 << 20;

/// The size of `/dev/sdb` and `/dev/sdc`.
const DEVICE: u64 = 48 << 20;

/// What a call says.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// How much is done, of this total.
    Measured(u64),
    /// How much is done, of a total that the filesystem knows.
    Somehow,
    /// The total alone: what it does is done in one step.
    Step(u64),
    /// That it goes on: 0 of 1, and then the end.
    Pulses,
}

struct Row {
    action: &'static str,
    said: Said,
    call: fn(&mut Direct) -> Result<(), ClientError>,
}

const fn row(
    action: &'static str,
    said: Said,
    call: fn(&mut Direct) -> Result<(), ClientError>,
) -> Row {
    Row { action, said, call }
}

/// A call of every action that sends progress.
const ROWS: &[Row] = &[
    row("checksum", Said::Measured(DATA as u64), |d| {
        d.checksum("crc", "/data").map(drop)
    }),
    row("checksum_device", Said::Measured(DEVICE), |d| {
        d.checksum_device("crc", "/dev/sdb").map(drop)
    }),
    row("copy_device_to_device", Said::Measured(DEVICE), |d| {
        let options = protocol::api::CopyDeviceToDeviceOptions {
            size: Some(DEVICE as i64),
            ..Default::default()
        };
        d.copy_device_to_device("/dev/sdb", "/dev/sdc", &options)
    }),
    row("copy_device_to_device", Said::Pulses, |d| {
        d.copy_device_to_device("/dev/sdb", "/dev/sdc", &Default::default())
    }),
    row("copy_device_to_file", Said::Measured(20 << 20), |d| {
        let options = protocol::api::CopyDeviceToFileOptions {
            size: Some(20 << 20),
            ..Default::default()
        };
        d.copy_device_to_file("/dev/sdb", "/of_device", &options)
    }),
    row("copy_device_to_file", Said::Pulses, |d| {
        d.copy_device_to_file("/dev/sdb", "/of_device", &Default::default())
    }),
    row("copy_file_to_device", Said::Measured(DATA as u64), |d| {
        let options = protocol::api::CopyFileToDeviceOptions {
            size: Some(i64::from(DATA)),
            ..Default::default()
        };
        d.copy_file_to_device("/data", "/dev/sdc", &options)
    }),
    row("copy_file_to_device", Said::Pulses, |d| {
        d.copy_file_to_device("/data", "/dev/sdc", &Default::default())
    }),
    row("copy_file_to_file", Said::Measured(DATA as u64), |d| {
        let options = CopyFileToFileOptions {
            size: Some(i64::from(DATA)),
            ..Default::default()
        };
        d.copy_file_to_file("/data", "/copy", &options)
    }),
    row("copy_file_to_file", Said::Pulses, |d| {
        d.copy_file_to_file("/data", "/copy", &Default::default())
    }),
    row("copy_size", Said::Measured(DATA as u64), |d| {
        d.copy_size("/data", "/copy", i64::from(DATA))
    }),
    row("cp", Said::Pulses, |d| d.cp("/data", "/copy")),
    row("cp_a", Said::Pulses, |d| d.cp_a("/tree", "/tree-a")),
    row("cp_r", Said::Pulses, |d| d.cp_r("/tree", "/tree-r")),
    row("debug", Said::Measured(1_000_000), |d| {
        d.debug("progress", &["1", "250000"]).map(drop)
    }),
    row("download", Said::Measured(DATA as u64), |d| {
        d.download("/data", &mut std::io::sink())
    }),
    row("download", Said::Measured(DEVICE), |d| {
        d.download("/dev/sdb", &mut std::io::sink())
    }),
    row("download_offset", Said::Measured(1 << 20), |d| {
        d.download_offset("/data", &mut std::io::sink(), 4096, 1 << 20)
    }),
    row("du", Said::Pulses, |d| d.du("/").map(drop)),
    row("fill", Said::Measured(DATA as u64), |d| {
        d.fill(97, DATA, "/filled")
    }),
    row("fill_pattern", Said::Measured(DATA as u64), |d| {
        d.fill_pattern("pattern", DATA, "/filled")
    }),
    // Within a filesystem nothing is copied.
    row("mv", Said::Pulses, |d| {
        d.cp_a("/tree", "/moving")?;
        d.mv("/moving", "/other/moved")
    }),
    row("ntfscat_i", Said::Pulses, |d| {
        d.ntfscat_i("/dev/sdd", 2, &mut std::io::sink())
    }),
    row("upload", Said::Measured(UPLOAD as u64), |d| {
        d.progress_hint = UPLOAD as u64;
        d.upload(&mut vec![1; UPLOAD].as_slice(), "/upload")
    }),
    // The library was wrong, which must not be seen.
    row("upload", Said::Measured(UPLOAD as u64 / 2), |d| {
        d.progress_hint = UPLOAD as u64 / 2;
        d.upload(&mut vec![1; UPLOAD].as_slice(), "/upload")
    }),
    row("upload_offset", Said::Measured(UPLOAD as u64), |d| {
        d.progress_hint = UPLOAD as u64;
        d.upload_offset(&mut vec![1; UPLOAD].as_slice(), "/upload", 4096)
    }),
    row("zero", Said::Step(128 << 10), |d| d.zero("/dev/sdb")),
    row("zero_device", Said::Measured(DEVICE), |d| {
        d.zero_device("/dev/sdb")
    }),
    row("zero_free_space", Said::Somehow, |d| {
        d.zero_free_space("/other")
    }),
];

/// How much is uploaded: more than the daemon reads at a time.
const UPLOAD: usize = 2 << 20;

/// A daemon that does not wait with its messages, and what the calls need.
fn eager() -> Direct {
    let disks = [
        DiskSpec::Formatted("ext4", 256 << 20),
        DiskSpec::Blank(DEVICE),
        DiskSpec::Blank(DEVICE),
        DiskSpec::Blank(64 << 20),
        DiskSpec::Formatted("ext4", 32 << 20),
    ];
    let variables = [("GUESTFSD_PROGRESS_MILLISECONDS", "0")];
    let mut direct = Direct::with_environment(&disks, &[], &variables);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir("/other").expect("mkdir");
    direct.mount("/dev/sde", "/other").expect("mount");
    direct.fill(97, DATA, "/data").expect("fill");
    direct.mkdir("/tree").expect("mkdir");
    direct.internal_write("/tree/file", b"x").expect("write");
    direct
        .mkfs("ntfs", "/dev/sdd", &MkfsOptions::default())
        .expect("mkfs");
    direct
}

/// What was said in the last call, after a check that it was said of that.
fn said(direct: &Direct, action: &str) -> Vec<(u64, u64)> {
    let info = ACTIONS.iter().find(|info| info.name == action);
    let number = info.expect("an action").number;
    let serials: BTreeSet<u32> = direct
        .progress
        .iter()
        .map(|message| message.serial)
        .collect();
    assert!(serials.len() <= 1, "{action}: {serials:?}");
    let pair = |message: &ProgressMessage| {
        assert_eq!(message.procedure, number, "{action}");
        (message.position, message.total)
    };
    direct.progress.iter().map(pair).collect()
}

fn check(row: &Row, messages: &[(u64, u64)]) {
    let what = row.action;
    let total = match row.said {
        Said::Measured(total) | Said::Step(total) => Some(total),
        Said::Pulses => Some(1),
        Said::Somehow => None,
    };
    let &(last, of) = messages
        .last()
        .unwrap_or_else(|| panic!("{what} says nothing"));
    assert_eq!(last, of, "{what} does not come to its end");
    assert!(
        messages
            .iter()
            .all(|message| message.1 == total.unwrap_or(of)),
        "{what}: {messages:?}"
    );
    assert!(
        messages.is_sorted() && messages.iter().filter(|message| message.0 == of).count() == 1,
        "{what}: {messages:?}"
    );
    match row.said {
        Said::Step(_) => assert_eq!(messages.len(), 1, "{what}: {messages:?}"),
        Said::Pulses => assert_eq!(messages.first(), Some(&(0, 1)), "{what}"),
        Said::Measured(_) | Said::Somehow => {
            assert!(messages.len() > 1, "{what} does not say how it goes on");
        }
    }
}

#[test]
fn every_action_that_reports_progress_comes_to_its_end() {
    let mut direct = eager();
    for row in ROWS {
        (row.call)(&mut direct).unwrap_or_else(|error| panic!("{}: {error}", row.action));
        check(row, &said(&direct, row.action));
    }
}

#[test]
fn every_action_that_reports_progress_has_a_row() {
    let idl = Path::new(env!("CARGO_MANIFEST_DIR")).join("../idl");
    let model = codegen::load(&idl).expect("IDL");
    let actions = model.modules.iter().flat_map(|module| &module.actions);
    let send: BTreeSet<&str> = actions
        .filter(|action| action.sends_progress() && !action.pending)
        .map(|action| action.name.as_str())
        .collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.action).collect();
    assert_eq!(rows, send);
}

#[test]
fn what_fails_does_not_come_to_its_end() {
    let mut direct = eager();
    let options = CopyFileToFileOptions {
        size: Some(i64::from(DATA) + 1),
        ..Default::default()
    };
    direct
        .copy_file_to_file("/data", "/copy", &options)
        .expect_err("too short");
    let measured = said(&direct, "copy_file_to_file");
    let total = DATA as u64 + 1;
    assert!(
        measured.iter().all(|&(at, of)| at < of && of == total),
        "{measured:?}"
    );
    assert!(!measured.is_empty());
    direct.cp("/data", "/other/copy").expect_err("no space");
    let pulses = said(&direct, "cp");
    assert!(
        pulses.iter().all(|&message| message == (0, 1)),
        "{pulses:?}"
    );
    assert!(!pulses.is_empty());
}

#[test]
fn a_call_that_says_no_size_is_not_measured() {
    let mut direct = eager();
    direct
        .upload(&mut vec![1; UPLOAD].as_slice(), "/upload")
        .expect("upload");
    assert_eq!(said(&direct, "upload"), []);
}
