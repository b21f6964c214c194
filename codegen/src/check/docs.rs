//! Descriptions: there is one, and it says what each parameter is.

use super::{ActionItem, Idl, references};
use crate::ast::{Doc, Item};
use crate::diagnostics::{Diagnostic, Diagnostics, Span};

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    for file in idl.files {
        let start = Span {
            source: file.source.clone(),
            start: 0,
            end: 0,
        };
        sentence(&file.header, &start, "the file", "//!", wrong);
        for item in &file.items {
            described(item, wrong);
        }
    }
    for structure in &idl.structs {
        structure
            .fields
            .iter()
            .for_each(|field| placeholder(&field.doc, wrong));
    }
    for action in &idl.actions {
        action
            .options()
            .for_each(|option| placeholder(&option.doc, wrong));
        parameters(idl, action, wrong);
    }
}

fn described(item: &Item, wrong: &mut Diagnostics) {
    if is_placeholder(&item.doc) {
        placeholder(&item.doc, wrong);
    } else {
        sentence(
            &item.doc,
            &item.name.span,
            &format!("'{}'", item.name.text),
            "///",
            wrong,
        );
    }
}

fn is_placeholder(doc: &Doc) -> bool {
    doc.lines
        .first()
        .is_some_and(|line| line.text.trim() == "?")
}

fn placeholder(doc: &Doc, wrong: &mut Diagnostics) {
    if is_placeholder(doc)
        && let Some(line) = doc.lines.first()
    {
        wrong.push(
            Diagnostic::new(&line.span, "the description is missing")
                .hint("say what it does, in place of '?'"),
        );
    }
}

fn sentence(doc: &Doc, place: &Span, what: &str, slashes: &str, wrong: &mut Diagnostics) {
    let Some(line) = doc.lines.first() else {
        wrong.push(
            Diagnostic::new(place, format!("{what} has no description"))
                .hint(format!("put a line before it: '{slashes} What it does.'")),
        );
        return;
    };
    let text = line.text.trim();
    let begins = text.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit() || c == '`');
    if !begins || !text.ends_with('.') {
        wrong.push(
            Diagnostic::new(&line.span, "the first line of a description is a sentence").hint(
                "it begins with a capital letter, ends with a full stop, and stands on one line",
            ),
        );
    } else if doc
        .lines
        .get(1)
        .is_some_and(|second| !second.text.trim().is_empty())
    {
        wrong.push(
            Diagnostic::new(
                &line.span,
                "the first line of a description is a paragraph of its own",
            )
            .hint(format!("put an empty '{slashes}' line after it")),
        );
    }
}

/// The description of an action that people call mentions each parameter, or
/// refers to an action that has a parameter of that name. One parameter alone is
/// usually plain from the summary.
fn parameters(idl: &Idl<'_>, action: &ActionItem<'_>, wrong: &mut Diagnostics) {
    let item = action.item;
    let private = item.modifier.is_some() || action.said.retired.is_some();
    if private || action.inner.params.len() < 2 || is_placeholder(&item.doc) {
        return;
    }
    let lines = || item.doc.lines.iter().map(|line| line.text.as_str());
    let referred: Vec<&ActionItem<'_>> = lines()
        .flat_map(references)
        .filter_map(|(name, _)| idl.action(name))
        .collect();
    let elsewhere = |name: &str| {
        referred.iter().any(|other| {
            let params = other.inner.params.iter().map(|param| &param.name.text);
            params
                .chain(other.options().map(|option| &option.name.text))
                .any(|other| other == name)
        })
    };
    for param in &action.inner.params {
        let mention = format!("`{}`", param.name.text);
        if lines().any(|line| line.contains(&mention)) || elsewhere(&param.name.text) {
            continue;
        }
        wrong.push(
            Diagnostic::new(
                &param.name.span,
                format!("the description does not say what {mention} is"),
            )
            .hint(
                "mention each parameter in backticks, or refer to an action that has it: [action]",
            ),
        );
    }
}
