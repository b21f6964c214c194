//! From the model to text: Rust for the `protocol` crate.
//!
//! One file per IDL file (`AREA_MODULE.rs`), and `api.rs`, which includes them
//! and has the tables over all of them.

mod cases;
mod client;
mod driver;
mod escapes;
pub mod fixtures;
mod names;
mod reference;
mod skeleton;
mod stubs;
mod tables;
mod traits;
mod types;
mod worker;
mod x;

use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Doc, Model, Module};

pub use cases::cases;
pub use driver::{driver, entries};
pub use escapes::escapes;
pub(crate) use names::camel;
pub use names::module_file;
pub use reference::reference;
pub use skeleton::skeleton;
pub use traits::{method_signature, trait_name};
pub use x::x;

/// Writes the Rust files of `model` into the folder `out`.
///
/// # Errors
///
/// When a file cannot be written.
pub fn rust(model: &Model, out: &Path) -> Result<()> {
    for module in model.modules.iter().chain(&model.workers) {
        write(out, &module_file(module), &module_text(model, module)?)?;
    }
    write(out, "api.rs", &layout(tables::api(model))?)
}

/// The Rust text of one module.
///
/// # Errors
///
/// When the generated tokens are no Rust: a bug in an emitter.
pub fn module_text(model: &Model, module: &Module) -> Result<String> {
    let types = types::module(module);
    if module.is_worker() {
        let calls = worker::module(module);
        return layout(quote! {
            #[allow(unused_imports)]
            use crate::*;
            #types
            #calls
        });
    }
    let traits = traits::module(module);
    let stubs = stubs::module(model, module);
    let client = client::module(module);
    layout(quote! {
        #[allow(unused_imports)]
        use crate::*;
        #types
        #traits
        #stubs
        #client
    })
}

fn layout(tokens: TokenStream) -> Result<String> {
    let file = syn::parse2(tokens.clone())
        .with_context(|| format!("generated code does not parse:\n{tokens}"))?;
    Ok(prettyplease::unparse(&file))
}

fn write(out: &Path, name: &str, text: &str) -> Result<()> {
    let path = out.join(name);
    // An unchanged file keeps its time, so that cargo rebuilds less.
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}

/// Doc attributes for a description.
fn doc(doc: &Doc) -> TokenStream {
    let mut lines = vec![format!(" {}", doc.summary)];
    if !doc.body.is_empty() {
        lines.push(String::new());
        lines.extend(doc.body.lines().map(|line| {
            if line.is_empty() {
                String::new()
            } else {
                format!(" {line}")
            }
        }));
    }
    // References of the IDL are to actions, which are no items of this crate.
    let lines = lines.iter().map(|line| unlink(line));
    quote! { #(#[doc = #lines])* }
}

fn unlink(line: &str) -> String {
    line.replace('[', "\\[")
        .replace(']', "\\]")
        .replace('<', "\\<")
        .replace('>', "\\>")
}
