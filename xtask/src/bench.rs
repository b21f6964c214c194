//! `cargo xtask bench`: our daemon and the stock one, in one run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::install::{self, Purpose};
use crate::steps::step;
use crate::test::workshop;
use crate::{appliance, cargo, kvm, process};

mod table;
mod whole;

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
    /// Only what has this word in its area and name, such as `files/` or `tar_in`
    #[arg(
        long,
        value_name = "WORD",
        default_value = "",
        hide_default_value = true
    )]
    filter: String,
    /// Leave out what needs the whole appliance, which takes the longest
    #[arg(long)]
    no_launch: bool,
    #[command(flatten)]
    packages: install::Packages,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        self.packages.ensure(&[Purpose::Bench])?;
        let ours = appliance::build_daemon()?;
        let stock = workshop::stock_daemon()?;
        let bench = step("build the benchmark", build)?;
        let mut results = self.sandboxes(&bench, &ours, &stock)?;
        if !self.no_launch {
            results.extend(whole::measure(&ours, self.quick, &self.filter)?);
        }
        if results.is_empty() {
            bail!("no measure has '{}' in its area and name", self.filter);
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

    /// Everything that needs no virtual machine.
    fn sandboxes(&self, bench: &Path, ours: &Path, stock: &Path) -> Result<Vec<Value>> {
        eprintln!("Both daemons take turns:");
        let mut command = Command::new(bench);
        command.arg(ours).arg(stock);
        command.arg("--filter").arg(&self.filter);
        if self.quick {
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
}

fn build() -> Result<PathBuf> {
    let arguments = ["--release", "--package", "conformance", "--bins"];
    cargo::build(&arguments, "release/daemon-bench")
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
