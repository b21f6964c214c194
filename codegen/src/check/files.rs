//! File streams: at most one per action, and what follows from it.

use super::{ActionItem, Idl};
use crate::diagnostics::{Diagnostic, Diagnostics};

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    for action in &idl.actions {
        streams(action, wrong);
        cancellation(action, wrong);
    }
}

fn streams(action: &ActionItem<'_>, wrong: &mut Diagnostics) {
    let mut streaming = action
        .inner
        .params
        .iter()
        .filter(|param| matches!(param.ty.name.as_str(), "file_in" | "file_out"));
    streaming.next();
    for another in streaming {
        wrong.push(
            Diagnostic::new(&another.name.span, "an action streams at most one file")
                .hint("the protocol has one stream per call, to or from the daemon"),
        );
    }
    if let (Some(_), Some(result)) = (action.params_of("file_out").next(), &action.inner.result) {
        wrong.push(
            Diagnostic::new(
                &result.name.span,
                "an action that sends a file has no result",
            )
            .hint("the file is the result; its reply goes out before the first chunk"),
        );
    }
}

fn cancellation(action: &ActionItem<'_>, wrong: &mut Diagnostics) {
    let streams = action
        .params_of("file_in")
        .chain(action.params_of("file_out"))
        .next()
        .is_some();
    let name = &action.item.name;
    match (streams, &action.said.cancellable, &action.said.uncancellable) {
        (true, None, None) => wrong.push(
            Diagnostic::new(&name.span, format!("'{}' streams a file and does not say whether that can be cancelled", name.text))
                .hint("add 'cancellable;', or 'uncancellable;' if clients have never been told that they may"),
        ),
        (true, Some(_), Some(second)) => wrong.push(
            Diagnostic::new(second, "an action is either cancellable or uncancellable").hint("keep one of the two clauses"),
        ),
        (false, cancellable, uncancellable) => {
            for span in cancellable.iter().chain(uncancellable) {
                wrong.push(
                    Diagnostic::new(span, format!("'{}' streams no file, so there is nothing to cancel", name.text))
                        .hint("remove the clause"),
                );
            }
        }
        _ => {}
    }
}
