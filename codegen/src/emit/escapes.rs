//! Rust for the security tests, and for those of streams: a call of every action
//! that has a handler, with values that are looked up by name, so that a test can
//! put a hostile one at any place. What it uses by bare name is in the test that includes it.

use anyhow::Result;
use proc_macro2::TokenStream;
use quote::quote;

use super::layout;
use super::names::{ident, method_ident, options_ident};
use crate::model::{Action, Model, OptionType, ParamType};

/// The text of the file.
///
/// # Errors
///
/// When the generated tokens are no Rust: a bug here.
pub fn escapes(model: &Model) -> Result<String> {
    let calls = model
        .modules
        .iter()
        .flat_map(|module| &module.actions)
        .filter(|action| !action.pending)
        .map(call);
    layout(quote! {
        /// Calls an action; `None` when there is none of this name with a handler.
        fn call(
            client: &mut Client<UnixStream>,
            action: &str,
            given: &Given,
            sent: &mut Received,
        ) -> Option<Result<String, ClientError>> {
            Some(match action {
                #(#calls)*
                _ => return None,
            })
        }
    })
}

fn call(action: &Action) -> TokenStream {
    let (name, method) = (&action.name, method_ident(action));
    let params = action.params.iter().map(|param| {
        let key = &param.name;
        match param.ty {
            ParamType::NullableString => quote!(Some(given.bytes(#key))),
            ParamType::Int | ParamType::Int64 => quote!(given.number(#key)),
            ParamType::Bool => quote!(given.flag(#key)),
            ParamType::FileIn => quote!(&mut given.file(#key)),
            ParamType::FileOut => quote!(sent),
            ParamType::List(_) => quote!(given.list(#key)),
            _ => quote!(given.bytes(#key)),
        }
    });
    let options = (!action.options.is_empty()).then(|| {
        let ty = options_ident(action);
        let fields = action.options.iter().map(|option| {
            let (field, key) = (ident(&option.name), &option.name);
            let value = match option.ty {
                OptionType::Bool => quote!(given.flag(#key)),
                OptionType::Int | OptionType::Int64 => quote!(given.number(#key)),
                OptionType::String => quote!(given.bytes(#key)),
                OptionType::Text => quote!(given.text(#key)),
                OptionType::StringList => quote!(given.strings(#key)),
            };
            quote!(#field: given.has(#key).then(|| #value))
        });
        quote!(&#ty { #(#fields),* })
    });
    let all = params.chain(options);
    quote! { #name => client.#method(#(#all),*).map(|result| format!("{result:?}")), }
}
