//! What is over all modules: features, actions, dispatch.

use proc_macro2::TokenStream;
use quote::quote;

use super::doc;
use super::names::{feature_ident, module_file, module_ident, stub_ident};
use super::traits::{streams_in, streams_out, trait_name};
use crate::model::{Model, Module, ParamType, Probe};

pub(super) fn api(model: &Model) -> TokenStream {
    let modules = model.modules.iter().map(|module| {
        let (name, text) = (module_ident(module), included(module));
        quote! {
            #text
            // A module of pending actions alone may have nothing to export.
            #[allow(unused_imports, unreachable_pub)]
            pub use #name::*;
        }
    });
    let features = features(model);
    let actions = actions(model);
    let dispatch = dispatch(model);
    let workers = model.workers.iter().map(included);
    quote! { #(#modules)* #(#workers)* #features #actions #dispatch }
}

/// A module whose content is in a file of its own.
fn included(module: &Module) -> TokenStream {
    let name = module_ident(module);
    let file = format!("/{}", module_file(module));
    let text = doc(&module.doc);
    quote! {
        #text
        // Whether a value is a reference differs from action to action.
        #[allow(clippy::needless_borrow, clippy::redundant_closure)]
        pub mod #name {
            include!(concat!(env!("OUT_DIR"), #file));
        }
    }
}

fn features(model: &Model) -> TokenStream {
    let all: Vec<_> = model
        .modules
        .iter()
        .flat_map(|module| &module.features)
        .collect();
    let variants = all.iter().map(|feature| {
        let name = feature_ident(&feature.name);
        let text = doc(&feature.doc);
        quote! { #text #name }
    });
    let names = all.iter().map(|feature| feature_ident(&feature.name));
    let infos = all.iter().map(|feature| {
        let name = &feature.name;
        let members: Vec<_> = model
            .modules
            .iter()
            .flat_map(|module| &module.actions)
            .filter(|action| action.feature.as_ref() == Some(name))
            .collect();
        let pending = members.iter().any(|action| action.pending);
        let members = members.iter().map(|action| &action.name);
        let worker = match &feature.worker {
            Some(worker) => quote!(Some(#worker)),
            None => quote!(None),
        };
        let probes = feature.probes.iter().map(|probe| match probe {
            Probe::Always => quote!(crate::Probe::Always),
            Probe::Program(name) => quote!(crate::Probe::Program(#name)),
            Probe::KernelFilesystem(name) => quote!(crate::Probe::KernelFilesystem(#name)),
            Probe::Path(path) => quote!(crate::Probe::Path(#path)),
            Probe::Library(name) => quote!(crate::Probe::Library(#name)),
        });
        quote! {
            crate::FeatureInfo {
                name: #name,
                probes: &[#(#probes),*],
                worker: #worker,
                pending: #pending,
                actions: &[#(#members),*],
            }
        }
    });
    let count = all.len();
    quote! {
        /// The feature groups.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Feature { #(#variants),* }

        static FEATURES: [crate::FeatureInfo; #count] = [#(#infos),*];

        impl Feature {
            /// All of them, in the order of the IDL.
            pub const ALL: [Self; #count] = [#(Self::#names),*];

            /// The facts of this feature.
            pub fn info(self) -> &'static crate::FeatureInfo {
                &FEATURES[self as usize]
            }

            /// The feature that clients call `name`.
            pub fn from_name(name: &[u8]) -> Option<Self> {
                Self::ALL
                    .into_iter()
                    .find(|feature| feature.info().name.as_bytes() == name)
            }
        }
    }
}

fn actions(model: &Model) -> TokenStream {
    let mut all: Vec<_> = model
        .modules
        .iter()
        .flat_map(|module| &module.actions)
        .collect();
    all.sort_by_key(|action| action.number);
    let count = all.len();
    let infos = all.iter().map(|action| {
        let (number, name, pending) = (action.number, &action.name, action.pending);
        let (file_in, file_out) = (streams_in(action), streams_out(action));
        let secret = action.params.iter().any(|param| param.ty == ParamType::Key);
        quote! {
            crate::ActionInfo {
                number: #number,
                name: #name,
                file_in: #file_in,
                file_out: #file_out,
                secret: #secret,
                pending: #pending,
            }
        }
    });
    quote! {
        /// Every action, by number.
        pub static ACTIONS: [crate::ActionInfo; #count] = [#(#infos),*];

        /// The action with a procedure number.
        pub fn action(number: u32) -> Option<&'static crate::ActionInfo> {
            ACTIONS
                .binary_search_by_key(&number, |action| action.number)
                .ok()
                .map(|at| &ACTIONS[at])
        }
    }
}

fn dispatch(model: &Model) -> TokenStream {
    let bounds: Vec<_> = model.modules.iter().filter_map(trait_name).collect();
    let arms = model.modules.iter().flat_map(|module| {
        let module_name = module_ident(module);
        module
            .actions
            .iter()
            .filter(|action| !action.pending)
            .map(move |action| {
                let number = action.number;
                let stub = stub_ident(action);
                quote! { #number => #module_name::#stub(daemon, call) }
            })
    });
    quote! {
        /// Every trait that has handlers. Who implements all says so, and is told of each that is
        /// missing.
        pub trait Actions: #(#bounds +)* Sized {}

        /// Takes a call to its handler and gives back the reply.
        ///
        /// # Errors
        ///
        /// What becomes an error reply.
        pub fn dispatch<D: crate::Host + Actions>(
            daemon: &mut D,
            call: &mut crate::Call<'_>,
        ) -> crate::Result<crate::Reply> {
            // Used by stubs only, of which there may be none.
            let _ = &daemon;
            match call.procedure() {
                #(#arms,)*
                number => match action(number) {
                    Some(info) => crate::host::pending(info),
                    None => crate::host::unknown(number),
                },
            }
        }
    }
}
