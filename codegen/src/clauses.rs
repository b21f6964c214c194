//! Clause words and what they say.

use crate::ast::{Atom, AtomKind, Clause, Name};
use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::model::{Deprecation, OutputForm, Probe};
use crate::suggest::did_you_mean;

/// A clause word, how the whole clause is written, and whether it may be there several times.
struct Form {
    word: &'static str,
    usage: &'static str,
    repeats: bool,
}

const fn once(word: &'static str, usage: &'static str) -> Form {
    Form {
        word,
        usage,
        repeats: false,
    }
}

const fn many(word: &'static str, usage: &'static str) -> Form {
    Form {
        word,
        usage,
        repeats: true,
    }
}

const ACTION_FORMS: &[Form] = &[
    once("since", "since 1.2.3;"),
    once("retired", "retired 1.48;"),
    once("feature", "feature NAME;"),
    once(
        "deprecated",
        "deprecated; or deprecated by NAME; or deprecated by library NAME;",
    ),
    once("progress", "progress; or progress undocumented;"),
    once("cancellable", "cancellable;"),
    once("uncancellable", "uncancellable;"),
    once("limit", "limit protocol;"),
    once("once_optionless", "once_optionless;"),
    many("alias", "alias \"other-name\";"),
    once("output", "output hex; or output octal;"),
    once("pending", "pending;"),
];

const FEATURE_FORMS: &[Form] = &[
    once("always", "always;"),
    many("program", "program \"mkfs.xfs\";"),
    many("kernel_filesystem", "kernel_filesystem \"btrfs\";"),
    many("path", "path \"/proc/sys/fs/inotify\";"),
    many("library", "library \"libhivex.so.0\";"),
    once("worker", "worker NAME;"),
];

/// What the clauses of an action say.
#[derive(Debug, Default)]
pub(crate) struct ActionClauses {
    pub(crate) since: Option<Name>,
    pub(crate) retired: Option<Name>,
    pub(crate) feature: Option<Name>,
    pub(crate) deprecated: Option<(Deprecation, Span)>,
    pub(crate) progress: bool,
    pub(crate) progress_undocumented: bool,
    pub(crate) cancellable: Option<Span>,
    pub(crate) uncancellable: Option<Span>,
    pub(crate) limit_protocol: bool,
    pub(crate) once_optionless: Option<Span>,
    pub(crate) aliases: Vec<Name>,
    pub(crate) output: Option<OutputForm>,
    pub(crate) pending: bool,
}

/// What the clauses of a feature say.
#[derive(Debug, Default)]
pub(crate) struct FeatureClauses {
    pub(crate) probes: Vec<(Probe, Span)>,
    pub(crate) worker: Option<Name>,
}

/// Reads the clauses of an action, and adds what is wrong with them to `wrong`.
pub(crate) fn action(clauses: &[Clause], wrong: &mut Diagnostics) -> ActionClauses {
    let mut said = ActionClauses::default();
    each(
        clauses,
        "an action",
        ACTION_FORMS,
        wrong,
        |word, rest, span| {
            match (word, rest) {
                ("since", [version]) if is_version(version) => said.since = Some(name(version)),
                ("retired", [version]) if is_version(version) => said.retired = Some(name(version)),
                ("feature", [feature]) if is_word(feature) => said.feature = Some(name(feature)),
                ("deprecated", []) => {
                    said.deprecated = Some((Deprecation::NoReplacement, span.clone()))
                }
                ("deprecated", [by, other]) if is(by, "by") && is_word(other) => {
                    said.deprecated =
                        Some((Deprecation::By(other.text.clone()), other.span.clone()));
                }
                ("deprecated", [by, library, other])
                    if is(by, "by") && is(library, "library") && is_word(other) =>
                {
                    said.deprecated = Some((
                        Deprecation::ByLibrary(other.text.clone()),
                        other.span.clone(),
                    ));
                }
                ("progress", []) => said.progress = true,
                ("progress", [how]) if is(how, "undocumented") => {
                    said.progress_undocumented = true;
                }
                ("cancellable", []) => said.cancellable = Some(span.clone()),
                ("uncancellable", []) => said.uncancellable = Some(span.clone()),
                ("limit", [protocol]) if is(protocol, "protocol") => said.limit_protocol = true,
                ("once_optionless", []) => said.once_optionless = Some(span.clone()),
                ("alias", [alias]) if alias.kind == AtomKind::String => {
                    said.aliases.push(name(alias))
                }
                ("output", [form]) if is(form, "hex") => said.output = Some(OutputForm::Hex),
                ("output", [form]) if is(form, "octal") => said.output = Some(OutputForm::Octal),
                ("pending", []) => said.pending = true,
                _ => return false,
            }
            true
        },
    );
    said
}

/// Reads the clauses of a feature, and adds what is wrong with them to `wrong`.
pub(crate) fn feature(clauses: &[Clause], wrong: &mut Diagnostics) -> FeatureClauses {
    let mut said = FeatureClauses::default();
    each(
        clauses,
        "a feature",
        FEATURE_FORMS,
        wrong,
        |word, rest, span| {
            let probe = match (word, rest) {
                ("always", []) => Probe::Always,
                ("worker", [worker]) if is_word(worker) => {
                    said.worker = Some(name(worker));
                    return true;
                }
                (_, [value]) if value.kind == AtomKind::String && !value.text.is_empty() => {
                    let value = value.text.clone();
                    match word {
                        "program" => Probe::Program(value),
                        "kernel_filesystem" => Probe::KernelFilesystem(value),
                        "path" => Probe::Path(value),
                        "library" => Probe::Library(value),
                        _ => return false,
                    }
                }
                _ => return false,
            };
            said.probes.push((probe, span.clone()));
            true
        },
    );
    said
}

/// Hands each known clause to `read`, which says whether it is well formed.
fn each(
    clauses: &[Clause],
    owner: &str,
    forms: &[Form],
    wrong: &mut Diagnostics,
    mut read: impl FnMut(&str, &[Atom], &Span) -> bool,
) {
    let mut seen: Vec<&str> = Vec::new();
    for clause in clauses {
        let Some((first, rest)) = clause.atoms.split_first() else {
            continue;
        };
        let Some(form) = forms.iter().find(|form| is(first, form.word)) else {
            wrong.push(unknown(first, owner, forms));
            continue;
        };
        if seen.contains(&form.word) && !form.repeats {
            wrong.push(
                Diagnostic::new(&clause.span, format!("clause '{}' is repeated", form.word))
                    .hint("say it once"),
            );
        }
        seen.push(form.word);
        if !read(form.word, rest, &clause.span) {
            wrong.push(
                Diagnostic::new(
                    &clause.span,
                    format!("clause '{}' is not written like this", form.word),
                )
                .hint(format!("write {}", form.usage)),
            );
        }
    }
}

fn unknown(first: &Atom, owner: &str, forms: &[Form]) -> Diagnostic {
    let words = forms.iter().map(|form| form.word);
    let near = did_you_mean(&first.text, words.clone());
    let all = || format!("{owner} knows {}", words.collect::<Vec<_>>().join(", "));
    Diagnostic::new(&first.span, format!("unknown clause '{}'", first.text))
        .hint(near.unwrap_or_else(all))
}

fn is(atom: &Atom, word: &str) -> bool {
    is_word(atom) && atom.text == word
}

fn is_word(atom: &Atom) -> bool {
    atom.kind == AtomKind::Word
}

fn is_version(atom: &Atom) -> bool {
    atom.kind == AtomKind::Version
}

fn name(atom: &Atom) -> Name {
    Name {
        text: atom.text.clone(),
        span: atom.span.clone(),
    }
}
