//! Types are known and are used where they can be.

use super::Idl;
use crate::ast::Type;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::suggest::did_you_mean;
use crate::types;

/// What the types of one position are made of.
struct Position<'a> {
    /// "a parameter"
    name: &'a str,
    words: Vec<&'a str>,
    items: Vec<&'a str>,
}

pub(super) fn check(idl: &Idl<'_>, wrong: &mut Diagnostics) {
    let structs = || {
        idl.structs
            .iter()
            .map(|structure| structure.item.name.text.as_str())
    };
    let pick = |library: &'static [&'static str], worker: &'static [&'static str]| {
        if idl.for_workers { worker } else { library }.to_vec()
    };
    let param = Position {
        name: "a parameter",
        words: pick(types::PARAM_WORDS, types::WORKER_PARAM_WORDS),
        items: pick(types::LIST_WORDS, types::WORKER_LIST_WORDS),
    };
    let option = Position {
        name: "an option",
        words: types::OPTION_WORDS.to_vec(),
        items: vec!["string"],
    };
    let field = Position {
        name: "a field",
        words: pick(types::FIELD_WORDS, types::WORKER_FIELD_WORDS),
        items: Vec::new(),
    };
    let result = Position {
        name: "a result",
        words: pick(types::RESULT_WORDS, types::WORKER_RESULT_WORDS)
            .into_iter()
            .chain(structs())
            .collect(),
        items: pick(types::RESULT_ITEM_WORDS, types::WORKER_ITEM_WORDS)
            .into_iter()
            .chain(structs())
            .collect(),
    };
    for action in &idl.actions {
        for declared in &action.inner.params {
            if types::param(&declared.ty).is_none() || !param.knows(&declared.ty) {
                wrong.push(param.explain(&declared.ty));
            }
        }
        for declared in action.options() {
            if types::option(&declared.ty).is_none() {
                wrong.push(option.explain(&declared.ty));
            }
        }
        if let Some(declared) = &action.inner.result
            && (types::result(&declared.ty, |name| idl.is_struct(name)).is_none()
                || !result.knows(&declared.ty))
        {
            wrong.push(result.explain(&declared.ty));
        }
    }
    for structure in &idl.structs {
        if structure.fields.is_empty() {
            wrong.push(
                Diagnostic::new(
                    &structure.item.name.span,
                    format!("struct '{}' has no fields", structure.item.name.text),
                )
                .hint("a structure has at least one field"),
            );
        }
        for declared in structure.fields {
            if types::field(&declared.ty).is_none() || !field.knows(&declared.ty) {
                wrong.push(field.explain(&declared.ty));
            }
        }
    }
}

impl Position<'_> {
    /// The words are among those of this position; whether they fit together is another question.
    fn knows(&self, ty: &Type) -> bool {
        self.words.contains(&ty.name.as_str())
            && ty
                .arguments
                .iter()
                .all(|item| self.items.contains(&item.name.as_str()))
    }

    fn explain(&self, ty: &Type) -> Diagnostic {
        let written = ty.source_text();
        if written.contains("file_in") || written.contains("file_out") {
            return Diagnostic::new(&ty.span, format!("{} cannot be '{written}'", self.name))
                .hint("a file is a whole parameter: 'name: file_in' or 'name: file_out'");
        }
        if !self.words.contains(&ty.name.as_str()) {
            return Diagnostic::new(&ty.span, format!("unknown type '{written}'"))
                .hint(self.suggest(&ty.name, &self.words));
        }
        if let Some(item) = ty
            .arguments
            .iter()
            .find(|item| !self.items.contains(&item.name.as_str()))
        {
            return Diagnostic::new(
                &item.span,
                format!(
                    "'{}' cannot hold '{}' in {}",
                    ty.name,
                    item.source_text(),
                    self.name
                ),
            )
            .hint(self.suggest(&item.name, &self.items));
        }
        let hint = if ty.nullable || ty.arguments.iter().any(|item| item.nullable) {
            "only a parameter of type string can be nullable: 'string?'".to_owned()
        } else if ty.name == "list" {
            format!("a list holds one type: {}", self.items.join(", "))
        } else if ty.name == "map" {
            "a map holds two types, none of them a structure: map<string, string>".to_owned()
        } else {
            format!("'{}' holds no other types", ty.name)
        };
        Diagnostic::new(&ty.span, format!("{} cannot be '{written}'", self.name)).hint(hint)
    }

    fn suggest(&self, word: &str, words: &[&str]) -> String {
        did_you_mean(word, words.iter().copied())
            .unwrap_or_else(|| format!("{} can be {}", self.name, words.join(", ")))
    }
}
