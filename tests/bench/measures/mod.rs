//! What is measured, by area, with how fast ours has to be.

mod blocks;
mod calls;
mod files;
mod inputs;
mod kept;
mod transfer;

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use protocol::client::{Client, ClientError};

use crate::instance::{Channel, Instance};
pub(crate) use inputs::{Inputs, prepare};

/// One line of the table.
pub(crate) struct Measure {
    pub(crate) area: &'static str,
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// Ours divided by stock, at most; for MB/s, at least.
    pub(crate) target: Option<f64>,
    pub(crate) rounds: usize,
    /// Daemons and client share a processor. How long it takes to wake a process on another
    /// one would otherwise be most of the time, and the scheduler's affair.
    pub(crate) together: bool,
    /// Takes one sample.
    pub(crate) run: Box<Sample>,
}

type Sample = dyn Fn(&mut Instance, &Inputs) -> Result<f64>;
type Called = Result<(), ClientError>;

/// All that needs a running daemon.
pub(crate) fn all() -> Vec<Measure> {
    let mut all = calls::measures();
    all.extend(transfer::measures());
    all.extend(files::measures());
    all.extend(kept::measures());
    all.extend(blocks::measures());
    all
}

impl Measure {
    fn new(
        area: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        run: impl Fn(&mut Instance, &Inputs) -> Result<f64> + 'static,
    ) -> Self {
        Self {
            area,
            name: name.into(),
            unit,
            target: None,
            rounds: 11,
            together: false,
            run: Box::new(run),
        }
    }

    /// The time of one call in microseconds, of `count` calls per sample.
    fn call(
        area: &'static str,
        name: &'static str,
        count: u32,
        call: impl Fn(&mut Client<Channel>) -> Called + 'static,
    ) -> Self {
        Self::new(area, name, "us", move |instance, _| {
            let start = Instant::now();
            for _ in 0..count {
                call(&mut instance.client)?;
            }
            Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(count))
        })
    }

    fn target(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }

    fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    fn together(mut self) -> Self {
        self.together = true;
        self
    }

    /// Whether someone who asks for `word` means this one.
    pub(crate) fn is_meant(&self, word: &str) -> bool {
        is_meant(self.area, &self.name, word)
    }
}

/// Whether `word` is part of a measure's area and name.
pub(crate) fn is_meant(area: &str, name: &str, word: &str) -> bool {
    format!("{area}/{name}").contains(word)
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
#[derive(Default)]
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
