//! `daemon-bench`: two daemons, the same client, the same calls.
//!
//! `daemon-bench OURS STOCK [--quick]` runs both side by side in sandboxes of
//! their own (no virtual machine), takes turns, and prints every sample as
//! JSON. `cargo xtask bench` starts it and makes a table of it.

mod instance;
mod measures;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use instance::Instance;
use measures::Measure;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daemon-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let mut daemons = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"));
    let usage = "usage: daemon-bench OURS STOCK [--quick]";
    let ours = daemons.next().context(usage)?;
    let stock = daemons.next().context(usage)?;

    let mut results = starts(ours, stock, quick)?;
    let inputs = measures::Inputs::new(quick)?;
    let mut ours = Instance::start(Path::new(ours))?;
    let mut stock = Instance::start(Path::new(stock))?;
    for (name, instance) in [("our", &mut ours), ("the stock", &mut stock)] {
        measures::prepare(instance, &inputs).with_context(|| format!("{name} daemon"))?;
    }
    for measure in measures::all(quick) {
        eprintln!("  {}", measure.name);
        results.push(compare(&measure, &inputs, &mut ours, &mut stock));
    }
    println!("{}", serde_json::Value::Array(results));
    Ok(())
}

/// Start to launch flag, and memory once that has been sent.
fn starts(ours: &str, stock: &str, quick: bool) -> Result<Vec<serde_json::Value>> {
    eprintln!("  start");
    let rounds = if quick { 5 } else { 25 };
    let mut times = [Vec::new(), Vec::new()];
    let mut sizes = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (index, daemon) in [ours, stock].into_iter().enumerate() {
            let instance = Instance::start(Path::new(daemon))?;
            times[index].push(instance.started.as_secs_f64() * 1e3);
            sizes[index].push(instance.resident()? as f64 / 1024.0);
        }
    }
    Ok(vec![
        result("start to launch flag", "ms", Some(0.2), times),
        result("resident memory, idle", "MiB", Some(0.3), sizes),
    ])
}

/// Takes turns, so that what else the machine does hits both alike.
fn compare(
    measure: &Measure,
    inputs: &measures::Inputs,
    ours: &mut Instance,
    stock: &mut Instance,
) -> serde_json::Value {
    let mut samples = [Vec::new(), Vec::new()];
    // The first round warms caches up, and is not counted.
    for round in 0..=measure.rounds {
        for (index, instance) in [&mut *ours, &mut *stock].into_iter().enumerate() {
            match (measure.run)(instance, inputs) {
                Ok(value) if round > 0 => samples[index].push(value),
                Ok(_) => {}
                Err(error) => {
                    return serde_json::json!({
                        "name": measure.name,
                        "unit": measure.unit,
                        "error": format!(
                            "{} daemon: {error:#}",
                            ["our", "the stock"][index]
                        ),
                    });
                }
            }
        }
    }
    result(measure.name, measure.unit, measure.target, samples)
}

fn result(
    name: &str,
    unit: &str,
    target: Option<f64>,
    [ours, stock]: [Vec<f64>; 2],
) -> serde_json::Value {
    serde_json::json!({
        "name": name, "unit": unit, "target": target, "ours": ours, "stock": stock,
    })
}
