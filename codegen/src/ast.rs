//! The IDL as written: shapes with their places, nothing resolved.

use std::sync::Arc;

use crate::diagnostics::{Source, Span};

/// A word with its place.
#[derive(Debug, Clone)]
pub struct Name {
    /// The word.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// A number after `@`.
#[derive(Debug, Clone)]
pub struct Ordinal {
    /// The number; `None` if it does not fit 32 bits.
    pub value: Option<u32>,
    /// Its place.
    pub span: Span,
}

/// One `.idl` file.
#[derive(Debug, Clone)]
pub struct File {
    /// The folder it is in.
    pub area: String,
    /// Its name without `.idl`.
    pub name: String,
    /// Its text and path.
    pub source: Arc<Source>,
    /// The `//!` lines.
    pub header: Doc,
    /// Features, structures and actions.
    pub items: Vec<Item>,
}

/// Lines of documentation, without their slashes.
#[derive(Debug, Clone, Default)]
pub struct Doc {
    /// In order.
    pub lines: Vec<Name>,
}

/// What a file is made of.
#[derive(Debug, Clone)]
pub struct Item {
    /// The `///` lines before it.
    pub doc: Doc,
    /// A word before the kind: `internal`, `debug`.
    pub modifier: Option<Name>,
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of items.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `feature NAME { ... }`
    Feature(Vec<Clause>),
    /// `struct NAME { ... }`
    Struct(Vec<Field>),
    /// `action NAME @N (...) -> ... { ... }`
    Action(Box<Action>),
}

/// What an action has besides its name.
#[derive(Debug, Clone)]
pub struct Action {
    /// The procedure number.
    pub number: Ordinal,
    /// The parameters.
    pub params: Vec<Param>,
    /// What is after `->`.
    pub result: Option<Param>,
    /// All `options` blocks, each with its options.
    pub options: Vec<Options>,
    /// The clauses.
    pub clauses: Vec<Clause>,
}

/// An `options { ... }` block.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the block is.
    pub span: Span,
    /// The options in the block.
    pub options: Vec<Field>,
}

/// `name: type`
#[derive(Debug, Clone)]
pub struct Param {
    /// The name.
    pub name: Name,
    /// The type.
    pub ty: Type,
}

/// A field of a structure, or an option.
#[derive(Debug, Clone)]
pub struct Field {
    /// The `///` lines before it.
    pub doc: Doc,
    /// The name.
    pub name: Name,
    /// The bit of an option.
    pub bit: Option<Ordinal>,
    /// The type.
    pub ty: Type,
}

/// `name`, `name?`, `name<type, ...>`
#[derive(Debug, Clone)]
pub struct Type {
    /// The word.
    pub name: String,
    /// What is between `<` and `>`.
    pub arguments: Vec<Type>,
    /// There is a `?` after it.
    pub nullable: bool,
    /// All of it.
    pub span: Span,
}

/// Words up to a `;`
#[derive(Debug, Clone)]
pub struct Clause {
    /// At least one.
    pub atoms: Vec<Atom>,
    /// All of it, without the `;`.
    pub span: Span,
}

/// A word of a clause.
#[derive(Debug, Clone)]
pub struct Atom {
    /// The text; of a string, what is between the quotes.
    pub text: String,
    /// What it is.
    pub kind: AtomKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of words in a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomKind {
    /// `progress`
    Word,
    /// `"mkfs.xfs"`
    String,
    /// `7`
    Number,
    /// `1.48`
    Version,
}

impl Type {
    /// The type as it was written.
    #[must_use]
    pub fn source_text(&self) -> &str {
        self.span
            .source
            .text
            .get(self.span.start..self.span.end)
            .unwrap_or(&self.name)
    }
}
