//! `cargo xtask bench`: our daemon and the stock one, in one run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::install::{self, Purpose};
use crate::steps::step;
use crate::test::workshop;
use crate::{appliance, demo, guestfish, kvm, process, repository};

mod table;

/// All measures, on a slow machine.
const LIMIT: Duration = Duration::from_secs(1800);

/// Compare our daemon's speed and size with the stock one's
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the figures to this file, too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer rounds: the figures are rougher
    #[arg(long)]
    quick: bool,
    /// Leave the launch of the appliance out, which takes the longest
    #[arg(long)]
    no_launch: bool,
    /// Do not install missing packages, only name them
    #[arg(long)]
    no_install: bool,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        install::ensure(&[Purpose::Bench], !self.no_install)?;
        let ours = step("build the daemon", appliance::build_daemon)?;
        let stock = workshop::stock_daemon()?;
        let bench = step("build the benchmark", build)?;
        let mut results = measure(&bench, &ours, &stock, self.quick)?;
        if !self.no_launch {
            results.push(launches(&ours, self.quick)?);
        }
        let report = json!({
            "machine": machine(),
            "quick": self.quick,
            "measures": table::summarise(results),
        });
        print!("{}", table::render(&report));
        if let Some(file) = &self.json {
            let text = serde_json::to_string_pretty(&report)? + "\n";
            std::fs::write(file, text)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let failed = table::errors(&report);
        if !failed.is_empty() {
            bail!("could not be measured: {}", failed.join(", "));
        }
        Ok(())
    }
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    process::run(
        Command::new(cargo)
            .current_dir(repository())
            .args(["build", "--quiet", "--release"])
            .args(["--package", "conformance", "--bins"]),
        LIMIT,
    )
    .context("the benchmark does not build")?;
    Ok(appliance::target().join("release/daemon-bench"))
}

/// Everything that needs no virtual machine.
fn measure(bench: &Path, ours: &Path, stock: &Path, quick: bool) -> Result<Vec<Value>> {
    eprintln!("Both daemons take turns:");
    let mut command = Command::new(bench);
    command.arg(ours).arg(stock);
    if quick {
        command.arg("--quick");
    }
    // Its progress goes to the terminal, its samples come here.
    command.stderr(Stdio::inherit());
    let finished = process::output_only(&mut command, LIMIT)?;
    if !finished.status.success() {
        bail!("the benchmark failed");
    }
    Ok(serde_json::from_slice(&finished.stdout)?)
}

/// From guestfish's start to an appliance that is ready, and its end.
fn launches(ours: &Path, quick: bool) -> Result<Value> {
    let directory = appliance::default_directory();
    appliance::make(&directory, ours)?;
    let stock = install::stock_appliance().context("libguestfs0 has no appliance")?;
    let places = [
        (directory.clone(), demo::cache(&directory)),
        (stock, workshop::directory()?.join("boot-stock")),
    ];
    let rounds = if quick { 2 } else { 7 };
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        let name = match round {
            0 => "launch both appliances once, so that supermin has built them".to_owned(),
            round => format!("launch both appliances ({round} of {rounds})"),
        };
        step(&name, || {
            for (index, (directory, cache)) in places.iter().enumerate() {
                let time = launch(directory, cache)?;
                if round > 0 {
                    times[index].push(time.as_secs_f64());
                }
            }
            anyhow::Ok(())
        })?;
    }
    let [ours, stock] = times;
    Ok(json!({
        "name": format!("launch of the appliance, {}", kvm::description()),
        "unit": "s", "target": null, "ours": ours, "stock": stock,
    }))
}

fn launch(directory: &Path, cache: &Path) -> Result<Duration> {
    std::fs::create_dir_all(cache)?;
    let start = Instant::now();
    process::run(
        Command::new("guestfish")
            .args(["--ro", "--format=raw", "--add", "/dev/null", "run"])
            .env("LIBGUESTFS_PATH", directory)
            .env("LIBGUESTFS_CACHEDIR", cache)
            .env_remove("LIBGUESTFS_DEBUG")
            .env_remove("LIBGUESTFS_TRACE")
            .envs(kvm::environment()),
        guestfish::LAUNCH_LIMIT,
    )?;
    Ok(start.elapsed())
}

fn machine() -> Value {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|name| name.trim_start_matches(['\t', ' ', ':']).to_owned());
    json!({
        "processor": processor,
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").split(' ').next(),
        "virtual_machines": kvm::description(),
    })
}
