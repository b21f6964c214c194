//! What calls between the daemon and a worker leave out.

use super::Idl;
use crate::diagnostics::{Diagnostic, Diagnostics};

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    for feature in &idl.features {
        wrong.push(
            Diagnostic::new(&feature.item.name.span, "a worker's file has no features")
                .hint("declare it where the actions are that clients call"),
        );
    }
    for modifier in idl
        .files
        .iter()
        .flat_map(|file| &file.items)
        .filter_map(|item| item.modifier.as_ref())
    {
        wrong.push(
            Diagnostic::new(
                &modifier.span,
                format!("'{}' does not fit a worker's file", modifier.text),
            )
            .hint("no client sees what is in it"),
        );
    }
    for clause in idl.actions.iter().flat_map(|action| &action.inner.clauses) {
        wrong.push(
            Diagnostic::new(&clause.span, "a call to a worker has no clauses")
                .hint("clauses are about clients, and none sees this call"),
        );
    }
}
