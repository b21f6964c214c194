//! One trait per IDL file, without default bodies: a forgotten action is a
//! compile error that shows its signature.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::doc;
use super::names::{camel, ident, method_ident, options_ident, struct_ident};
use super::types::options_borrow;
use crate::model::{Action, ListItem, Module, ParamType, ResultItem, ResultType};

/// The trait of a module, if any of its actions has a handler.
pub fn trait_name(module: &Module) -> Option<Ident> {
    module
        .actions
        .iter()
        .any(|action| !action.pending)
        .then(|| format_ident!("{}Actions", camel(&module.name)))
}

pub(super) fn module(module: &Module) -> TokenStream {
    let Some(name) = trait_name(module) else {
        return TokenStream::new();
    };
    let place = format!("{}/{}", module.area, module.name);
    let text = doc(&module.doc);
    let line = format!(" Handlers of `idl/{place}.idl`.");
    let message = format!("the actions of idl/{place}.idl have no handlers");
    let note = format!(
        "write `impl {name} for Daemon` in daemon/src/{place}.rs, and `mod {};` in the mod.rs beside \
         it; `cargo xtask stub ACTION` prints a skeleton",
        module.name
    );
    let actions = module.actions.iter().filter(|action| !action.pending);
    handlers(&name, [&line, &message, &note], &text, actions)
}

/// A trait with a method for each action. What stands in its documentation, and what the compiler
/// says if nothing implements it and how to go on, come first.
pub(super) fn handlers<'a>(
    name: &Ident,
    [line, message, note]: [&str; 3],
    text: &TokenStream,
    actions: impl Iterator<Item = &'a Action>,
) -> TokenStream {
    let methods = actions.map(|action| {
        let text = doc(&action.doc);
        let signature = method_signature(action);
        quote! { #text #signature; }
    });
    quote! {
        #text
        #[doc = ""]
        #[doc = #line]
        #[allow(clippy::missing_errors_doc, clippy::too_many_arguments, clippy::type_complexity)]
        #[diagnostic::on_unimplemented(message = #message, note = #note)]
        pub trait #name { #(#methods)* }
    }
}

/// `fn NAME(&mut self, ...) -> Result<...>` of an action's handler.
pub fn method_signature(action: &Action) -> TokenStream {
    let name = method_ident(action);
    let params = action.params.iter().map(|param| {
        let name = ident(&param.name);
        let ty = param_type(param.ty);
        quote!(#name: #ty)
    });
    let options = (!action.options.is_empty()).then(|| {
        let ty = options_ident(action);
        let lifetime = options_borrow(action).then(|| quote!(<'_>));
        quote!(options: #ty #lifetime)
    });
    let progress = action
        .sends_progress()
        .then(|| quote!(progress: &mut Progress<'_>));
    let all = params.chain(options).chain(progress);
    let result = handler_result(action);
    quote!(fn #name(&mut self, #(#all),*) -> Result<#result>)
}

fn param_type(ty: ParamType) -> TokenStream {
    match ty {
        ParamType::String | ParamType::Buffer => quote!(&[u8]),
        ParamType::NullableString => quote!(Option<&[u8]>),
        ParamType::Text | ParamType::Guid => quote!(&str),
        ParamType::Key => quote!(Key),
        ParamType::Pathname => quote!(GuestPath),
        ParamType::Device => quote!(Device),
        ParamType::Mountable => quote!(Mountable),
        ParamType::DeviceOrPath => quote!(DeviceOrPath),
        ParamType::MountableOrPath => quote!(MountableOrPath),
        ParamType::Int => quote!(i32),
        ParamType::Int64 => quote!(i64),
        ParamType::Bool => quote!(bool),
        ParamType::FileIn => quote!(&mut FileIn<'_>),
        ParamType::FileOut => quote!(FileOut<'_>),
        ParamType::Descriptor => quote!(std::os::fd::OwnedFd),
        ParamType::List(ListItem::String) => quote!(Vec<&[u8]>),
        ParamType::List(ListItem::Text) => quote!(Vec<&str>),
        ParamType::List(ListItem::Pathname) => quote!(Vec<GuestPath>),
        ParamType::List(ListItem::Filename) => quote!(Vec<Filename>),
        ParamType::List(ListItem::Device) => quote!(Vec<Device>),
    }
}

/// What the handler gives back inside `Result`.
pub(super) fn handler_result(action: &Action) -> TokenStream {
    if streams_out(action) {
        return quote!(Sent);
    }
    let Some(result) = &action.result else {
        return quote!(());
    };
    let item = |item: &ResultItem| match item {
        ResultItem::String => quote!(Vec<u8>),
        ResultItem::Text => quote!(String),
        ResultItem::Device => quote!(Device),
        ResultItem::Mountable => quote!(Mountable),
    };
    match &result.ty {
        ResultType::Int => quote!(i32),
        ResultType::Int64 => quote!(i64),
        ResultType::Bool => quote!(bool),
        ResultType::Buffer => quote!(Vec<u8>),
        ResultType::Scalar(scalar) => item(scalar),
        ResultType::List(list) => {
            let item = item(list);
            quote!(Vec<#item>)
        }
        ResultType::Map(key, value) => {
            let (key, value) = (item(key), item(value));
            quote!(Vec<(#key, #value)>)
        }
        ResultType::Struct(name) => {
            let name = struct_ident(name);
            quote!(#name)
        }
        ResultType::StructList(name) => {
            let name = struct_ident(name);
            quote!(List<#name>)
        }
    }
}

pub(super) fn streams_out(action: &Action) -> bool {
    action
        .params
        .iter()
        .any(|param| param.ty == ParamType::FileOut)
}

pub(super) fn streams_in(action: &Action) -> bool {
    action
        .params
        .iter()
        .any(|param| param.ty == ParamType::FileIn)
}
