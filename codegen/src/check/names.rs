//! Names: unique where two would meet, and possible in Rust.

use std::collections::HashMap;

use super::{Idl, place};
use crate::ast::Name;
use crate::diagnostics::{Diagnostic, Diagnostics, Span};

/// Words that Rust keeps for itself and that not even `r#` makes possible.
const NEVER_NAMES: &[&str] = &["crate", "self", "super"];

/// All words that Rust keeps for itself, as of edition 2024.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    unique(
        "action",
        idl.actions.iter().map(|action| &action.item.name),
        wrong,
    );
    unique(
        "struct",
        idl.structs.iter().map(|structure| &structure.item.name),
        wrong,
    );
    unique(
        "feature",
        idl.features.iter().map(|feature| &feature.item.name),
        wrong,
    );
    methods(idl, wrong);
    modules(idl, wrong);
    for action in &idl.actions {
        item(&action.item.name, wrong);
        let params = action.inner.params.iter().map(|param| &param.name);
        let options: Vec<&Name> = action.options().map(|option| &option.name).collect();
        unique(
            "parameter or option",
            params.clone().chain(options.iter().copied()),
            wrong,
        );
        params.chain(options).for_each(|name| member(name, wrong));
        if let Some(result) = &action.inner.result {
            member(&result.name, wrong);
        }
    }
    for structure in &idl.structs {
        item(&structure.item.name, wrong);
        unique(
            "field",
            structure.fields.iter().map(|field| &field.name),
            wrong,
        );
        structure
            .fields
            .iter()
            .for_each(|field| member(&field.name, wrong));
    }
    idl.features
        .iter()
        .for_each(|feature| item(&feature.item.name, wrong));
    aliases(idl, wrong);
}

fn unique<'a>(kind: &str, names: impl Iterator<Item = &'a Name>, wrong: &mut Diagnostics) {
    let mut seen: HashMap<&str, &Span> = HashMap::new();
    for name in names {
        if let Some(first) = seen.get(name.text.as_str()) {
            wrong.push(
                Diagnostic::new(&name.span, format!("{kind} '{}' is there twice", name.text))
                    .hint(format!("the first is at {}", place(first))),
            );
        } else {
            seen.insert(&name.text, &name.span);
        }
    }
}

/// The name as a method of Rust is in small letters.
fn methods(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    let mut seen: HashMap<String, &Name> = HashMap::new();
    for action in &idl.actions {
        let name = &action.item.name;
        if let Some(first) = seen.insert(name.text.to_lowercase(), name)
            && first.text != name.text
        {
            wrong.push(
                Diagnostic::new(
                    &name.span,
                    format!(
                        "'{}' and '{}' differ only in capitals",
                        name.text, first.text
                    ),
                )
                .hint(format!(
                    "the other is at {}; choose another name",
                    place(&first.span)
                )),
            );
        }
    }
}

fn modules(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for file in idl.files {
        if let Some(area) = seen.insert(&file.name, &file.area) {
            let start = Span {
                source: file.source.clone(),
                start: 0,
                end: 0,
            };
            wrong.push(
                Diagnostic::new(&start, format!("module '{}' is there twice", file.name))
                    .hint(format!("area '{area}' has a file of that name; module names are unique over all areas")),
            );
        }
    }
}

/// The name of an item: it becomes part of other names in Rust, and some
/// names of actions hold capitals for reasons of history.
fn item(name: &Name, wrong: &mut Diagnostics) {
    if KEYWORDS.contains(&name.text.as_str()) {
        wrong.push(keyword(name));
    } else if name.text.starts_with('_') {
        wrong.push(
            Diagnostic::new(
                &name.span,
                format!("'{}' begins with an underscore", name.text),
            )
            .hint("names begin with a letter"),
        );
    }
}

/// The name of a parameter, option or field.
fn member(name: &Name, wrong: &mut Diagnostics) {
    if NEVER_NAMES.contains(&name.text.as_str()) {
        wrong.push(keyword(name));
    } else if name.text.chars().any(|c| c.is_ascii_uppercase()) || name.text.starts_with('_') {
        wrong.push(
            Diagnostic::new(&name.span, format!("'{}' is not in snake case", name.text))
                .hint("names are small letters, digits and underscores, and begin with a letter"),
        );
    }
}

fn keyword(name: &Name) -> Diagnostic {
    Diagnostic::new(&name.span, format!("'{}' is a keyword of Rust", name.text))
        .hint("choose another name")
}

fn aliases(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    let mut seen: HashMap<String, &Span> = idl
        .actions
        .iter()
        .map(|action| {
            (
                action.item.name.text.replace('_', "-"),
                &action.item.name.span,
            )
        })
        .collect();
    for alias in idl.actions.iter().flat_map(|action| &action.said.aliases) {
        if let Some(first) = seen.insert(alias.text.clone(), &alias.span) {
            wrong.push(
                Diagnostic::new(&alias.span, format!("alias '{}' is taken", alias.text))
                    .hint(format!("by what is at {}", place(first))),
            );
        }
    }
}
