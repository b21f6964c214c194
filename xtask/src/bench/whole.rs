//! What needs the whole appliance in a virtual machine: its launch, and volumes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::guestfish::{self, Session};
use crate::install;
use crate::steps::step;
use crate::test::workshop;
use crate::{appliance, demo, kvm, process};

const AREA: &str = "appliance";
const LAUNCH: &str = "launch";
const LIST: &str = "list_filesystems of 3 partitions and 2 LVM volumes";
const TYPE: &str = "vfs_type of a volume";
/// The disk with the volumes; only what is written takes space.
const DISK: u64 = 1 << 30;

/// An appliance, and where supermin keeps what it made of it.
struct Place {
    appliance: PathBuf,
    cache: PathBuf,
}

/// All measures whose names have the word in them.
pub(super) fn measure(ours: &Path, quick: bool, filter: &str) -> Result<Vec<Value>> {
    let meant = |name: &str| format!("{AREA}/{name}").contains(filter);
    if ![LAUNCH, LIST, TYPE].into_iter().any(meant) {
        return Ok(Vec::new());
    }
    let directory = appliance::default_directory();
    appliance::make(&directory, ours)?;
    let places = [
        Place {
            cache: demo::cache(&directory),
            appliance: directory,
        },
        Place {
            appliance: install::stock_appliance().context("libguestfs0 has no appliance")?,
            cache: workshop::directory()?.join("boot-stock"),
        },
    ];
    let mut results = Vec::new();
    if meant(LAUNCH) {
        results.push(launches(&places, quick)?);
    }
    if meant(LIST) || meant(TYPE) {
        results.extend(volumes(&places, quick)?);
    }
    Ok(results)
}

fn result(name: &str, unit: &str, target: Option<f64>, [ours, stock]: [Vec<f64>; 2]) -> Value {
    json!({
        "area": AREA, "name": format!("{name}, {}", kvm::description()), "unit": unit,
        "target": target, "ours": ours, "stock": stock,
    })
}

/// From guestfish's start to an appliance that is ready, and its end.
fn launches(places: &[Place; 2], quick: bool) -> Result<Value> {
    let rounds = if quick { 2 } else { 7 };
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        let name = match round {
            0 => "launch both appliances once, so that supermin has built them".to_owned(),
            round => format!("launch both appliances ({round} of {rounds})"),
        };
        step(&name, || {
            for (place, times) in places.iter().zip(&mut times) {
                let time = launch(place)?;
                if round > 0 {
                    times.push(time.as_secs_f64());
                }
            }
            anyhow::Ok(())
        })?;
    }
    Ok(result(LAUNCH, "s", None, times))
}

fn launch(place: &Place) -> Result<Duration> {
    std::fs::create_dir_all(&place.cache)?;
    let start = Instant::now();
    process::run(
        Command::new("guestfish")
            .args(["--ro", "--format=raw", "--add", "/dev/null", "run"])
            .env("LIBGUESTFS_PATH", &place.appliance)
            .env("LIBGUESTFS_CACHEDIR", &place.cache)
            .env_remove("LIBGUESTFS_DEBUG")
            .env_remove("LIBGUESTFS_TRACE")
            .envs(kvm::environment()),
        guestfish::LAUNCH_LIMIT,
    )?;
    Ok(start.elapsed())
}

/// Both appliances with a disk of three partitions, the last of them a physical
/// volume, and two logical volumes. Guestfish's own time is part of the figures.
fn volumes(places: &[Place; 2], quick: bool) -> Result<[Value; 2]> {
    let rounds = if quick { 3 } else { 11 };
    let scratch = tempfile::tempdir()?;
    let mut sessions = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let disk = scratch.path().join(format!("disk-{index}.img"));
        File::create(&disk)?.set_len(DISK)?;
        sessions.push(step("boot an appliance and make volumes", || {
            with_volumes(place, &disk)
        })?);
    }
    let measured: [(&str, &[&str]); 2] = [
        (LIST, &["list-filesystems"]),
        (TYPE, &["vfs-type", "/dev/vg/one"]),
    ];
    let mut results = Vec::new();
    for (name, words) in measured {
        let mut times = [Vec::new(), Vec::new()];
        step(name, || {
            for round in 0..=rounds {
                for (session, times) in sessions.iter_mut().zip(&mut times) {
                    let start = Instant::now();
                    session.call(words)?;
                    if round > 0 {
                        times.push(start.elapsed().as_secs_f64() * 1e3);
                    }
                }
            }
            anyhow::Ok(())
        })?;
        results.push(result(name, "ms", Some(0.3), times));
    }
    results
        .try_into()
        .map_err(|_| anyhow::anyhow!("a measure of the volumes is missing"))
}

fn with_volumes(place: &Place, disk: &Path) -> Result<Session> {
    let mut session = Session::start(&place.appliance, &place.cache, &[disk], false)?;
    session.launch()?;
    for command in [
        "part-init /dev/sda gpt",
        "part-add /dev/sda p 2048 264191",
        "part-add /dev/sda p 264192 526335",
        "part-add /dev/sda p 526336 -2048",
        "mkfs ext4 /dev/sda1",
        "mkswap /dev/sda2",
        "pvcreate /dev/sda3",
        "vgcreate vg /dev/sda3",
        "lvcreate one vg 128",
        "lvcreate two vg 128",
        "mkfs ext4 /dev/vg/one",
        "mkfs ext2 /dev/vg/two",
    ] {
        session.call(&command.split(' ').collect::<Vec<_>>())?;
    }
    Ok(session)
}
