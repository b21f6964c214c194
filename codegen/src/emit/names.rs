//! Names in the generated code.

use proc_macro2::{Ident, Span};
use quote::format_ident;

use crate::model::{Action, Module};

/// A name of the IDL as an identifier; raw where it is a keyword (`r#unsafe`).
pub(super) fn ident(name: &str) -> Ident {
    syn::parse_str(name).unwrap_or_else(|_| Ident::new_raw(name, Span::call_site()))
}

/// `xfs_info` -> `XfsInfo`
pub(crate) fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(letters).collect()
            })
        })
        .collect()
}

/// The handler's and the client's method for an action: its name, in lower case as Rust has it
/// (`mkswap_L` -> `mkswap_l`).
pub(super) fn method_ident(action: &Action) -> Ident {
    ident(&action.name.to_lowercase())
}

/// The file that a module's code goes into.
pub fn module_file(module: &Module) -> String {
    format!("{}.rs", module_ident(module))
}

pub(super) fn module_ident(module: &Module) -> Ident {
    format_ident!("{}_{}", module.area, module.name)
}

pub(super) fn struct_ident(name: &str) -> Ident {
    format_ident!("{}", camel(name))
}

pub(super) fn options_ident(action: &Action) -> Ident {
    format_ident!("{}Options", camel(&action.name))
}

pub(super) fn stub_ident(action: &Action) -> Ident {
    format_ident!("call_{}", action.name.to_lowercase())
}

pub(super) fn feature_ident(name: &str) -> Ident {
    format_ident!("{}", camel(name))
}
