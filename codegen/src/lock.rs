//! `wire.lock`: what has been promised to clients, one line per action,
//! structure and later option. Lines are only ever added.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::ast;
use crate::diagnostics::{Diagnostic, Diagnostics, Source, Span};
use crate::model::{Action, Model, OptionParam, Struct};
use crate::wire;

/// The file's name, in the IDL directory.
pub const FILE: &str = "wire.lock";

const PREAMBLE: &str = "\
# What the wire looks like: numbers, names and types that clients rely on.
# The build appends what is new in the IDL and refuses what differs from a
# line that is here. Never edit or remove a line.
";

/// While an action is being drafted, each build locks it as it is then.
const UNCOMMITTED: &str = "a line that was never committed goes with 'git checkout idl/wire.lock'";

/// A line of the lock: what it is about, and all of it.
struct Line {
    key: String,
    text: String,
    span: Span,
}

/// Compares the model with the lock; returns the lines to append.
pub(crate) fn check(
    model: &Model,
    files: &[ast::File],
    lock: Source,
    wrong: &mut Diagnostics,
) -> Vec<String> {
    let lines = read(lock);
    let mut locked: BTreeMap<&str, &Line> = BTreeMap::new();
    for line in &lines {
        if locked.insert(&line.key, line).is_some() {
            wrong.push(
                Diagnostic::new(&line.span, format!("'{}' is in {FILE} twice", line.key))
                    .hint("lines are only ever appended, by the build; take this file from version control"),
            );
        }
    }
    let numbers = model
        .modules
        .iter()
        .flat_map(|module| &module.actions)
        .map(|action| action.number);
    let next = numbers
        .chain(lines.iter().filter_map(Line::number))
        .max()
        .unwrap_or(0)
        .saturating_add(1);
    let owners: BTreeMap<u32, &Line> = lines
        .iter()
        .filter_map(|line| Some((line.number()?, line)))
        .collect();

    let mut present: BTreeSet<String> = BTreeSet::new();
    let mut added = Vec::new();
    for structure in sorted(
        model.modules.iter().flat_map(|module| &module.structs),
        |s| s.name.clone(),
    ) {
        let key = format!("struct {}", structure.name);
        compare(
            &key,
            &struct_line(structure),
            &locked,
            &mut added,
            |line| {
                Diagnostic::new(
                    &place(files, &structure.name, line),
                    format!(
                        "struct '{}' is no longer what {FILE} says it is",
                        structure.name
                    ),
                )
                .hint(format!(
                    "clients rely on '{}'; make a new structure instead; {UNCOMMITTED}",
                    line.text
                ))
            },
            wrong,
        );
        present.insert(key);
    }
    for action in sorted(
        model.modules.iter().flat_map(|module| &module.actions),
        |a| a.number,
    ) {
        let key = format!("action {}", action.name);
        let known = locked
            .get(key.as_str())
            .map_or(action.options.len(), |line| line.option_count());
        let (first, later) = action.options.split_at(known.min(action.options.len()));
        if let (None, Some(owner)) = (locked.get(key.as_str()), owners.get(&action.number)) {
            wrong.push(
                Diagnostic::new(
                    &place(files, &action.name, owner),
                    format!(
                        "procedure number {} belongs to '{}'",
                        action.number, owner.key
                    ),
                )
                .hint(format!("numbers are forever; the next free one is {next}")),
            );
            present.insert(key);
            continue;
        }
        compare(
            &key,
            &action_line(action, first),
            &locked,
            &mut added,
            |line| {
                Diagnostic::new(
                    &place(files, &action.name, line),
                    format!(
                        "action '{}' is no longer what {FILE} says it is",
                        action.name
                    ),
                )
                .hint(format!(
                    "clients rely on '{}'; numbers are forever; the next free one is {next}; {UNCOMMITTED}",
                    line.text
                ))
            },
            wrong,
        );
        present.insert(key);
        for (position, option) in later.iter().enumerate() {
            let key = format!("option {}@{}", action.name, known + position);
            compare(
                &key,
                &option_line(&key, option),
                &locked,
                &mut added,
                |line| {
                    Diagnostic::new(
                        &place(files, &action.name, line),
                        format!(
                            "option '{}' is no longer what {FILE} says it is",
                            option.name
                        ),
                    )
                    .hint(format!(
                        "clients rely on '{}'; give the new option the next bit; {UNCOMMITTED}",
                        line.text
                    ))
                },
                wrong,
            );
            present.insert(key);
        }
    }
    for line in lines.iter().filter(|line| !present.contains(&line.key)) {
        wrong.push(
            Diagnostic::new(&line.span, format!("{} is gone from the IDL", line.key))
                .hint(format!("clients still send it; bring it back, and mark an action 'retired VERSION;' if current clients do not; {UNCOMMITTED}")),
        );
    }
    added
}

