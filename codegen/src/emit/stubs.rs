//! One stub per action: feature, option bits, decode, resolve, call, reply.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::names::{feature_ident, ident, method_ident, options_ident, stub_ident};
use super::traits::{streams_out, trait_name};
use crate::model::{
    Action, ListItem, Model, Module, OptionType, ParamType, ResultItem, ResultType,
};

pub(super) fn module(model: &Model, module: &Module) -> TokenStream {
    let Some(handlers) = trait_name(module) else {
        return TokenStream::new();
    };
    let stubs = module
        .actions
        .iter()
        .filter(|action| !action.pending)
        .map(|action| stub(model, action, &handlers));
    quote! { #(#stubs)* }
}

fn stub(model: &Model, action: &Action, handlers: &proc_macro2::Ident) -> TokenStream {
    let name = stub_ident(action);
    let method = method_ident(action);
    let feature = action.feature.as_ref().map(|feature| {
        let ident = feature_ident(feature);
        let forward = has_worker(model, feature).then(|| {
            quote! {
                if let Some(reply) = daemon.forward(super::Feature::#ident, call) {
                    return reply;
                }
            }
        });
        quote! {
            call.require(daemon, super::Feature::#ident)?;
            #forward
        }
    });

    let decode = decode(action);
    let resolve = action.params.iter().filter_map(|param| {
        let arg = format_ident!("arg_{}", param.name);
        resolve_param(param.ty, &arg)
    });
    let root = action
        .params
        .iter()
        .any(|param| {
            matches!(
                param.ty,
                ParamType::Pathname | ParamType::List(ListItem::Pathname)
            )
        })
        .then(|| quote! { daemon.require_root()?; });
    let file_in = action
        .params
        .iter()
        .find(|param| param.ty == ParamType::FileIn)
        .map(|_| quote! { let mut file_in = call.file_in()?; });
    let progress = action
        .sends_progress()
        .then(|| quote! { let mut progress = call.progress(); });
    let passed = action
        .params
        .iter()
        .map(|param| match param.ty {
            ParamType::FileIn => quote!(&mut file_in),
            ParamType::FileOut => quote!(call.file_out()?),
            _ => {
                let arg = format_ident!("arg_{}", param.name);
                quote!(#arg)
            }
        })
        .chain((!action.options.is_empty()).then(|| quote!(options)))
        .chain(action.sends_progress().then(|| quote!(&mut progress)));
    let call_and_reply = if streams_out(action) {
        quote! { daemon.#method(#(#passed),*).map(Reply::from) }
    } else {
        match &action.result {
            None => quote! {
                daemon.#method(#(#passed),*)?;
                call.reply_empty()
            },
            Some(result) => {
                let encode = encode_result(&result.ty, &quote!(daemon));
                quote! {
                    let result = daemon.#method(#(#passed),*)?;
                    call.reply(|out| { #encode })
                }
            }
        }
    };
    quote! {
        pub(super) fn #name<D: Host + #handlers>(
            daemon: &mut D,
            call: &mut Call<'_>,
        ) -> Result<Reply> {
            #feature
            #decode
            #(#resolve)*
            #root
            #progress
            #file_in
            #call_and_reply
        }
    }
}

/// Takes the parameters (`arg_NAME`) and options (`options`) out of a call's body.
pub(super) fn decode(action: &Action) -> TokenStream {
    let option_count = action.options.len() as u32;
    let wire_params: Vec<_> = action
        .params
        .iter()
        .filter(|param| {
            !matches!(
                param.ty,
                ParamType::FileIn | ParamType::FileOut | ParamType::Descriptor
            )
        })
        .collect();
    let args = if wire_params.is_empty() && action.options.is_empty() {
        quote! { call.arguments(#option_count)?; }
    } else {
        quote! { let mut args = call.arguments(#option_count)?; }
    };
    let decode = wire_params.iter().map(|param| {
        let arg = format_ident!("arg_{}", param.name);
        let (name, read) = (&param.name, read_param(param.ty));
        quote! { let #arg = args.take(#name, |input| #read)?; }
    });
    let options = (!action.options.is_empty()).then(|| {
        let ty = options_ident(action);
        let fields = action.options.iter().map(|option| {
            let field = ident(&option.name);
            let (name, read) = (&option.name, read_option(option.ty));
            quote! { #field: args.option(#name, |input| #read)? }
        });
        quote! { let options = #ty { #(#fields),* }; }
    });
    quote! { #args #(#decode)* #options }
}

fn has_worker(model: &Model, name: &str) -> bool {
    model
        .modules
        .iter()
        .flat_map(|module| &module.features)
        .any(|feature| feature.name == name && feature.worker.is_some())
}

fn read_param(ty: ParamType) -> TokenStream {
    match ty {
        ParamType::NullableString => quote!(input.optional(|input| input.string())),
        ParamType::Text | ParamType::Guid => quote!(input.text()),
        ParamType::Key => quote!(input.string().map(Key::new)),
        ParamType::Buffer => quote!(input.opaque()),
        ParamType::Int => quote!(input.i32()),
        ParamType::Int64 => quote!(input.i64()),
        ParamType::Bool => quote!(input.bool()),
        ParamType::List(ListItem::Text) => quote!(input.list(|input| input.text())),
        ParamType::List(_) => quote!(input.list(|input| input.string())),
        _ => quote!(input.string()),
    }
}

fn read_option(ty: OptionType) -> TokenStream {
    match ty {
        OptionType::Bool => quote!(input.bool()),
        OptionType::Int => quote!(input.i32()),
        OptionType::Int64 => quote!(input.i64()),
        OptionType::String => quote!(input.string()),
        OptionType::Text => quote!(input.text()),
        OptionType::StringList => quote!(input.list(|input| input.string())),
    }
}

fn resolve_param(ty: ParamType, arg: &proc_macro2::Ident) -> Option<TokenStream> {
    let each = |one: TokenStream| {
        quote! {
            let #arg = #arg
                .into_iter()
                .map(|item| #one)
                .collect::<Result<Vec<_>>>()?;
        }
    };
    Some(match ty {
        ParamType::Guid => quote! { let #arg = resolve::guid(#arg)?; },
        ParamType::Pathname => quote! { let #arg = resolve::pathname(#arg)?; },
        ParamType::Device => quote! { let #arg = resolve::device(daemon, #arg)?; },
        ParamType::Mountable => quote! { let #arg = resolve::mountable(daemon, #arg)?; },
        ParamType::DeviceOrPath => quote! { let #arg = resolve::device_or_path(daemon, #arg)?; },
        ParamType::MountableOrPath => {
            quote! { let #arg = resolve::mountable_or_path(daemon, #arg)?; }
        }
        ParamType::List(ListItem::Pathname) => each(quote!(resolve::pathname(item))),
        ParamType::List(ListItem::Filename) => each(quote!(resolve::filename(item))),
        ParamType::List(ListItem::Device) => each(quote!(resolve::device(daemon, item))),
        _ => return None,
    })
}

fn encode_item(item: ResultItem, value: &TokenStream) -> TokenStream {
    match item {
        ResultItem::String => quote!(out.opaque(&#value);),
        ResultItem::Text => quote!(out.opaque(#value.as_bytes());),
        ResultItem::Device => quote!(out.opaque(daemon.device_name(&#value).as_bytes());),
        ResultItem::Mountable => {
            quote!(out.opaque(&#value.to_wire(&daemon.device_name(#value.device())));)
        }
    }
}

/// Appends `result` to `out`; `names` gives devices the names that callers know.
pub(super) fn encode_result(ty: &ResultType, names: &TokenStream) -> TokenStream {
    let result = quote!(result);
    match ty {
        ResultType::Int => quote!(out.i32(result);),
        ResultType::Int64 => quote!(out.i64(result);),
        ResultType::Bool => quote!(out.bool(result);),
        ResultType::Buffer => quote!(out.opaque(&result);),
        ResultType::Scalar(item) => encode_item(*item, &result),
        ResultType::List(item) => {
            let each = encode_item(*item, &quote!(item));
            quote! { out.len(result.len()); for item in &result { #each } }
        }
        ResultType::Map(key, value) => {
            let key = encode_item(*key, &quote!(key));
            let value = encode_item(*value, &quote!(value));
            quote! {
                out.len(result.len() * 2);
                for (key, value) in &result { #key #value }
            }
        }
        ResultType::Struct(_) | ResultType::StructList(_) => {
            quote!(result.encode(out, #names);)
        }
    }
}
