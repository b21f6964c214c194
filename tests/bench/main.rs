//! `daemon-bench`: two daemons, the same client, the same calls.
//!
//! `daemon-bench OURS STOCK [--quick] [--filter WORD]` runs both side by side in
//! sandboxes of their own (no virtual machine), takes turns, and prints every
//! sample as JSON. `cargo xtask bench` starts it and makes a table of it.

mod instance;
mod measures;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use instance::Instance;
use measures::{Inputs, Measure};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daemon-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is asked for.
#[derive(Default)]
struct Asked {
    daemons: Vec<PathBuf>,
    quick: bool,
    filter: String,
}

impl Asked {
    fn of_arguments() -> Result<Self> {
        let mut asked = Self::default();
        let mut arguments = std::env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--quick") => asked.quick = true,
                Some("--filter") => {
                    let word = arguments.next().context("--filter needs a word")?;
                    asked.filter = word.to_string_lossy().into_owned();
                }
                _ => asked.daemons.push(argument.into()),
            }
        }
        Ok(asked)
    }

    /// Rounds that are counted.
    fn rounds(&self, full: usize) -> usize {
        if self.quick { full.min(3) } else { full }
    }
}

fn run() -> Result<()> {
    let asked = Asked::of_arguments()?;
    let [ours, stock] = asked.daemons.as_slice() else {
        bail!("usage: daemon-bench OURS STOCK [--quick] [--filter WORD]");
    };
    let mut results = starts(ours, stock, &asked)?;
    let mut measures = measures::all();
    measures.retain(|measure| measure.is_meant(&asked.filter));
    if !measures.is_empty() {
        results.extend(turns(ours, stock, &measures, &asked)?);
    }
    println!("{}", serde_json::Value::Array(results));
    Ok(())
}

/// Start to launch flag, and memory once that has been sent.
fn starts(ours: &Path, stock: &Path, asked: &Asked) -> Result<Vec<serde_json::Value>> {
    const AREA: &str = "start";
    const TIME: &str = "start to launch flag";
    const SIZE: &str = "resident memory, idle";
    if ![TIME, SIZE]
        .iter()
        .any(|name| measures::is_meant(AREA, name, &asked.filter))
    {
        return Ok(Vec::new());
    }
    eprintln!("  {AREA}: {TIME}");
    let mut times = [Vec::new(), Vec::new()];
    let mut sizes = [Vec::new(), Vec::new()];
    for _ in 0..asked.rounds(25) {
        for (index, daemon) in [ours, stock].into_iter().enumerate() {
            let instance = Instance::start(daemon, 1)?;
            times[index].push(instance.started.as_secs_f64() * 1e3);
            sizes[index].push(instance.resident()? as f64 / 1024.0);
        }
    }
    Ok(vec![
        result(AREA, TIME, "ms", Some(0.2), times),
        result(AREA, SIZE, "MiB", Some(0.3), sizes),
    ])
}

/// The measures that need daemons with something on their disks.
fn turns(
    ours: &Path,
    stock: &Path,
    measures: &[Measure],
    asked: &Asked,
) -> Result<Vec<serde_json::Value>> {
    let inputs = Inputs::new(asked.quick)?;
    let mut ours = Instance::start(ours, 2)?;
    let mut stock = Instance::start(stock, 2)?;
    for (name, instance) in [("our", &mut ours), ("the stock", &mut stock)] {
        measures::prepare(instance, &inputs).with_context(|| format!("{name} daemon"))?;
    }
    let mut results = Vec::new();
    for measure in measures {
        eprintln!("  {}: {}", measure.area, measure.name);
        let rounds = asked.rounds(measure.rounds);
        let processors = sched_getaffinity(Pid::this())?;
        if measure.together {
            share(&first_of(&processors)?, &ours, &stock)?;
        }
        results.push(compare(measure, rounds, &inputs, &mut ours, &mut stock));
        share(&processors, &ours, &stock)?;
    }
    Ok(results)
}

/// Has this process and both daemons run on these processors.
fn share(processors: &CpuSet, ours: &Instance, stock: &Instance) -> Result<()> {
    sched_setaffinity(Pid::this(), processors).context("sched_setaffinity")?;
    ours.run_on(processors)?;
    stock.run_on(processors)
}

fn first_of(processors: &CpuSet) -> Result<CpuSet> {
    let first = (0..CpuSet::count())
        .find(|&processor| processors.is_set(processor) == Ok(true))
        .context("there is no processor to run on")?;
    let mut one = CpuSet::new();
    one.set(first)?;
    Ok(one)
}

/// Takes turns, so that what else the machine does hits both alike.
fn compare(
    measure: &Measure,
    rounds: usize,
    inputs: &Inputs,
    ours: &mut Instance,
    stock: &mut Instance,
) -> serde_json::Value {
    let mut samples = [Vec::new(), Vec::new()];
    // The first round warms caches up, and is not counted.
    for round in 0..=rounds {
        let mut turns = [(0, &mut *ours), (1, &mut *stock)];
        // Whoever is first may pay for what both need, such as memory.
        if round % 2 == 1 {
            turns.reverse();
        }
        for (index, instance) in turns {
            match (measure.run)(instance, inputs) {
                Ok(value) if round > 0 => samples[index].push(value),
                Ok(_) => {}
                Err(error) => {
                    let daemon = ["our", "the stock"][index];
                    return serde_json::json!({
                        "area": measure.area,
                        "name": measure.name,
                        "unit": measure.unit,
                        "error": format!("{daemon} daemon: {error:#}"),
                    });
                }
            }
        }
    }
    result(
        measure.area,
        &measure.name,
        measure.unit,
        measure.target,
        samples,
    )
}

fn result(
    area: &str,
    name: &str,
    unit: &str,
    target: Option<f64>,
    [ours, stock]: [Vec<f64>; 2],
) -> serde_json::Value {
    serde_json::json!({
        "area": area, "name": name, "unit": unit, "target": target,
        "ours": ours, "stock": stock,
    })
}
