//! When an action came and went.

use super::Idl;
use crate::ast::Name;
use crate::diagnostics::{Diagnostic, Diagnostics};

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    for action in &idl.actions {
        let name = &action.item.name;
        let Some(since) = &action.said.since else {
            // A `since` that is written wrongly has been reported with its clause.
            let written = action
                .inner
                .clauses
                .iter()
                .any(|clause| clause.atoms.first().is_some_and(|a| a.text == "since"));
            if !written {
                wrong.push(
                    Diagnostic::new(
                        &name.span,
                        format!("'{}' does not say since when it exists", name.text),
                    )
                    .hint("add the library version that first had it: 'since 1.2.3;'"),
                );
            }
            continue;
        };
        parts(since, wrong);
        if let Some(retired) = &action.said.retired {
            parts(retired, wrong);
            if numbers(retired) < numbers(since) {
                wrong.push(
                    Diagnostic::new(
                        &retired.span,
                        format!(
                            "retired in {}, before it came in {}",
                            retired.text, since.text
                        ),
                    )
                    .hint("'retired' names the last version whose client sends it"),
                );
            }
        }
    }
}

fn parts(version: &Name, wrong: &mut Diagnostics) {
    if numbers(version).is_none_or(|numbers| !(2..=3).contains(&numbers.len())) {
        wrong.push(
            Diagnostic::new(
                &version.span,
                format!("'{}' is not a version of the library", version.text),
            )
            .hint("a version is two or three numbers: 1.48 or 1.2.3"),
        );
    }
}

fn numbers(version: &Name) -> Option<Vec<u32>> {
    version
        .text
        .split('.')
        .map(|part| part.parse().ok())
        .collect()
}
