//! Text to [`ast`](crate::ast): the shapes of `idl.pest`.

use std::sync::Arc;

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};
use pest::iterators::Pair;

use crate::ast::{
    Action, Atom, AtomKind, Clause, Doc, Field, File, Item, Kind, Name, Options, Ordinal, Param,
    Type,
};
use crate::diagnostics::{Diagnostic, Source, Span};

#[allow(missing_docs, reason = "pest derives an enum from the grammar")]
mod grammar {
    #[derive(pest_derive::Parser)]
    #[grammar = "src/idl.pest"]
    pub(super) struct Grammar;
}

use grammar::{Grammar, Rule};

/// Parses one file of `area`.
///
/// # Errors
///
/// The first place where the text does not have the shape of IDL.
pub fn parse(area: &str, name: &str, source: &Arc<Source>) -> Result<File, Diagnostic> {
    let mut pairs =
        Grammar::parse(Rule::file, &source.text).map_err(|error| syntax_error(source, &error))?;
    let mut file = File {
        area: area.to_owned(),
        name: name.to_owned(),
        source: Arc::clone(source),
        header: Doc::default(),
        items: Vec::new(),
    };
    let builder = Builder { source };
    for pair in pairs.next().into_iter().flat_map(Pair::into_inner) {
        match pair.as_rule() {
            Rule::header => file.header.lines.extend(builder.doc_line(pair)),
            Rule::item => file.items.extend(builder.item(pair)),
            _ => {}
        }
    }
    Ok(file)
}

fn syntax_error(source: &Arc<Source>, error: &pest::error::Error<Rule>) -> Diagnostic {
    let start = match error.location {
        InputLocation::Pos(start) | InputLocation::Span((start, _)) => start,
    };
    let length = source
        .text
        .get(start..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, char::len_utf8);
    let span = Span {
        source: Arc::clone(source),
        start,
        end: start + length,
    };
    let (message, hint) = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => (expected(positives), advice(positives)),
        ErrorVariant::CustomError { message } => (message.clone(), None),
    };
    Diagnostic::new(&span, format!("syntax error: {message}")).maybe_hint(hint.map(str::to_owned))
}

/// What could have stood at the place of a syntax error, in the words of someone who writes IDL.
fn expected(rules: &[Rule]) -> String {
    let mut words: Vec<&str> = rules.iter().map(|rule| describe(*rule)).collect();
    words.sort_unstable();
    words.dedup();
    match words.split_last() {
        None => "this is not expected here".to_owned(),
        Some((last, [])) => format!("expected {last}"),
        Some((last, others)) => format!("expected {} or {last}", others.join(", ")),
    }
}

/// How what is missing is written.
fn advice(rules: &[Rule]) -> Option<&'static str> {
    rules.iter().find_map(|rule| {
        Some(match rule {
            Rule::semicolon => "every clause, field and option ends with ';'",
            Rule::ordinal => "the number on the wire comes after the name: 'name @7'",
            Rule::colon => "a type comes after the name: 'name: type'",
            Rule::ty | Rule::item_ty => "the reference of the IDL's types is in docs/ARCHITECTURE.md",
            Rule::kw_action => "an item is 'feature NAME { ... }', 'struct NAME { ... }' or 'action NAME @N (...) { ... }'",
            Rule::open_brace => "what an item says comes in braces: '{ ... }'",
            _ => return None,
        })
    })
}

fn describe(rule: Rule) -> &'static str {
    match rule {
        Rule::EOI => "the end of the file",
        Rule::header => "a '//!' line",
        Rule::doc => "a '///' line",
        Rule::item => "a feature, struct or action",
        Rule::modifier => "'internal' or 'debug'",
        Rule::feature | Rule::kw_feature => "'feature'",
        Rule::structure | Rule::kw_struct => "'struct'",
        Rule::action | Rule::kw_action => "'action'",
        Rule::param => "a parameter",
        Rule::result | Rule::arrow => "'-> name: type'",
        Rule::colon => "':'",
        Rule::semicolon => "';'",
        Rule::comma => "','",
        Rule::open_brace => "'{'",
        Rule::close_brace => "'}'",
        Rule::open_paren => "'('",
        Rule::close_paren => "')'",
        Rule::open_angle => "'<'",
        Rule::close_angle => "'>'",
        Rule::field => "a field",
        Rule::options | Rule::kw_options => "'options'",
        Rule::option => "an option",
        Rule::ty | Rule::item_ty => "a type",
        Rule::nullable => "'?'",
        Rule::clause => "a clause",
        Rule::atom => "a word",
        Rule::ordinal => "'@' and a number",
        Rule::number => "a number",
        Rule::version => "a version",
        Rule::word => "a name",
        Rule::string => "a string",
        _ => "something else",
    }
}

/// Turns pairs into nodes. The grammar guarantees the children that are
/// looked for; where one is missing all the same the node is left out rather
/// than the program stopped.
struct Builder<'a> {
    source: &'a Arc<Source>,
}

