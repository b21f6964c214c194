//! Numbers on the wire: procedures, and the bits of options.

use std::collections::HashMap;

use super::{ActionItem, Idl, place};
use crate::diagnostics::{Diagnostic, Diagnostics, Span};

/// The bits of options are those of a 64-bit word in the message header.
const OPTIONS_MAX: usize = 64;

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    let next = idl
        .actions
        .iter()
        .filter_map(|action| action.inner.number.value)
        .max()
        .unwrap_or(0)
        .saturating_add(1);
    let mut seen: HashMap<u32, &Span> = HashMap::new();
    for action in &idl.actions {
        let number = &action.inner.number;
        match number.value {
            None | Some(0) => wrong.push(
                Diagnostic::new(&number.span, "a procedure number is from 1 to 4294967295")
                    .hint(format!("the next free one is {next}")),
            ),
            Some(value) => {
                if let Some(first) = seen.insert(value, &number.span) {
                    wrong.push(
                        Diagnostic::new(&number.span, format!("procedure number {value} is taken"))
                            .hint(format!(
                                "by the action at {}; the next free one is {next}",
                                place(first)
                            )),
                    );
                }
            }
        }
        bits(action, wrong);
    }
}

fn bits(action: &ActionItem<'_>, wrong: &mut Diagnostics) {
    for block in action.inner.options.iter().skip(1) {
        wrong.push(
            Diagnostic::new(&block.span, "an action has one options block")
                .hint("put all options into the first"),
        );
    }
    for block in action
        .inner
        .options
        .iter()
        .filter(|block| block.options.is_empty())
    {
        wrong.push(
            Diagnostic::new(&block.span, "an options block without options").hint("leave it out"),
        );
    }
    let count = action.options().count();
    if let Some(option) = action.options().nth(OPTIONS_MAX) {
        wrong.push(
            Diagnostic::new(
                &option.name.span,
                format!("an action has at most {OPTIONS_MAX} options"),
            )
            .hint("each option has a bit in a 64-bit word of the message header"),
        );
    }
    for (position, option) in action.options().enumerate() {
        let Some(bit) = &option.bit else { continue };
        if bit.value.map(|value| value as usize) != Some(position) {
            wrong.push(
                Diagnostic::new(
                    &bit.span,
                    format!(
                        "option '{}' is at place {position}, so its bit is {position}",
                        option.name.text
                    ),
                )
                .hint(format!(
                    "bits are dense and in order, from 0 to {}",
                    count.saturating_sub(1)
                )),
            );
        }
    }
}
