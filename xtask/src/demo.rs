//! `cargo xtask demo`: an unmodified guestfish works through our daemon.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::guestfish::{Entry, Session};
use crate::install::{self, Purpose};
use crate::steps::step;
use crate::{appliance, kvm};

mod sample;
mod tour;
mod tree;

/// Longer outputs are cut in the transcript.
const OUTPUT_LINES: usize = 12;

/// Show an unmodified guestfish at work through this daemon
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A disk image of yours to look around in; it is not written to
    image: Option<PathBuf>,
    #[command(flatten)]
    daemon: appliance::Daemon,
    #[command(flatten)]
    packages: install::Packages,
}

impl Args {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let image = self.image.as_deref().map(readable).transpose()?;
        self.packages.ensure(&[Purpose::Demo])?;
        let daemon = self.daemon.place()?;
        let directory = appliance::default_directory();
        step("make the appliance", || {
            appliance::make(&directory, &daemon)
        })?;
        step("find out how virtual machines run here", || {
            anyhow::Ok(kvm::usable())
        })?;
        let entries = match &image {
            Some(image) => tour::run(&directory, image)?,
            None => sample::run(&directory)?,
        };
        print(&entries);
        println!(
            "{} guestfish commands in one boot, with {}; {:.0} s in all.",
            entries.len(),
            kvm::description(),
            start.elapsed().as_secs_f64()
        );
        if image.is_none() {
            println!("To look around in an image of your own: cargo xtask demo IMAGE");
        }
        Ok(())
    }
}

/// supermin's copy of the appliance, for demo and bench.
pub(crate) fn cache(directory: &Path) -> PathBuf {
    directory.join("cache")
}

fn readable(image: &Path) -> Result<PathBuf> {
    let path = std::fs::canonicalize(image)
        .with_context(|| format!("cannot find the image {}", image.display()))?;
    if path.is_dir() {
        bail!("{} is a directory, not a disk image", path.display());
    }
    std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(path)
}

fn boot(session: &mut Session) -> Result<()> {
    let name = "boot the appliance (the first time, supermin collects its files)";
    step(name, || session.launch())
}

fn print(entries: &[Entry]) {
    println!("\nWhat was said to guestfish, and what it answered:\n");
    for entry in entries {
        println!(
            "  ><fs> {}   ({:.2} s)",
            entry.command,
            entry.time.as_secs_f64()
        );
        let lines: Vec<&str> = entry.output.lines().collect();
        for line in lines.iter().take(OUTPUT_LINES) {
            println!("        {line}");
        }
        if let Some(more) = lines
            .len()
            .checked_sub(OUTPUT_LINES)
            .filter(|more| *more > 0)
        {
            println!("        ... ({more} more)");
        }
    }
    println!();
}
