//! `cargo xtask VERB`: every chore of the project.
//!
//! One module per verb, with an `Args` (clap) that has a `run` method.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod appliance;
mod bench;
mod capture;
mod cargo;
mod demo;
mod docs;
mod expand;
mod facts;
mod find;
mod guestfish;
mod install;
mod kvm;
mod lock;
mod packages;
mod process;
mod status;
mod steps;
mod stub;
mod test;

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Appliance(appliance::Args),
    Bench(bench::Args),
    Capture(capture::Args),
    Demo(demo::Args),
    Docs(docs::Args),
    Expand(expand::Args),
    Facts(facts::Args),
    Install(install::Args),
    Lock(lock::Args),
    Status(status::Args),
    Stub(stub::Args),
    Test(test::Args),
}

fn main() -> ExitCode {
    process::end_when_interrupted();
    let result = match Cli::parse().verb {
        Verb::Appliance(args) => args.run(),
        Verb::Bench(args) => args.run(),
        Verb::Capture(args) => args.run(),
        Verb::Demo(args) => args.run(),
        Verb::Docs(args) => args.run(),
        Verb::Expand(args) => args.run(),
        Verb::Facts(args) => args.run(),
        Verb::Install(args) => args.run(),
        Verb::Lock(args) => args.run(),
        Verb::Status(args) => args.run(),
        Verb::Stub(args) => args.run(),
        Verb::Test(args) => args.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: xtask is only ever run from a checkout.
fn repository() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// The resolved IDL.
fn model() -> anyhow::Result<codegen::model::Model> {
    Ok(codegen::load(&repository().join("idl"))?)
}
