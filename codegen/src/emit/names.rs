//! Names in the generated code.

use proc_macro2::Ident;
use quote::format_ident;

use crate::model::{Action, Module};

/// `xfs_info` -> `XfsInfo`
pub(super) fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(letters).collect()
            })
        })
        .collect()
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
    format_ident!("call_{}", action.name)
}

pub(super) fn feature_ident(name: &str) -> Ident {
    format_ident!("{}", camel(name))
}
