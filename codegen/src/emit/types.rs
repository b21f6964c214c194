//! Structures, and the structures of options.

use proc_macro2::TokenStream;
use quote::quote;

use super::doc;
use super::names::{ident, options_ident, struct_ident};
use crate::model::{Action, FieldType, Module, OptionType, Struct};

pub(super) fn module(module: &Module) -> TokenStream {
    let structs = module.structs.iter().map(structure);
    let options = module
        .actions
        .iter()
        .filter(|action| !action.options.is_empty())
        .map(options);
    quote! { #(#structs)* #(#options)* }
}

fn structure(item: &Struct) -> TokenStream {
    let name = struct_ident(&item.name);
    let text = doc(&item.doc);
    let fields = item.fields.iter().map(|field| {
        let name = ident(&field.name);
        let ty = match field.ty {
            FieldType::Int32 => quote!(i32),
            FieldType::UInt32 => quote!(u32),
            FieldType::Int64 | FieldType::Bytes => quote!(i64),
            FieldType::UInt64 => quote!(u64),
            FieldType::Uuid => quote!([u8; 32]),
            FieldType::OptPercent => quote!(f32),
            FieldType::Char => quote!(u8),
            FieldType::String | FieldType::Buffer => quote!(Vec<u8>),
            FieldType::Device => quote!(Device),
        };
        let text = if field.doc.summary.is_empty() {
            let line = format!(" `{}`", field.name);
            quote!(#[doc = #line])
        } else {
            doc(&field.doc)
        };
        quote! { #text pub #name: #ty }
    });
    let encode = item.fields.iter().map(|field| {
        let name = ident(&field.name);
        match field.ty {
            FieldType::Int32 => quote!(out.i32(self.#name);),
            FieldType::UInt32 => quote!(out.u32(self.#name);),
            FieldType::Int64 | FieldType::Bytes => quote!(out.i64(self.#name);),
            FieldType::UInt64 => quote!(out.u64(self.#name);),
            FieldType::Uuid => quote!(out.fixed(&self.#name);),
            FieldType::OptPercent => quote!(out.f32(self.#name);),
            // XDR's char is a signed char in an int.
            FieldType::Char => quote!(out.i32(i32::from(self.#name.cast_signed()));),
            FieldType::String | FieldType::Buffer => quote!(out.opaque(&self.#name);),
            FieldType::Device => quote!(out.opaque(names.device_name(&self.#name).as_bytes());),
        }
    });
    let decode = item.fields.iter().map(|field| {
        let name = ident(&field.name);
        let value = match field.ty {
            FieldType::Int32 => quote!(input.i32()?),
            FieldType::UInt32 => quote!(input.u32()?),
            FieldType::Int64 | FieldType::Bytes => quote!(input.i64()?),
            FieldType::UInt64 => quote!(input.u64()?),
            FieldType::Uuid => quote!(input.fixed()?),
            FieldType::OptPercent => quote!(input.f32()?),
            FieldType::Char => quote!(input.i32()?.to_be_bytes()[3]),
            FieldType::String => quote!(input.string()?.to_vec()),
            FieldType::Buffer => quote!(input.opaque()?.to_vec()),
            FieldType::Device => quote!(Device::new(input.text()?)),
        };
        quote!(#name: #value)
    });
    let devices = item
        .fields
        .iter()
        .any(|field| field.ty == FieldType::Device);
    let (names, plain) = if devices {
        (quote!(names), TokenStream::new())
    } else {
        (quote!(_names), quote!(impl Plain for #name {}))
    };
    quote! {
        #text
        #[derive(Debug, Clone, PartialEq)]
        pub struct #name { #(#fields),* }

        impl Structure for #name {
            fn encode<N: DeviceNames + ?Sized>(&self, out: &mut xdr::Encoder, #names: &N) {
                #(#encode)*
            }
        }

        #plain

        impl #name {
            /// Takes the structure off the front.
            ///
            /// # Errors
            ///
            /// When the bytes are no such structure.
            pub fn decode(input: &mut xdr::Decoder<'_>) -> Result<Self, xdr::Malformed> {
                Ok(Self { #(#decode),* })
            }
        }
    }
}

/// The Rust type of an option's value, with lifetime `'a`.
pub(super) fn option_type(ty: OptionType) -> TokenStream {
    match ty {
        OptionType::Bool => quote!(bool),
        OptionType::Int => quote!(i32),
        OptionType::Int64 => quote!(i64),
        OptionType::String => quote!(&'a [u8]),
        OptionType::Text => quote!(&'a str),
        OptionType::StringList => quote!(Vec<&'a [u8]>),
    }
}

/// Whether the options' structure borrows.
pub(super) fn options_borrow(action: &Action) -> bool {
    action.options.iter().any(|option| {
        matches!(
            option.ty,
            OptionType::String | OptionType::Text | OptionType::StringList
        )
    })
}

fn options(action: &Action) -> TokenStream {
    let name = options_ident(action);
    let line = format!(" Optional arguments of `{}`.", action.name);
    let fields = action.options.iter().map(|option| {
        let name = ident(&option.name);
        let ty = option_type(option.ty);
        let text = if option.doc.summary.is_empty() {
            let line = format!(" `{}`", option.name);
            quote!(#[doc = #line])
        } else {
            doc(&option.doc)
        };
        quote! { #text pub #name: Option<#ty> }
    });
    let lifetime = options_borrow(action).then(|| quote!(<'a>));
    quote! {
        #[doc = #line]
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct #name #lifetime { #(#fields),* }
    }
}
