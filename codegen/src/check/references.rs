//! Names that stand for something declared elsewhere.

use super::{FeatureItem, Idl};
use crate::ast::{Clause, Doc, Kind, Name};
use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::model::{Deprecation, Probe};
use crate::suggest::did_you_mean;

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    for action in &idl.actions {
        if let Some(feature) = &action.said.feature
            && !idl.is_feature(&feature.text)
        {
            let names = idl
                .features
                .iter()
                .map(|feature| feature.item.name.text.as_str());
            let hint = did_you_mean(&feature.text, names)
                .unwrap_or_else(|| format!("declare it: 'feature {} {{ ... }}'", feature.text));
            wrong.push(
                Diagnostic::new(&feature.span, format!("unknown feature '{}'", feature.text))
                    .hint(hint),
            );
        }
        if let Some((Deprecation::By(other), span)) = &action.said.deprecated {
            replacement(idl, &action.item.name, other, span, wrong);
        }
        if let Some(span) = &action.said.once_optionless
            && action.options().next().is_none()
        {
            wrong.push(
                Diagnostic::new(span, format!("'{}' has no options now", action.item.name.text))
                    .hint("'once_optionless;' is for actions that got their first option after they were released"),
            );
        }
    }
    for feature in &idl.features {
        used(idl, feature, wrong);
    }
    for file in idl.files {
        links(idl, &file.header, wrong);
        for item in &file.items {
            links(idl, &item.doc, wrong);
        }
    }
    for field in idl.structs.iter().flat_map(|structure| structure.fields) {
        links(idl, &field.doc, wrong);
    }
    for option in idl.actions.iter().flat_map(|action| action.options()) {
        links(idl, &option.doc, wrong);
    }
}

fn replacement(idl: &Idl<'_>, name: &Name, other: &str, span: &Span, wrong: &mut Diagnostics) {
    let refuse = |message: String| Diagnostic::new(span, message);
    if name.text == other {
        wrong.push(
            refuse(format!("'{other}' cannot replace itself"))
                .hint("name another action, or write 'deprecated;'"),
        );
        return;
    }
    match idl.action(other) {
        None => {
            let names = idl
                .actions
                .iter()
                .map(|action| action.item.name.text.as_str());
            let hint = did_you_mean(other, names)
                .unwrap_or_else(|| format!("write 'deprecated by library {other};' if it is a function of the client library"));
            wrong.push(refuse(format!("unknown action '{other}'")).hint(hint));
        }
        Some(replacement) if replacement.said.retired.is_some() => {
            wrong.push(
                refuse(format!("'{other}' is retired"))
                    .hint("name an action that current clients have"),
            );
        }
        Some(_) => {}
    }
}

fn used(idl: &Idl<'_>, feature: &FeatureItem<'_>, wrong: &mut Diagnostics) {
    let name = &feature.item.name;
    let has_action = idl.actions.iter().any(|action| {
        action
            .said
            .feature
            .as_ref()
            .is_some_and(|f| f.text == name.text)
    });
    // Features that are always there are kept for old clients that ask for them.
    let always = feature
        .said
        .probes
        .iter()
        .find(|(probe, _)| *probe == Probe::Always);
    if !has_action && always.is_none() {
        wrong.push(
            Diagnostic::new(&name.span, format!("no action is in feature '{}'", name.text))
                .hint("give an action the clause 'feature NAME;', or make the feature 'always;' if old clients ask for it"),
        );
    }
    if let Some((_, span)) = always
        && feature.said.probes.len() > 1
    {
        wrong.push(
            Diagnostic::new(span, "'always' with other conditions")
                .hint("keep either 'always;' or the conditions"),
        );
    }
    // A condition that is written wrongly has been reported with its clause.
    let worker_only = clauses_of(feature)
        .iter()
        .all(|clause| clause.atoms.first().is_some_and(|a| a.text == "worker"));
    if feature.said.probes.is_empty() && worker_only {
        wrong.push(
            Diagnostic::new(
                &name.span,
                format!("feature '{}' does not say when it is available", name.text),
            )
            .hint("add 'always;' or a condition such as 'program \"mkfs.xfs\";'"),
        );
    }
}

fn clauses_of<'a>(feature: &FeatureItem<'a>) -> &'a [Clause] {
    match &feature.item.kind {
        Kind::Feature(clauses) => clauses,
        _ => &[],
    }
}

/// `[name]` in a description must name something; `[text](url)` and what is in backticks is left alone.
fn links(idl: &Idl<'_>, doc: &Doc, wrong: &mut Diagnostics) {
    for line in &doc.lines {
        for (name, start) in references(&line.text) {
            if idl.action(name).is_some() || idl.is_struct(name) || idl.is_feature(name) {
                continue;
            }
            let start = line.span.start + start;
            let span = Span {
                source: line.span.source.clone(),
                start,
                end: start + name.len(),
            };
            let names = idl
                .files
                .iter()
                .flat_map(|file| &file.items)
                .map(|item| item.name.text.as_str());
            let hint = did_you_mean(name, names)
                .unwrap_or_else(|| "a reference names an action, a struct or a feature; write other names in backticks".to_owned());
            wrong.push(
                Diagnostic::new(&span, format!("'{name}' is not described anywhere")).hint(hint),
            );
        }
    }
}

/// The references of a line, each with its first byte.
pub(crate) fn references(line: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let mut code = false;
    let mut open: Option<usize> = None;
    for (at, character) in line.char_indices() {
        match character {
            '`' => {
                code = !code;
                open = None;
            }
            '[' if !code => open = Some(at + 1),
            ']' if !code => {
                if let Some(start) = open.take()
                    && let (Some(name), Some(after)) = (line.get(start..at), line.get(at + 1..))
                    && !after.starts_with('(')
                    && is_name(name)
                {
                    found.push((name, start));
                }
            }
            _ => {}
        }
    }
    found
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
