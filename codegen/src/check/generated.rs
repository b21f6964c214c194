//! Names that would meet others in what is generated: Rust, and C by way of rpcgen.

use std::collections::HashMap;

use super::{ActionItem, Idl, place};
use crate::ast::{Field, Name};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::emit::camel;

/// Types that generated code uses by their bare names.
const TYPES: &[&str] = &[
    "ActionInfo",
    "Actions",
    "Arguments",
    "Call",
    "Device",
    "DeviceNames",
    "DeviceOrPath",
    "Error",
    "Feature",
    "FeatureInfo",
    "FileIn",
    "FileOut",
    "Filename",
    "GuestPath",
    "Host",
    "Key",
    "List",
    "Mountable",
    "MountableOrPath",
    "Option",
    "Plain",
    "Probe",
    "Progress",
    "Reply",
    "Result",
    "Sent",
    "String",
    "Structure",
    "Vec",
];

/// Methods that the client has besides those for actions.
const CLIENT: &[&str] = &[
    "call",
    "into_stream",
    "launch",
    "message",
    "receive_file",
    "send_chunk",
    "stream",
];

/// Variables of the client's methods, which take parameters under their own names.
const VARIABLES: &[&str] = &["bits", "out"];

/// Words of C and of rpcgen.
const KEYWORDS: &[&str] = &[
    "auto",
    "bool",
    "break",
    "case",
    "char",
    "const",
    "continue",
    "default",
    "do",
    "double",
    "else",
    "enum",
    "extern",
    "float",
    "for",
    "goto",
    "hyper",
    "if",
    "inline",
    "int",
    "long",
    "opaque",
    "program",
    "quadruple",
    "register",
    "restrict",
    "return",
    "short",
    "signed",
    "sizeof",
    "static",
    "string",
    "struct",
    "switch",
    "typedef",
    "union",
    "unsigned",
    "void",
    "volatile",
    "while",
];

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    types(idl, wrong);
    for action in &idl.actions {
        if CLIENT.contains(&action.item.name.text.to_lowercase().as_str()) {
            wrong.push(taken(
                &action.item.name,
                "the client has a method of that name",
            ));
        }
        parameters(action, wrong);
    }
    let fields = idl.structs.iter().flat_map(|structure| structure.fields);
    let options = idl.actions.iter().flat_map(ActionItem::options);
    fields
        .chain(options)
        .map(|field: &Field| &field.name)
        .for_each(|name| keyword(name, wrong));
}

/// Structures, and the structures of options, are types with names in camel case.
fn types(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    let mut seen: HashMap<String, &Name> = HashMap::new();
    let structs = idl.structs.iter().map(|structure| {
        let name = &structure.item.name;
        (camel(&name.text), name)
    });
    let with_options = idl
        .actions
        .iter()
        .filter(|action| action.options().next().is_some());
    let options = with_options.map(|action| {
        let name = &action.item.name;
        (format!("{}Options", camel(&name.text)), name)
    });
    for (ty, name) in structs.chain(options) {
        if TYPES.contains(&ty.as_str()) {
            wrong.push(taken(name, "generated code has a type of that name"));
        } else if let Some(first) = seen.insert(ty.clone(), name)
            && first.text != name.text
        {
            wrong.push(
                Diagnostic::new(
                    &name.span,
                    format!("'{}' and '{}' are both {ty} in Rust", name.text, first.text),
                )
                .hint(format!(
                    "the other is at {}; choose another name",
                    place(&first.span)
                )),
            );
        }
    }
}

fn parameters(action: &ActionItem<'_>, wrong: &mut Diagnostics) {
    let progress = action.said.progress || action.said.progress_undocumented;
    let options = action.options().next().is_some();
    for name in action.inner.params.iter().map(|param| &param.name) {
        match name.text.as_str() {
            "options" if options => {
                wrong.push(taken(name, "it is what the handler's options are called"));
            }
            "progress" if progress => {
                wrong.push(taken(name, "it is what the handler's progress is called"));
            }
            text if VARIABLES.contains(&text) => {
                wrong.push(taken(name, "generated code has a variable of that name"));
            }
            _ => keyword(name, wrong),
        }
    }
    let result = action.inner.result.iter();
    result.for_each(|result| keyword(&result.name, wrong));
}

fn keyword(name: &Name, wrong: &mut Diagnostics) {
    if KEYWORDS.contains(&name.text.as_str()) {
        wrong.push(
            Diagnostic::new(
                &name.span,
                format!("'{}' is a keyword of C or of rpcgen", name.text),
            )
            .hint("choose another name: it is in the protocol's .x file"),
        );
    }
}

fn taken(name: &Name, what: &str) -> Diagnostic {
    Diagnostic::new(&name.span, format!("'{}' is taken: {what}", name.text))
        .hint("choose another name")
}
