//! The wire types: what XDR sees of the types of the IDL.

use crate::model::{Action, Field, FieldType, OptionType, ParamType, ResultItem, ResultType};

/// A type as XDR knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireType {
    /// `int`
    Int,
    /// `unsigned int`
    UInt,
    /// `hyper`
    Hyper,
    /// `unsigned hyper`
    UHyper,
    /// `bool`
    Bool,
    /// `float`
    Float,
    /// A byte sent as an `int`.
    Char,
    /// `opaque [32]`
    Opaque32,
    /// `opaque <>`
    Opaque,
    /// `string <>`
    String,
    /// `string *`: a string or nothing.
    OptionalString,
    /// An array of strings.
    StringList,
    /// A structure.
    Struct(String),
    /// An array of structures.
    StructList(String),
    /// Not in the message: chunks after it, from the library.
    FileIn,
    /// Not in the message: chunks after it, from the daemon.
    FileOut,
    /// Not in the message: sent beside it, to a worker.
    Descriptor,
}

impl std::fmt::Display for WireType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Int => "int",
            Self::UInt => "unsigned",
            Self::Hyper => "hyper",
            Self::UHyper => "unsigned_hyper",
            Self::Bool => "bool",
            Self::Float => "float",
            Self::Char => "char",
            Self::Opaque32 => "opaque[32]",
            Self::Opaque => "opaque<>",
            Self::String => "string",
            Self::OptionalString => "string?",
            Self::StringList => "string<>",
            Self::Struct(name) => return write!(f, "struct {name}"),
            Self::StructList(name) => return write!(f, "struct {name}<>"),
            Self::FileIn => "file_in",
            Self::FileOut => "file_out",
            Self::Descriptor => "descriptor",
        })
    }
}

/// The wire type of a parameter.
#[must_use]
pub fn param(ty: ParamType) -> WireType {
    match ty {
        ParamType::String
        | ParamType::Text
        | ParamType::Guid
        | ParamType::Key
        | ParamType::Pathname
        | ParamType::Device
        | ParamType::Mountable
        | ParamType::DeviceOrPath
        | ParamType::MountableOrPath => WireType::String,
        ParamType::NullableString => WireType::OptionalString,
        ParamType::Buffer => WireType::Opaque,
        ParamType::Int => WireType::Int,
        ParamType::Int64 => WireType::Hyper,
        ParamType::Bool => WireType::Bool,
        ParamType::FileIn => WireType::FileIn,
        ParamType::FileOut => WireType::FileOut,
        ParamType::Descriptor => WireType::Descriptor,
        ParamType::List(_) => WireType::StringList,
    }
}

/// The wire type of an option.
#[must_use]
pub fn option(ty: OptionType) -> WireType {
    match ty {
        OptionType::Bool => WireType::Bool,
        OptionType::Int => WireType::Int,
        OptionType::Int64 => WireType::Hyper,
        OptionType::String | OptionType::Text => WireType::String,
        OptionType::StringList => WireType::StringList,
    }
}

/// The wire type of a structure field.
#[must_use]
pub fn field(ty: FieldType) -> WireType {
    match ty {
        FieldType::Int32 => WireType::Int,
        FieldType::UInt32 => WireType::UInt,
        FieldType::Int64 | FieldType::Bytes => WireType::Hyper,
        FieldType::UInt64 => WireType::UHyper,
        FieldType::Uuid => WireType::Opaque32,
        FieldType::OptPercent => WireType::Float,
        FieldType::Char => WireType::Char,
        FieldType::String | FieldType::Device => WireType::String,
        FieldType::Buffer => WireType::Opaque,
    }
}

/// The wire type of a result.
#[must_use]
pub fn result(ty: &ResultType) -> WireType {
    match ty {
        ResultType::Int => WireType::Int,
        ResultType::Int64 => WireType::Hyper,
        ResultType::Bool => WireType::Bool,
        ResultType::Buffer => WireType::Opaque,
        ResultType::Scalar(
            ResultItem::String | ResultItem::Text | ResultItem::Device | ResultItem::Mountable,
        ) => WireType::String,
        // A map is sent as its keys and values in turn.
        ResultType::List(_) | ResultType::Map(_, _) => WireType::StringList,
        ResultType::Struct(name) => WireType::Struct(name.clone()),
        ResultType::StructList(name) => WireType::StructList(name.clone()),
    }
}

/// What the body of a call holds: the parameters that are not files, then the options.
#[must_use]
pub fn call(action: &Action) -> Vec<(&str, WireType)> {
    let params = action.params.iter().map(|p| (p.name.as_str(), param(p.ty)));
    let options = action
        .options
        .iter()
        .map(|o| (o.name.as_str(), option(o.ty)));
    params
        .chain(options)
        .filter(|(_, ty)| {
            !matches!(
                ty,
                WireType::FileIn | WireType::FileOut | WireType::Descriptor
            )
        })
        .collect()
}

/// What the body of a reply holds.
#[must_use]
pub fn reply(action: &Action) -> Option<(&str, WireType)> {
    action
        .result
        .as_ref()
        .map(|r| (r.name.as_str(), result(&r.ty)))
}

/// What a structure holds.
#[must_use]
pub fn fields(fields: &[Field]) -> Vec<(&str, WireType)> {
    fields
        .iter()
        .map(|f| (f.name.as_str(), field(f.ty)))
        .collect()
}
