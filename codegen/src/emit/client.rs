//! A method of the typed client for every action, pending ones included.

use proc_macro2::TokenStream;
use quote::quote;

use super::doc;
use super::names::{ident, method_ident, options_ident, struct_ident};
use super::types::options_borrow;
use crate::model::{Action, Module, OptionType, ParamType, ResultItem, ResultType};

pub(super) fn module(module: &Module) -> TokenStream {
    let methods = module.actions.iter().map(method);
    quote! {
        #[cfg(feature = "client")]
        #[allow(clippy::missing_errors_doc, clippy::too_many_arguments, clippy::type_complexity)]
        impl<S: std::io::Read + std::io::Write> client::Client<S> {
            #(#methods)*
        }
    }
}

fn method(action: &Action) -> TokenStream {
    let name = method_ident(action);
    let text = doc(&action.doc);
    let number = action.number;
    let all = params(action);
    let encode = encode(action);
    let stream = |ty: ParamType| {
        action
            .params
            .iter()
            .find(|param| param.ty == ty)
            .map_or_else(
                || quote!(None),
                |param| {
                    let name = ident(&param.name);
                    quote!(Some(#name))
                },
            )
    };
    let (file_in, file_out) = (stream(ParamType::FileIn), stream(ParamType::FileOut));
    let (result, decode) = result(action, &quote!(client::finished));
    quote! {
        #text
        pub fn #name(&mut self, #(#all),*) -> Result<#result, client::ClientError> {
            #encode
            let reply = self.call(#number, bits, out, #file_in, #file_out)?;
            #decode
        }
    }
}

/// The parameters of a client's method.
pub(super) fn params(action: &Action) -> Vec<TokenStream> {
    let params = action.params.iter().map(|param| {
        let name = ident(&param.name);
        let ty = match param.ty {
            ParamType::NullableString => quote!(Option<&[u8]>),
            ParamType::Int => quote!(i32),
            ParamType::Int64 => quote!(i64),
            ParamType::Bool => quote!(bool),
            ParamType::FileIn => quote!(&mut dyn std::io::Read),
            ParamType::FileOut => quote!(&mut dyn std::io::Write),
            ParamType::Descriptor => quote!(std::os::fd::BorrowedFd<'_>),
            ParamType::List(_) => quote!(&[impl AsRef<[u8]>]),
            _ => quote!(&(impl AsRef<[u8]> + ?Sized)),
        };
        quote!(#name: #ty)
    });
    let options = (!action.options.is_empty()).then(|| {
        let ty = options_ident(action);
        let lifetime = options_borrow(action).then(|| quote!(<'_>));
        quote!(options: &#ty #lifetime)
    });
    params.chain(options).collect()
}

/// The body of a call as `out`, and which options are set as `bits`.
pub(super) fn encode(action: &Action) -> TokenStream {
    let encode = action.params.iter().map(|param| {
        let name = ident(&param.name);
        match param.ty {
            ParamType::FileIn | ParamType::FileOut | ParamType::Descriptor => TokenStream::new(),
            ParamType::NullableString => quote! {
                out.bool(#name.is_some());
                if let Some(#name) = #name { out.opaque(#name); }
            },
            ParamType::Int => quote!(out.i32(#name);),
            ParamType::Int64 => quote!(out.i64(#name);),
            ParamType::Bool => quote!(out.bool(#name);),
            ParamType::List(_) => quote! {
                out.len(#name.len());
                for item in #name { out.opaque(item.as_ref()); }
            },
            _ => quote!(out.opaque(#name.as_ref());),
        }
    });
    // Options that are not set still have their place on the wire.
    let encode_options = action.options.iter().enumerate().map(|(bit, option)| {
        let name = ident(&option.name);
        let value = match option.ty {
            OptionType::Bool => quote!(out.bool(options.#name.unwrap_or_default());),
            OptionType::Int => quote!(out.i32(options.#name.unwrap_or_default());),
            OptionType::Int64 => quote!(out.i64(options.#name.unwrap_or_default());),
            OptionType::String => quote!(out.opaque(options.#name.unwrap_or_default());),
            OptionType::Text => {
                quote!(out.opaque(options.#name.unwrap_or_default().as_bytes());)
            }
            OptionType::StringList => quote! {
                let list = options.#name.as_deref().unwrap_or_default();
                out.len(list.len());
                for item in list { out.opaque(item); }
            },
        };
        quote! {
            if options.#name.is_some() { bits |= 1 << #bit; }
            #value
        }
    });
    let bits = if action.options.is_empty() {
        quote!(let bits = 0u64;)
    } else {
        quote!(let mut bits = 0u64;)
    };
    let out = if action.options.is_empty()
        && action.params.iter().all(|param| {
            matches!(
                param.ty,
                ParamType::FileIn | ParamType::FileOut | ParamType::Descriptor
            )
        }) {
        quote!(let out = xdr::Encoder::new();)
    } else {
        quote!(let mut out = xdr::Encoder::new();)
    };
    quote! { #out #(#encode)* #bits #(#encode_options)* }
}

/// The type of the result, and how it is read from `reply`.
pub(super) fn result(action: &Action, finished: &TokenStream) -> (TokenStream, TokenStream) {
    let Some(result) = &action.result else {
        return (quote!(()), quote!(#finished(&xdr::Decoder::new(&reply))));
    };
    let (ty, read) = match &result.ty {
        ResultType::Int => (quote!(i32), quote!(input.i32()?)),
        ResultType::Int64 => (quote!(i64), quote!(input.i64()?)),
        ResultType::Bool => (quote!(bool), quote!(input.bool()?)),
        ResultType::Buffer => (quote!(Vec<u8>), quote!(input.opaque()?.to_vec())),
        ResultType::Scalar(scalar) => {
            let (ty, read) = item(*scalar);
            (ty, quote!(#read?))
        }
        ResultType::List(list) => {
            let (ty, read) = item(*list);
            (quote!(Vec<#ty>), quote!(input.list(|input| #read)?))
        }
        ResultType::Map(key, value) => {
            let (key, read_key) = item(*key);
            let (value, read_value) = item(*value);
            (
                quote!(Vec<(#key, #value)>),
                quote! {{
                    let count = input.u32()?;
                    if count % 2 != 0 {
                        return Err(xdr::Malformed::OddMap.into());
                    }
                    let mut pairs = Vec::new();
                    for _ in 0..count / 2 {
                        pairs.push((#read_key?, #read_value?));
                    }
                    pairs
                }},
            )
        }
        ResultType::Struct(name) => {
            let name = struct_ident(name);
            (quote!(#name), quote!(#name::decode(&mut input)?))
        }
        ResultType::StructList(name) => {
            let name = struct_ident(name);
            (quote!(Vec<#name>), quote!(input.list(#name::decode)?))
        }
    };
    (
        ty,
        quote! {
            let mut input = xdr::Decoder::new(&reply);
            let value = #read;
            #finished(&input)?;
            Ok(value)
        },
    )
}

fn item(item: ResultItem) -> (TokenStream, TokenStream) {
    match item {
        ResultItem::String => (quote!(Vec<u8>), quote!(input.string().map(<[u8]>::to_vec))),
        ResultItem::Text | ResultItem::Device | ResultItem::Mountable => {
            (quote!(String), quote!(input.text().map(str::to_owned)))
        }
    }
}
