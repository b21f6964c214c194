//! `cargo xtask test`: every test, in lanes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::install::{self, Purpose};
use crate::{appliance, kvm};

mod cargo;
mod differential;
mod normal;
mod release;
mod script;
mod spelling;
pub(crate) mod workshop;

use differential::Place;

/// Run the tests, all lanes or some
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which lanes; all when none is named
    #[arg(value_enum)]
    lanes: Vec<Lane>,
    /// Only tests and scripts whose name contains this
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    #[command(flatten)]
    packages: install::Packages,
    /// Record what the stock daemon prints as what the scripts expect
    #[arg(long)]
    record: bool,
    /// Test this daemon instead of building one
    #[arg(long, value_name = "FILE", env = "GUESTFSD_BIN")]
    daemon: Option<PathBuf>,
}

/// A way of testing.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lane {
    /// The crates' own tests
    Unit,
    /// The daemon without a virtual machine, through the generated client
    Direct,
    /// guestfish scripts without a virtual machine, against recorded output
    Differential,
    /// A real appliance, with unmodified clients and the generated one
    Appliance,
}

/// What came out.
#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    /// By name.
    failed: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.failed.extend(other.failed);
    }

    fn count(&self) -> usize {
        self.passed + self.skipped + self.failed.len()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let lanes = match &self.lanes[..] {
            [] if self.record => &[Lane::Differential],
            [] => Lane::value_variants(),
            lanes => lanes,
        };
        let purposes: Vec<Purpose> = lanes.iter().map(|lane| lane.purpose()).collect();
        self.packages.ensure(&purposes)?;
        let daemon = match &self.daemon {
            Some(daemon) => {
                let found = daemon.canonicalize();
                Some(found.with_context(|| daemon.display().to_string())?)
            }
            None if self.record || *lanes == [Lane::Unit] => None,
            None => Some(appliance::build_daemon()?),
        };
        let mut total = Tally::default();
        for lane in lanes {
            println!("== {} ==", lane.name());
            let tally = match (&daemon, self.record) {
                (_, true) => self.record(*lane)?,
                (Some(daemon), false) => self.lane(*lane, daemon)?,
                (None, false) => self.unit()?,
            };
            total.add(tally);
        }
        ensure!(
            total.count() > 0,
            "no test or script has '{}' in its name",
            self.filter
        );
        for name in &total.failed {
            println!("failed: {name}");
        }
        let skipped = match total.skipped {
            0 => String::new(),
            count => format!(", {count} skipped"),
        };
        println!(
            "{} passed, {} failed{skipped}",
            total.passed,
            total.failed.len()
        );
        match total.failed.len() {
            0 => Ok(()),
            // The closing line says it all.
            _ => std::process::exit(1),
        }
    }

    fn unit(&self) -> Result<Tally> {
        let run = |selection: &[&str]| cargo::run(selection, &self.filter, None, &[], HOUR);
        let mut tally = run(&["--workspace", "--exclude", "conformance"])?;
        // Of the tests of the wire, those that need no daemon.
        let wire = ["--test", "rpcgen", "--test", "wire"];
        tally.add(run(&[&["--package", "conformance"], &wire[..]].concat())?);
        Ok(tally)
    }

    fn lane(&self, lane: Lane, daemon: &std::path::Path) -> Result<Tally> {
        let tests = |target, environment: &[(&str, &str)]| {
            let selection = ["--package", "conformance", "--test", target];
            cargo::run(&selection, &self.filter, Some(daemon), environment, HOUR)
        };
        match lane {
            Lane::Unit => self.unit(),
            Lane::Direct => {
                // One test is of that; without it, it is skipped.
                if let Err(error) = workshop::stock_daemon() {
                    println!("no stock daemon: {error:#}");
                }
                let selection = [
                    "--package",
                    "conformance",
                    "--lib",
                    "--bins",
                    "--test",
                    "conformance",
                    "--test",
                    "security",
                ];
                cargo::run(&selection, &self.filter, Some(daemon), &[], HOUR)
            }
            Lane::Differential => {
                let place = Place::standin(Some(daemon))?;
                differential::compare(&differential::scripts(&self.filter, false)?, &place)
            }
            Lane::Appliance => {
                println!("virtual machines run with {}", kvm::description());
                let directory = appliance::default_directory();
                appliance::make(&directory, daemon)?;
                let directory = directory.canonicalize()?;
                let mut environment = kvm::environment();
                let path = directory.to_string_lossy().into_owned();
                environment.push(("LIBGUESTFS_PATH", &path));
                let cache = crate::demo::cache(&directory);
                std::fs::create_dir_all(&cache)?;
                let cache_path = cache.to_string_lossy().into_owned();
                environment.push(("LIBGUESTFS_CACHEDIR", &cache_path));
                let mut tally = tests("appliance", &environment)?;
                let place = Place::Appliance {
                    appliance: Some(directory.clone()),
                    cache,
                };
                let scripts = differential::scripts(&self.filter, true)?;
                tally.add(differential::compare(&scripts, &place)?);
                Ok(tally)
            }
        }
    }

    fn record(&self, lane: Lane) -> Result<Tally> {
        match lane {
            Lane::Differential => {
                let place = Place::standin(None)?;
                differential::record(&differential::scripts(&self.filter, false)?, &place)
            }
            Lane::Appliance => {
                let cache = workshop::directory()?.join("boot-stock");
                let place = Place::Appliance {
                    appliance: None,
                    cache,
                };
                differential::record(&differential::scripts(&self.filter, true)?, &place)
            }
            Lane::Unit | Lane::Direct => bail!("there is nothing to record in this lane"),
        }
    }
}

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Direct => "direct",
            Self::Differential => "differential",
            Self::Appliance => "appliance",
        }
    }

    fn purpose(self) -> Purpose {
        match self {
            Self::Unit => Purpose::Unit,
            Self::Direct => Purpose::Direct,
            // Without virtual machines nothing of the appliance is needed.
            Self::Differential => Purpose::Differential,
            Self::Appliance => Purpose::Machines,
        }
    }
}
