//! What the IDL costs a build: reading, checking and emitting all of it.
//!
//! `cargo bench --bench codegen`

use std::path::Path;

fn main() {
    divan::main();
}

fn idl() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/idl"))
}

#[divan::bench]
fn load() -> usize {
    codegen::load(idl())
        .expect("the IDL is right")
        .modules
        .len()
}

#[divan::bench]
fn emit(bencher: divan::Bencher<'_, '_>) {
    let model = codegen::load(idl()).expect("the IDL is right");
    bencher.bench(|| {
        model
            .modules
            .iter()
            .map(|module| {
                codegen::emit::module_text(&model, module)
                    .expect("it is Rust")
                    .len()
            })
            .sum::<usize>()
    });
}