impl Builder<'_> {
    fn span(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = pair.as_span();
        Span {
            source: Arc::clone(self.source),
            start: span.start(),
            end: span.end(),
        }
    }

    fn name(&self, pair: &Pair<'_, Rule>) -> Name {
        Name {
            text: pair.as_str().to_owned(),
            span: self.span(pair),
        }
    }

    fn doc_line(&self, pair: Pair<'_, Rule>) -> Option<Name> {
        let line = pair.into_inner().next()?;
        let mut name = self.name(&line);
        let trimmed = name.text.strip_prefix(' ').unwrap_or(&name.text);
        name.span.start += name.text.len() - trimmed.len();
        name.text = trimmed.trim_end().to_owned();
        name.span.end = name.span.start + name.text.len();
        Some(name)
    }

    fn item(&self, pair: Pair<'_, Rule>) -> Option<Item> {
        let mut doc = Doc::default();
        let mut modifier = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::doc => doc.lines.extend(self.doc_line(part)),
                Rule::modifier => modifier = Some(self.name(&part)),
                Rule::feature | Rule::structure | Rule::action => {
                    let (name, kind) = self.kind(part)?;
                    return Some(Item {
                        doc,
                        modifier,
                        name,
                        kind,
                    });
                }
                _ => {}
            }
        }
        None
    }

    fn kind(&self, pair: Pair<'_, Rule>) -> Option<(Name, Kind)> {
        let rule = pair.as_rule();
        let mut name = None;
        let mut number = None;
        let mut clauses = Vec::new();
        let mut fields = Vec::new();
        let mut params = Vec::new();
        let mut result = None;
        let mut options = Vec::new();
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::word => name = Some(self.name(&part)),
                Rule::ordinal => number = self.ordinal(part),
                Rule::clause => clauses.push(self.clause(part)),
                Rule::field => fields.extend(self.field(part)),
                Rule::param => params.extend(self.param(part)),
                Rule::result => result = self.param(part),
                Rule::options => options.push(Options {
                    span: self.span(&part),
                    options: part
                        .into_inner()
                        .filter_map(|option| self.field(option))
                        .collect(),
                }),
                _ => {}
            }
        }
        let kind = match rule {
            Rule::feature => Kind::Feature(clauses),
            Rule::structure => Kind::Struct(fields),
            _ => Kind::Action(Box::new(Action {
                number: number?,
                params,
                result,
                options,
                clauses,
            })),
        };
        Some((name?, kind))
    }

    fn ordinal(&self, pair: Pair<'_, Rule>) -> Option<Ordinal> {
        let number = pair.into_inner().next()?;
        Some(Ordinal {
            value: number.as_str().parse().ok(),
            span: self.span(&number),
        })
    }

    fn param(&self, pair: Pair<'_, Rule>) -> Option<Param> {
        let field = self.field(pair)?;
        Some(Param {
            name: field.name,
            ty: field.ty,
        })
    }

    fn field(&self, pair: Pair<'_, Rule>) -> Option<Field> {
        let mut doc = Doc::default();
        let mut name = None;
        let mut bit = None;
        let mut ty = None;
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::doc => doc.lines.extend(self.doc_line(part)),
                Rule::word => name = Some(self.name(&part)),
                Rule::ordinal => bit = self.ordinal(part),
                Rule::ty => ty = Some(self.ty(part)),
                _ => {}
            }
        }
        Some(Field {
            doc,
            name: name?,
            bit,
            ty: ty?,
        })
    }

    fn ty(&self, pair: Pair<'_, Rule>) -> Type {
        let mut ty = Type {
            name: String::new(),
            arguments: Vec::new(),
            nullable: false,
            span: self.trimmed(&pair),
        };
        for part in pair.into_inner() {
            match part.as_rule() {
                Rule::word => ty.name = part.as_str().to_owned(),
                Rule::item_ty => ty.arguments.push(self.ty(part)),
                Rule::nullable => ty.nullable = true,
                _ => {}
            }
        }
        ty
    }

    fn clause(&self, pair: Pair<'_, Rule>) -> Clause {
        let span = self.span(&pair);
        let atoms: Vec<Atom> = pair
            .into_inner()
            .filter_map(|atom| self.atom(atom))
            .collect();
        let end = atoms.last().map_or(span.end, |last| last.span.end);
        Clause {
            atoms,
            span: Span { end, ..span },
        }
    }

    fn atom(&self, pair: Pair<'_, Rule>) -> Option<Atom> {
        let span = self.trimmed(&pair);
        let inner = pair.into_inner().next()?;
        let kind = match inner.as_rule() {
            Rule::string => AtomKind::String,
            Rule::version => AtomKind::Version,
            Rule::number => AtomKind::Number,
            _ => AtomKind::Word,
        };
        let text = match kind {
            AtomKind::String => inner
                .into_inner()
                .next()
                .map(|text| text.as_str().to_owned())
                .unwrap_or_default(),
            _ => inner.as_str().to_owned(),
        };
        Some(Atom { text, kind, span })
    }

    /// The place of `pair` without the blanks that the grammar skipped at its end.
    fn trimmed(&self, pair: &Pair<'_, Rule>) -> Span {
        let span = self.span(pair);
        Span {
            end: span.start + pair.as_str().trim_end().len(),
            ..span
        }
    }
}