fn compare(
    key: &str,
    text: &str,
    locked: &BTreeMap<&str, &Line>,
    added: &mut Vec<String>,
    differs: impl Fn(&Line) -> Diagnostic,
    wrong: &mut Diagnostics,
) {
    match locked.get(key) {
        None => added.push(text.to_owned()),
        Some(line) if line.text == text => {}
        Some(line) => wrong.push(differs(line)),
    }
}

fn sorted<T, K: Ord>(items: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_by_key(key);
    items
}

/// Where an item is declared, or the line of the lock if that is not known.
fn place(files: &[ast::File], name: &str, line: &Line) -> Span {
    files
        .iter()
        .flat_map(|file| &file.items)
        .find(|item| item.name.text == name && !matches!(item.kind, ast::Kind::Feature(_)))
        .map_or_else(|| line.span.clone(), |item| item.name.span.clone())
}

fn read(lock: Source) -> Vec<Line> {
    let source = Arc::new(lock);
    let mut lines = Vec::new();
    let mut start = 0;
    for text in source.text.split_inclusive('\n') {
        let trimmed = text.trim_end();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let key = trimmed.split(' ').take(2).collect::<Vec<_>>().join(" ");
            let span = Span {
                source: Arc::clone(&source),
                start,
                end: start + trimmed.len(),
            };
            lines.push(Line {
                key,
                text: trimmed.to_owned(),
                span,
            });
        }
        start += text.len();
    }
    lines
}

impl Line {
    /// The procedure number of an action's line.
    fn number(&self) -> Option<u32> {
        self.text
            .split(' ')
            .find_map(|word| word.strip_prefix('@'))?
            .parse()
            .ok()
    }

    /// How many options an action had when its line was written.
    fn option_count(&self) -> usize {
        match self.text.split_once(" [") {
            Some((_, options)) => options
                .split(']')
                .next()
                .unwrap_or_default()
                .split(", ")
                .count(),
            None => 0,
        }
    }
}

fn typed<'a>(items: impl Iterator<Item = (&'a str, wire::WireType)>) -> String {
    items
        .map(|(name, ty)| format!("{name}: {ty}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn struct_line(structure: &Struct) -> String {
    format!(
        "struct {} {{ {} }}",
        structure.name,
        typed(wire::fields(&structure.fields).into_iter())
    )
}

fn action_line(action: &Action, options: &[OptionParam]) -> String {
    let params = typed(
        action
            .params
            .iter()
            .map(|p| (p.name.as_str(), wire::param(p.ty))),
    );
    let mut line = format!("action {} @{} ({params})", action.name, action.number);
    if !options.is_empty() {
        let options = typed(
            options
                .iter()
                .map(|o| (o.name.as_str(), wire::option(o.ty))),
        );
        let _ = write!(line, " [{options}]");
    }
    if let Some((name, ty)) = wire::reply(action) {
        let _ = write!(line, " -> {name}: {ty}");
    }
    line
}

fn option_line(key: &str, option: &OptionParam) -> String {
    format!("{key} {}: {}", option.name, wire::option(option.ty))
}

/// Appends lines to the lock below `idl`.
///
/// The file is replaced in one step, because several build scripts may do this at once.
///
/// # Errors
///
/// The lock cannot be read or written.
pub fn append(idl: &Path, lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = idl.join(FILE);
    let mut text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => PREAMBLE.to_owned(),
        Err(error) => return Err(error),
    };
    if std::fs::metadata(&path).is_ok_and(|metadata| metadata.permissions().readonly()) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the file is read-only",
        ));
    }
    let present: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    for line in lines.iter().filter(|line| !present.contains(*line)) {
        text.push_str(line);
        text.push('\n');
    }
    let scratch = idl.join(format!(".{FILE}.{}", std::process::id()));
    std::fs::write(&scratch, text)?;
    std::fs::rename(&scratch, &path)
}
