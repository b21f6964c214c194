//! Rust for the wire tests: a call of every action through the client, a
//! handler for every action that has one, and how structures are made of and
//! turned into samples. What it uses by bare name is in the test that includes it.

use anyhow::Result;
use proc_macro2::TokenStream;
use quote::quote;

use super::names::{ident, method_ident, options_ident, struct_ident};
use super::traits::{streams_out, trait_name};
use super::{layout, method_signature};
use crate::model::{Action, FieldType, Model, Module, OptionType, ParamType, Struct};

/// The text of the file.
///
/// # Errors
///
/// When the generated tokens are no Rust: a bug here.
pub fn cases(model: &Model) -> Result<String> {
    let structs = model
        .modules
        .iter()
        .flat_map(|module| &module.structs)
        .map(structure);
    let calls = model
        .modules
        .iter()
        .flat_map(|module| &module.actions)
        .map(call);
    let handlers = model.modules.iter().filter_map(handlers);
    layout(quote! {
        #(#structs)*

        fn call(client: &mut Client<Canned>, fixture: &Fixture) -> Result<String, ClientError> {
            match fixture.action.as_str() {
                #(#calls)*
                other => panic!("no call of {other}"),
            }
        }

        #(#handlers)*
    })
}

fn structure(item: &Struct) -> TokenStream {
    let name = struct_ident(&item.name);
    let show = item.fields.iter().map(|field| {
        let field_name = ident(&field.name);
        match field.ty {
            FieldType::Char => quote!(self.#field_name.to_string()),
            _ => quote!(self.#field_name.show()),
        }
    });
    let sample = item.fields.iter().map(|field| {
        let (field_name, key) = (ident(&field.name), &field.name);
        match field.ty {
            FieldType::Char => quote!(#field_name: character(member(value, #key))),
            _ => quote!(#field_name: Sample::sample(member(value, #key))),
        }
    });
    quote! {
        impl Show for #name {
            fn show(&self) -> String {
                format!("{{{}}}", [#(#show),*].join(","))
            }
        }
        impl Sample for #name {
            fn sample(value: &Value) -> Self {
                Self { #(#sample),* }
            }
        }
    }
}

fn call(action: &Action) -> TokenStream {
    let (name, method) = (&action.name, method_ident(action));
    let params = action.params.iter().map(|param| {
        let key = &param.name;
        let value = quote!(param(fixture, #key));
        match param.ty {
            ParamType::NullableString => quote!(optional(#value)),
            ParamType::Int | ParamType::Int64 | ParamType::Bool => quote!(Sample::sample(#value)),
            ParamType::FileIn => quote!(&mut std::io::empty()),
            ParamType::FileOut => quote!(&mut std::io::sink()),
            ParamType::List(_) => quote!(&strings(#value)),
            _ => quote!(bytes(#value)),
        }
    });
    let options = (!action.options.is_empty()).then(|| {
        let ty = options_ident(action);
        let fields = action.options.iter().enumerate().map(|(bit, option)| {
            let field = ident(&option.name);
            let value = match option.ty {
                OptionType::Bool | OptionType::Int | OptionType::Int64 => quote!(Sample::sample),
                OptionType::String => quote!(bytes),
                OptionType::Text => quote!(text),
                OptionType::StringList => quote!(strings),
            };
            quote!(#field: option(fixture, #bit).map(#value))
        });
        quote!(&#ty { #(#fields),* })
    });
    let all = params.chain(options);
    quote! { #name => client.#method(#(#all),*).map(|result| result.show()), }
}

fn handlers(module: &Module) -> Option<TokenStream> {
    let name = trait_name(module)?;
    let methods = module
        .actions
        .iter()
        .filter(|action| !action.pending)
        .map(handler);
    Some(quote! { impl #name for Handler { #(#methods)* } })
}

fn handler(action: &Action) -> TokenStream {
    let signature = method_signature(action);
    let name = &action.name;
    let mut file = None;
    let params = action.params.iter().filter_map(|param| {
        let value = ident(&param.name);
        match param.ty {
            ParamType::FileIn => {
                file = Some(quote!(while #value.next_block()?.is_some() {}));
                None
            }
            ParamType::FileOut => None,
            _ => Some(quote!(#value.show())),
        }
    });
    let params: Vec<_> = params.collect();
    let options = action.options.iter().map(|option| {
        let field = ident(&option.name);
        quote!(options.#field.show())
    });
    let progress = action.sends_progress().then(|| quote!(let _ = progress;));
    let result = if streams_out(action) {
        let file = action
            .params
            .iter()
            .find(|param| param.ty == ParamType::FileOut)
            .map(|param| ident(&param.name));
        quote!(#file.start()?.finish())
    } else {
        quote!(self.result())
    };
    quote! {
        #signature {
            #progress
            self.called(#name, &[#(#params,)* #(#options),*]);
            #file
            #result
        }
    }
}
