//! Type words and what they stand for.

use crate::ast::Type;
use crate::model::{FieldType, ListItem, OptionType, ParamType, ResultItem, ResultType};

/// Words for the types of parameters.
pub(crate) const PARAM_WORDS: &[&str] = &[
    "string",
    "text",
    "guid",
    "key",
    "pathname",
    "device",
    "mountable",
    "device_or_path",
    "mountable_or_path",
    "buffer",
    "int",
    "int64",
    "bool",
    "file_in",
    "file_out",
    "list",
];
/// Words for the types of parameters of calls to a worker, which gets nothing that it would have to
/// look up.
pub(crate) const WORKER_PARAM_WORDS: &[&str] = &[
    "descriptor",
    "string",
    "text",
    "buffer",
    "int",
    "int64",
    "bool",
    "list",
];
/// Words for what a list parameter of a call to a worker holds.
pub(crate) const WORKER_LIST_WORDS: &[&str] = &["string", "text"];
/// Words for the types of results of a worker, besides the names of structures.
pub(crate) const WORKER_RESULT_WORDS: &[&str] = &[
    "int", "int64", "bool", "buffer", "string", "text", "list", "map",
];
/// Words for what a result list or map of a worker holds.
pub(crate) const WORKER_ITEM_WORDS: &[&str] = &["string", "text"];
/// Words for what a list parameter holds.
pub(crate) const LIST_WORDS: &[&str] = &["string", "text", "pathname", "filename", "device"];
/// Words for the types of options.
pub(crate) const OPTION_WORDS: &[&str] = &["bool", "int", "int64", "string", "text", "list"];
/// Words for the types of structure fields.
pub(crate) const FIELD_WORDS: &[&str] = &[
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bytes",
    "uuid",
    "optpercent",
    "char",
    "string",
    "device",
    "buffer",
];
/// Words for the types of the fields of a worker's structures.
pub(crate) const WORKER_FIELD_WORDS: &[&str] = &[
    "int32", "uint32", "int64", "uint64", "bytes", "string", "buffer",
];
/// Words for the types of results, besides the names of structures.
pub(crate) const RESULT_WORDS: &[&str] = &[
    "int",
    "int64",
    "bool",
    "buffer",
    "string",
    "text",
    "device",
    "mountable",
    "list",
    "map",
];
/// Words for what a result list or map holds, besides the names of structures.
pub(crate) const RESULT_ITEM_WORDS: &[&str] = &["string", "text", "device", "mountable"];

/// The type of a parameter.
pub(crate) fn param(ty: &Type) -> Option<ParamType> {
    if let Some(item) = list_of(ty) {
        return Some(ParamType::List(list_item(item)?));
    }
    Some(match plain(ty) {
        Some("string") => ParamType::String,
        Some("text") => ParamType::Text,
        Some("guid") => ParamType::Guid,
        Some("key") => ParamType::Key,
        Some("pathname") => ParamType::Pathname,
        Some("device") => ParamType::Device,
        Some("mountable") => ParamType::Mountable,
        Some("device_or_path") => ParamType::DeviceOrPath,
        Some("mountable_or_path") => ParamType::MountableOrPath,
        Some("buffer") => ParamType::Buffer,
        Some("int") => ParamType::Int,
        Some("int64") => ParamType::Int64,
        Some("bool") => ParamType::Bool,
        Some("file_in") => ParamType::FileIn,
        Some("file_out") => ParamType::FileOut,
        Some("descriptor") => ParamType::Descriptor,
        None if ty.name == "string" && ty.nullable && ty.arguments.is_empty() => {
            ParamType::NullableString
        }
        _ => return None,
    })
}

fn list_item(ty: &Type) -> Option<ListItem> {
    Some(match plain(ty)? {
        "string" => ListItem::String,
        "text" => ListItem::Text,
        "pathname" => ListItem::Pathname,
        "filename" => ListItem::Filename,
        "device" => ListItem::Device,
        _ => return None,
    })
}

/// The type of an option.
pub(crate) fn option(ty: &Type) -> Option<OptionType> {
    if let Some(item) = list_of(ty) {
        return (plain(item)? == "string").then_some(OptionType::StringList);
    }
    Some(match plain(ty)? {
        "bool" => OptionType::Bool,
        "int" => OptionType::Int,
        "int64" => OptionType::Int64,
        "string" => OptionType::String,
        "text" => OptionType::Text,
        _ => return None,
    })
}

/// The type of a structure field.
pub(crate) fn field(ty: &Type) -> Option<FieldType> {
    Some(match plain(ty)? {
        "int32" => FieldType::Int32,
        "uint32" => FieldType::UInt32,
        "int64" => FieldType::Int64,
        "uint64" => FieldType::UInt64,
        "bytes" => FieldType::Bytes,
        "uuid" => FieldType::Uuid,
        "optpercent" => FieldType::OptPercent,
        "char" => FieldType::Char,
        "string" => FieldType::String,
        "device" => FieldType::Device,
        "buffer" => FieldType::Buffer,
        _ => return None,
    })
}

/// The type of a result; `is_struct` knows the names of structures.
pub(crate) fn result(ty: &Type, is_struct: impl Fn(&str) -> bool) -> Option<ResultType> {
    if let Some(item) = list_of(ty) {
        let name = plain(item)?;
        return match result_item(name) {
            Some(item) => Some(ResultType::List(item)),
            None => is_struct(name).then(|| ResultType::StructList(name.to_owned())),
        };
    }
    if let ("map", [key, value], false) = (ty.name.as_str(), ty.arguments.as_slice(), ty.nullable) {
        return Some(ResultType::Map(
            result_item(plain(key)?)?,
            result_item(plain(value)?)?,
        ));
    }
    let name = plain(ty)?;
    Some(match name {
        "int" => ResultType::Int,
        "int64" => ResultType::Int64,
        "bool" => ResultType::Bool,
        "buffer" => ResultType::Buffer,
        _ => match result_item(name) {
            Some(item) => ResultType::Scalar(item),
            None if is_struct(name) => ResultType::Struct(name.to_owned()),
            None => return None,
        },
    })
}

fn result_item(name: &str) -> Option<ResultItem> {
    Some(match name {
        "string" => ResultItem::String,
        "text" => ResultItem::Text,
        "device" => ResultItem::Device,
        "mountable" => ResultItem::Mountable,
        _ => return None,
    })
}

/// The word of a type that is nothing but a word.
pub(crate) fn plain(ty: &Type) -> Option<&str> {
    (ty.arguments.is_empty() && !ty.nullable).then_some(ty.name.as_str())
}

/// The argument of a `list<...>`.
pub(crate) fn list_of(ty: &Type) -> Option<&Type> {
    match (ty.name.as_str(), ty.arguments.as_slice(), ty.nullable) {
        ("list", [item], false) => Some(item),
        _ => None,
    }
}
