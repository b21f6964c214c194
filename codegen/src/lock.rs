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
    let mut check = Check::new(files, &lines, wrong);
    let structs = model.modules.iter().flat_map(|module| &module.structs);
    for item in sorted(structs, |item| item.name.clone()) {
        check.structure(item);
    }
    let actions = || model.modules.iter().flat_map(|module| &module.actions);
    let last = actions().map(|action| action.number).max().unwrap_or(0);
    check.next = check.last.max(last).saturating_add(1);
    for action in sorted(actions(), |action| action.number) {
        check.action(action);
    }
    for line in lines
        .iter()
        .filter(|line| !check.present.contains(&line.key))
    {
        check.wrong.push(
            Diagnostic::new(&line.span, format!("{} is gone from the IDL", line.key)).hint(
                format!(
                    "clients still send it; bring it back, and mark an action 'retired VERSION;' \
                 if current clients do not; {UNCOMMITTED}"
                ),
            ),
        );
    }
    check.added
}

/// The lock, and what has been found about the model.
struct Check<'a> {
    files: &'a [ast::File],
    locked: BTreeMap<&'a str, &'a Line>,
    owners: BTreeMap<u32, &'a Line>,
    /// The largest procedure number in the lock.
    last: u32,
    /// The procedure number that nothing has had yet.
    next: u32,
    present: BTreeSet<String>,
    added: Vec<String>,
    wrong: &'a mut Diagnostics,
}

impl<'a> Check<'a> {
    fn new(files: &'a [ast::File], lines: &'a [Line], wrong: &'a mut Diagnostics) -> Self {
        let mut locked: BTreeMap<&str, &Line> = BTreeMap::new();
        for line in lines {
            if locked.insert(&line.key, line).is_some() {
                wrong.push(
                    Diagnostic::new(&line.span, format!("'{}' is in {FILE} twice", line.key))
                        .hint("lines are only ever appended, by the build; take this file from version control"),
                );
            }
        }
        let owners: BTreeMap<u32, &Line> = lines
            .iter()
            .filter_map(|line| Some((line.number()?, line)))
            .collect();
        let last = owners.last_key_value().map_or(0, |(number, _)| *number);
        Self {
            files,
            locked,
            owners,
            last,
            next: last,
            present: BTreeSet::new(),
            added: Vec::new(),
            wrong,
        }
    }

    fn structure(&mut self, item: &Struct) {
        let key = format!("struct {}", item.name);
        let remedy = "make a new structure instead";
        self.compare(key, struct_line(item), &item.name, remedy);
    }

    fn action(&mut self, action: &Action) {
        let key = format!("action {}", action.name);
        let forever = format!("numbers are forever; the next free one is {}", self.next);
        let line = self.locked.get(key.as_str()).copied();
        if line.is_none() && action.number <= self.last {
            let owner = self.owners.get(&action.number);
            let message = match owner {
                Some(owner) => format!(
                    "procedure number {} belongs to '{}'",
                    action.number, owner.key
                ),
                // Old clients may know a number that nothing here has.
                None => format!("procedure number {} is not a new one", action.number),
            };
            let diagnostic = self.at(&action.name, owner.copied(), message);
            self.wrong.push(diagnostic.hint(forever));
            self.present.insert(key);
            return;
        }
        let known = line
            .map_or(action.options.len(), Line::option_count)
            .min(action.options.len());
        let (first, later) = action.options.split_at(known);
        self.compare(key, action_line(action, first), &action.name, &forever);
        for (place, option) in later.iter().enumerate() {
            let key = format!("option {}@{}", action.name, known + place);
            let text = option_line(&key, option);
            self.compare(key, text, &action.name, "give the new option the next bit");
        }
    }

    /// Compares what is now `text` with its line; `name` is the item that it belongs to.
    fn compare(&mut self, key: String, text: String, name: &str, remedy: &str) {
        match self.locked.get(key.as_str()).copied() {
            None => self.added.push(text),
            Some(line) if line.text == text => {}
            Some(line) => {
                let message = format!("'{key}' is no longer what {FILE} says it is");
                let hint = format!("clients rely on '{}'; {remedy}; {UNCOMMITTED}", line.text);
                self.wrong
                    .push(self.at(name, Some(line), message).hint(hint));
            }
        }
        self.present.insert(key);
    }

    /// Something wrong where an item is declared, or at a line of the lock if that is not known.
    fn at(&self, name: &str, line: Option<&Line>, message: String) -> Diagnostic {
        let items = self.files.iter().flat_map(|file| &file.items);
        let mut named = items
            .filter(|item| item.name.text == name && !matches!(item.kind, ast::Kind::Feature(_)));
        match named
            .next()
            .map(|item| &item.name.span)
            .or(line.map(|line| &line.span))
        {
            Some(span) => Diagnostic::new(span, message),
            None => Diagnostic::general(message),
        }
    }
}

fn sorted<T, K: Ord>(items: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_by_key(key);
    items
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
