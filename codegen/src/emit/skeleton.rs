//! What `cargo xtask stub` prints: where a handler begins.

use anyhow::{Context, Result};
use quote::{format_ident, quote};

use super::{doc, method_signature};
use crate::model::{Action, Module};

/// A handler file for `action` of `module`, or only its method if the module has one already.
///
/// # Errors
///
/// When the generated tokens are no Rust: a bug in an emitter.
pub fn skeleton(module: &Module, action: &Action, whole_file: bool) -> Result<String> {
    // The trait exists once an action is no longer pending, which is what the reader is about to make true.
    let name = format_ident!("{}Actions", super::names::camel(&module.name));
    let signature = method_signature(action);
    let missing = format!("write the handler of {}", action.name);
    let options = (!action.options.is_empty()).then(|| super::names::options_ident(action));
    let file = quote! {
        use protocol::api::{#name, #options};
        use protocol::*;

        use crate::Daemon;

        impl #name for Daemon {
            #signature { todo!(#missing) }
        }
    };
    let file: syn::File = syn::parse2(file).context("the skeleton does not parse")?;
    let text = prettyplease::unparse(&file)
        .replace("use crate::Daemon;", "\nuse crate::Daemon;")
        .replace("impl ", "\nimpl ");
    if whole_file {
        let header = doc(&module.doc);
        let header: syn::File =
            syn::parse2(quote!(#header struct Place;)).context("the description does not parse")?;
        let header = prettyplease::unparse(&header)
            .replace("///", "//!")
            .replace("struct Place;\n", "");
        return Ok(format!("{header}\n{text}"));
    }
    // From the method's first line to its last, without the impl around it.
    let mut lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("impl "))
        .skip(1)
        .collect();
    lines.pop();
    Ok(lines.join("\n") + "\n")
}
