//! The calls between the daemon and a worker: the trait that the worker implements, its dispatch,
//! and the client that the daemon has.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::names::{camel, ident, method_ident, stub_ident};
use super::{client, doc, stubs, traits};
use crate::model::{Action, Module, ParamType};

/// The trait that a worker implements (`magic` -> `MagicWorker`).
pub(super) fn trait_ident(module: &Module) -> Ident {
    format_ident!("{}Worker", camel(&module.name))
}

pub(super) fn module(module: &Module) -> TokenStream {
    let handlers = trait_ident(module);
    let name = format_ident!("{}Client", camel(&module.name));
    let text = doc(&module.doc);
    let line = format!(
        " Served in a process of its own: `idl/worker/{}.idl`.",
        module.name
    );
    let message = format!(
        "the calls of idl/worker/{}.idl have no handlers",
        module.name
    );
    let note = format!(
        "write `impl {handlers}` in daemon/src/worker/{}.rs",
        module.name
    );
    let words = [&*line, &message, &note];
    let described = traits::handlers(&handlers, words, &text, module.actions.iter());
    let stubs = module.actions.iter().map(|action| stub(action, &handlers));
    let arms = module.actions.iter().map(|action| {
        let (number, stub) = (action.number, stub_ident(action));
        quote! { #number => #stub(worker, call) }
    });
    let methods = module.actions.iter().map(method);
    quote! {
        #described

        #(#stubs)*

        /// Takes a call to its handler in the worker, and gives back the reply.
        ///
        /// # Errors
        ///
        /// What becomes an error reply.
        pub fn dispatch<W: #handlers>(worker: &mut W, call: &mut Call<'_>) -> Result<Reply> {
            match call.procedure() {
                #(#arms,)*
                number => host::unknown(number),
            }
        }

        /// Makes the calls of a worker.
        pub struct #name<'a>(pub &'a mut dyn worker::Caller);

        #[allow(clippy::missing_errors_doc, clippy::too_many_arguments, clippy::type_complexity)]
        impl #name<'_> { #(#methods)* }
    }
}

fn stub(action: &Action, handlers: &Ident) -> TokenStream {
    let (name, method) = (stub_ident(action), method_ident(action));
    let decode = stubs::decode(action);
    let passed = action
        .params
        .iter()
        .map(|param| match param.ty {
            ParamType::Descriptor => {
                let name = &param.name;
                quote!(call.descriptor(#name)?)
            }
            _ => {
                let arg = format_ident!("arg_{}", param.name);
                quote!(#arg)
            }
        })
        .chain((!action.options.is_empty()).then(|| quote!(options)));
    let call_and_reply = match &action.result {
        None => quote! {
            worker.#method(#(#passed),*)?;
            call.reply_empty()
        },
        Some(result) => {
            let encode = stubs::encode_result(&result.ty, &quote!(&host::NoDevices));
            quote! {
                let result = worker.#method(#(#passed),*)?;
                call.reply(|out| { #encode })
            }
        }
    };
    quote! {
        fn #name<W: #handlers>(worker: &mut W, call: &mut Call<'_>) -> Result<Reply> {
            #decode
            #call_and_reply
        }
    }
}

fn method(action: &Action) -> TokenStream {
    let (name, number) = (method_ident(action), action.number);
    let text = doc(&action.doc);
    let params = client::params(action);
    let encode = client::encode(action);
    let files = action
        .params
        .iter()
        .filter(|param| param.ty == ParamType::Descriptor)
        .map(|param| ident(&param.name));
    let (result, decode) = client::result(action, &quote!(worker::finished));
    quote! {
        #text
        pub fn #name(&mut self, #(#params),*) -> Result<#result> {
            #encode
            let reply = self.0.call(#number, bits, out, &[#(#files),*])?;
            #decode
        }
    }
}
