//! What is measured.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use protocol::api::{MkfsOptions, TarInOptions, TarOutOptions};
use protocol::client::ClientError;

use crate::instance::Instance;

/// One line of the table.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Ours divided by stock, at most; for MB/s, at least.
    pub(crate) target: Option<f64>,
    pub(crate) rounds: usize,
    /// Takes one sample.
    pub(crate) run: fn(&mut Instance, &Inputs) -> Result<f64>,
}

/// What is sent, made once for both daemons.
pub(crate) struct Inputs {
    /// For transfers, in bytes.
    size: usize,
    /// An archive of [`FILES`] small files.
    archive: Vec<u8>,
    /// An archive of [`ENTRIES`] empty files.
    entries: Vec<u8>,
}

const FILES: usize = 5000;
const ENTRIES: usize = 10_000;
const SMALL: usize = 4096;

impl Inputs {
    pub(crate) fn new(quick: bool) -> Result<Self> {
        Ok(Self {
            size: if quick { 32 << 20 } else { 128 << 20 },
            archive: archive(FILES, 1024)?,
            entries: archive(ENTRIES, 0)?,
        })
    }
}

fn archive(files: usize, size: usize) -> Result<Vec<u8>> {
    let directory = tempfile::tempdir()?;
    for number in 0..files {
        let content = vec![b'a' + (number % 26) as u8; size];
        fs::write(directory.path().join(format!("file-{number:05}")), content)?;
    }
    let output = Command::new("tar")
        .arg("-C")
        .arg(directory.path())
        .args(["--sort=name", "-cf", "-", "."])
        .output()
        .context("tar")?;
    ensure!(output.status.success(), "tar: {output:?}");
    Ok(output.stdout)
}

/// Gives the daemon's disk a filesystem and the files that are read.
pub(crate) fn prepare(instance: &mut Instance, inputs: &Inputs) -> Result<()> {
    let client = &mut instance.client;
    client.part_disk("/dev/sda", "gpt").context("part_disk")?;
    client
        .mkfs("ext4", "/dev/sda1", &MkfsOptions::default())
        .context("mkfs")?;
    client.mount("/dev/sda1", "/").context("mount")?;
    client
        .internal_write("/small", &vec![b'x'; SMALL])
        .context("internal_write")?;
    client
        .upload(&mut zeroes(inputs.size), "/large")
        .context("upload")?;
    for (directory, archive) in [("/tree", &inputs.archive), ("/entries", &inputs.entries)] {
        client.mkdir(directory).context("mkdir")?;
        client
            .tar_in(&mut archive.as_slice(), directory, &TarInOptions::default())
            .context("tar_in")?;
    }
    Ok(())
}

fn zeroes(size: usize) -> std::io::Take<std::io::Repeat> {
    std::io::repeat(0).take(size as u64)
}

/// All that needs a running daemon.
pub(crate) fn all(quick: bool) -> Vec<Measure> {
    let rounds = |full: usize| if quick { 3 } else { full };
    let measure = |name, unit, target, full, run| Measure {
        name,
        unit,
        target,
        rounds: rounds(full),
        run,
    };
    vec![
        measure("ping_daemon", "us", Some(0.8), 21, |instance, _| {
            each(1000, || instance.client.ping_daemon())
        }),
        measure("statns", "us", Some(0.8), 21, |instance, _| {
            each(1000, || instance.client.statns("/small").map(drop))
        }),
        measure(
            "read 4 KiB (download)",
            "us",
            Some(0.1),
            21,
            |instance, _| {
                each(50, || {
                    let mut content = Vec::with_capacity(SMALL);
                    instance.client.download("/small", &mut content)
                })
            },
        ),
        measure(
            "write 4 KiB (internal_write)",
            "us",
            None,
            21,
            |instance, _| {
                let content = vec![b'y'; SMALL];
                each(200, || instance.client.internal_write("/written", &content))
            },
        ),
        measure("download", "MB/s", Some(1.5), 11, |instance, inputs| {
            let start = Instant::now();
            let mut sink = Counter(0);
            instance.client.download("/large", &mut sink)?;
            ensure!(sink.0 == inputs.size, "{} bytes came", sink.0);
            Ok(rate(inputs.size, start))
        }),
        measure("upload", "MB/s", Some(1.5), 11, |instance, inputs| {
            let start = Instant::now();
            instance
                .client
                .upload(&mut zeroes(inputs.size), "/uploaded")?;
            let rate = rate(inputs.size, start);
            // Giving up the old file's blocks would be part of the next sample.
            instance.client.rm_rf("/uploaded")?;
            settle(instance)?;
            Ok(rate)
        }),
        measure(
            "tar_in of 5,000 files",
            "ms",
            None,
            7,
            |instance, inputs| {
                instance.client.mkdir("/new")?;
                let start = Instant::now();
                instance.client.tar_in(
                    &mut inputs.archive.as_slice(),
                    "/new",
                    &TarInOptions::default(),
                )?;
                let time = milliseconds(start);
                instance.client.rm_rf("/new")?;
                settle(instance)?;
                Ok(time)
            },
        ),
        measure(
            "tar_out of 5,000 files",
            "ms",
            None,
            7,
            |instance, inputs| {
                let start = Instant::now();
                let mut sink = Counter(0);
                instance
                    .client
                    .tar_out("/tree", &mut sink, &TarOutOptions::default())?;
                ensure!(sink.0 >= inputs.archive.len() / 2, "{} bytes came", sink.0);
                Ok(milliseconds(start))
            },
        ),
        measure("ls of 10,000 entries", "ms", None, 11, |instance, _| {
            let start = Instant::now();
            let mut names = Vec::new();
            instance.client.ls0("/entries", &mut names)?;
            let count = names.iter().filter(|byte| **byte == 0).count();
            ensure!(count == ENTRIES, "{count} names came");
            Ok(milliseconds(start))
        }),
        measure("checksum sha256", "MB/s", None, 7, |instance, inputs| {
            let start = Instant::now();
            instance.client.checksum("sha256", "/large")?;
            Ok(rate(inputs.size, start))
        }),
        measure("list_filesystems", "ms", None, 11, |instance, _| {
            let start = Instant::now();
            let found = instance.client.list_filesystems()?;
            ensure!(found.len() == 1, "found {found:?}");
            Ok(milliseconds(start))
        }),
    ]
}

/// The time of one call, in microseconds, out of many.
fn each(count: u32, mut call: impl FnMut() -> Result<(), ClientError>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(count))
}

fn rate(bytes: usize, start: Instant) -> f64 {
    bytes as f64 / 1e6 / start.elapsed().as_secs_f64()
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Writes out what one sample left behind, so that the next does not pay.
fn settle(instance: &mut Instance) -> Result<()> {
    Ok(instance.client.sync()?)
}

/// Counts bytes, and is faster than anything that would keep them.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
