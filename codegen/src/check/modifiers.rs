//! The word before an item.

use super::Idl;
use crate::ast::Kind;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::suggest::did_you_mean;

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    for item in idl.files.iter().flat_map(|file| &file.items) {
        let Some(modifier) = &item.modifier else {
            continue;
        };
        let (kind, allowed): (&str, &[&str]) = match &item.kind {
            Kind::Feature(_) => ("a feature", &[]),
            Kind::Struct(_) => ("a struct", &["internal"]),
            Kind::Action(_) => ("an action", &["internal", "debug"]),
        };
        if allowed.contains(&modifier.text.as_str()) {
            continue;
        }
        let hint =
            did_you_mean(&modifier.text, allowed.iter().copied()).or_else(|| match allowed {
                [] => Some(format!("{kind} takes no word before it")),
                words => Some(format!("{kind} takes {}", words.join(" or "))),
            });
        wrong.push(
            Diagnostic::new(
                &modifier.span,
                format!("'{}' does not fit {kind}", modifier.text),
            )
            .maybe_hint(hint),
        );
    }
}
