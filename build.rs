//! The one build script: turns `idl/` into what `OUT_DIR` holds, and checks
//! that what belongs to each IDL file is there.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Diagnostics are for reading, so without Debug's quotes and backtraces.
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let package = std::env::var("CARGO_PKG_NAME")?;
    if package != "guestfsd" {
        // The other packages are one folder below the root.
        root.pop();
    }
    let out = std::env::var("OUT_DIR")?;
    let (idl, out) = (root.join("idl"), Path::new(&out));
    match package.as_str() {
        // The program needs nothing of the IDL itself: `daemon` has the handlers.
        "guestfsd" => codegen::check_repository(&root),
        // Its tests call every action.
        "conformance" => codegen::compile_cases(&idl, out),
        _ => codegen::compile(&idl, out),
    }
}
