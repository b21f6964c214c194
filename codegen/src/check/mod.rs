//! What IDL must be besides well formed. One file per kind of rule; each
//! reports all it finds.

use crate::ast::{Action, Field, File, Item, Kind, Param};
use crate::clauses::{self, ActionClauses, FeatureClauses};
use crate::diagnostics::{Diagnostics, Span};

mod docs;
mod files;
mod generated;
mod modifiers;
mod names;
mod numbers;
mod references;
mod types;
mod versions;
mod workers;

pub(crate) use references::references;

/// An action with its clauses read.
struct ActionItem<'a> {
    item: &'a Item,
    inner: &'a Action,
    said: ActionClauses,
}

/// A feature with its clauses read.
struct FeatureItem<'a> {
    item: &'a Item,
    said: FeatureClauses,
}

/// A structure.
struct StructItem<'a> {
    item: &'a Item,
    fields: &'a [Field],
}

/// All files, by kind of item, as the rules read them.
struct Idl<'a> {
    files: &'a [File],
    actions: Vec<ActionItem<'a>>,
    features: Vec<FeatureItem<'a>>,
    structs: Vec<StructItem<'a>>,
    /// These are calls between the daemon and a worker.
    for_workers: bool,
}

impl<'a> Idl<'a> {
    fn new(files: &'a [File], for_workers: bool, wrong: &mut Diagnostics) -> Self {
        let mut idl = Self {
            files,
            actions: Vec::new(),
            features: Vec::new(),
            structs: Vec::new(),
            for_workers,
        };
        for item in files.iter().flat_map(|file| &file.items) {
            match &item.kind {
                Kind::Feature(written) => {
                    let said = clauses::feature(written, wrong);
                    idl.features.push(FeatureItem { item, said });
                }
                Kind::Struct(fields) => idl.structs.push(StructItem { item, fields }),
                Kind::Action(inner) => {
                    let said = clauses::action(&inner.clauses, wrong);
                    idl.actions.push(ActionItem { item, inner, said });
                }
            }
        }
        idl
    }

    fn action(&self, name: &str) -> Option<&ActionItem<'a>> {
        self.actions
            .iter()
            .find(|action| action.item.name.text == name)
    }

    fn is_struct(&self, name: &str) -> bool {
        self.structs
            .iter()
            .any(|structure| structure.item.name.text == name)
    }

    fn is_feature(&self, name: &str) -> bool {
        self.features
            .iter()
            .any(|feature| feature.item.name.text == name)
    }
}

impl ActionItem<'_> {
    fn options(&self) -> impl Iterator<Item = &Field> {
        self.inner.options.iter().flat_map(|block| &block.options)
    }

    fn params_of(&self, word: &str) -> impl Iterator<Item = &Param> {
        self.inner
            .params
            .iter()
            .filter(move |param| crate::types::plain(&param.ty) == Some(word))
    }
}

/// Checks all files; adds everything that is wrong to `wrong`.
///
/// Names that refer to other files are looked at only if `complete`: when a
/// file could not be parsed, all that it declares would be reported as missing.
pub(crate) fn check(files: &[File], complete: bool, wrong: &mut Diagnostics) {
    let idl = Idl::new(files, false, wrong);
    names::check(&idl, wrong);
    generated::check(&idl, wrong);
    numbers::check(&idl, wrong);
    modifiers::check(&idl, wrong);
    files::check(&idl, wrong);
    versions::check(&idl, wrong);
    if complete {
        types::check(&idl, wrong);
        references::check(&idl, wrong);
    }
    docs::check(&idl, wrong);
}

/// Checks a file of `idl/worker`, which stands for itself: its numbers are between two processes of
/// one program.
pub(crate) fn check_worker(file: &File, wrong: &mut Diagnostics) {
    let idl = Idl::new(std::slice::from_ref(file), true, wrong);
    names::check(&idl, wrong);
    generated::check(&idl, wrong);
    numbers::check(&idl, wrong);
    workers::check(&idl, wrong);
    types::check(&idl, wrong);
    references::check(&idl, wrong);
    docs::check(&idl, wrong);
}

/// `FILE:LINE`, for hints that point to another place.
fn place(span: &Span) -> String {
    format!("{}:{}", span.source.path.display(), span.line_column().0)
}
