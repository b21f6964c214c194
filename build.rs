//! The one build script: turns `idl/` into what `OUT_DIR` holds, and checks
//! that what belongs to each IDL file is there.

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let manifest = std::env::var("CARGO_MANIFEST_DIR")?;
    let package = std::env::var("CARGO_PKG_NAME")?;
    let root = if package == "guestfsd" {
        Path::new(&manifest).to_path_buf()
    } else {
        Path::new(&manifest).join("..")
    };
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
