//! `cargo xtask facts`: the IDL against a machine-readable list of what libguestfs has.
//!
//! Both sides are turned into the same flat form, name and value of each
//! property, so that nothing is compared that is not also shown.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use codegen::model::{
    Action, Deprecation, ListItem, Model, OptionType, OutputForm, ParamType, ResultItem,
    ResultType, Visibility,
};
use serde_json::Value;

/// Compare the IDL, field by field, with actions.json and retired.json of a facts directory.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the two files are.
    #[arg(default_value = "../shared/facts")]
    directory: PathBuf,
}

/// Properties where the IDL deliberately says something else, with the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "action internal_exit",
    "cancellable",
    "libguestfs flags it, but it streams no file, so there is nothing to cancel",
)];

/// The properties of every item, by item: `"action mount"` -> `"number"` -> `"1"`.
type Items = BTreeMap<String, BTreeMap<String, String>>;

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let actions = read(&self.directory.join("actions.json"))?;
        let retired = read(&self.directory.join("retired.json"))?;
        let facts = of_facts(&actions, &retired)?;
        let idl = of_model(&crate::model()?, &names(&actions, "optgroups_retired"));
        let mut differences = 0;
        let mut excused = 0;
        let mut compared = 0;
        let items: BTreeSet<&String> = facts.keys().chain(idl.keys()).collect();
        for item in items {
            let (Some(fact), Some(ours)) = (facts.get(item), idl.get(item)) else {
                let side = if facts.contains_key(item) {
                    "missing from the IDL"
                } else {
                    "not in the facts"
                };
                println!("{item}: {side}");
                differences += 1;
                continue;
            };
            for property in fact.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                compared += 1;
                let (theirs, ours) = (fact.get(property), ours.get(property));
                if theirs == ours {
                    continue;
                }
                if let Some((_, _, reason)) = EXCEPTIONS
                    .iter()
                    .find(|(i, p, _)| i == item && p == property)
                {
                    println!("{item}: {property}: excused: {reason}");
                    excused += 1;
                } else {
                    let show =
                        |value: Option<&String>| value.map_or("nothing", String::as_str).to_owned();
                    println!(
                        "{item}: {property}: the facts say {}, the IDL says {}",
                        show(theirs),
                        show(ours)
                    );
                    differences += 1;
                }
            }
        }
        println!(
            "{} items, {compared} properties, {excused} excused, {differences} differences",
            facts.len()
        );
        if differences > 0 {
            bail!("the IDL differs from the facts");
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn names(value: &Value, key: &str) -> BTreeSet<String> {
    list(value, key)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The value of `key` as text; absent and null are `None`, and so is `false`.
fn text(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("true".to_owned()),
        _ => None,
    }
}

/// Properties with a value.
fn properties<const N: usize>(list: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    list.into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

fn joined(items: impl Iterator<Item = String>) -> Option<String> {
    Some(items.collect::<Vec<_>>().join(", "))
}

fn of_facts(current: &Value, retired: &Value) -> anyhow::Result<Items> {
    let mut items = Items::new();
    for action in list(current, "actions").chain(list(retired, "actions")) {
        let name = text(action, "name").context("an action without a name")?;
        let is_retired = action.get("last_client").is_some();
        let visibility = text(action, "visibility").unwrap_or_else(|| {
            if name.starts_with("internal_") {
                "internal"
            } else {
                "public"
            }
            .to_owned()
        });
        let replacement = text(action, "deprecated");
        let aliases = names(action, "fish_alias");
        let mut all = properties([
            ("number", text(action, "proc_nr")),
            ("since", text(action, "added")),
            ("retired", text(action, "last_client")),
            ("visibility", Some(visibility)),
            ("params", joined(list(action, "args").map(typed))),
            ("options", joined(list(action, "optargs").map(typed))),
            ("result", action.get("ret").and_then(fact_result)),
            ("deprecated", replacement),
            ("progress", text(action, "progress")),
            ("limit protocol", text(action, "protocol_limit_warning")),
            ("once optionless", text(action, "once_had_no_optargs")),
            ("aliases", joined(aliases.into_iter())),
            ("output", text(action, "fish_output")),
            ("feature", text(action, "optional")),
            ("cancellable", text(action, "cancellable")),
        ]);
        if is_retired {
            // Of these, the facts do not say what guestfish and the documentation said.
            all.remove("deprecated");
        }
        items.insert(format!("action {name}"), all);
    }
    for structure in list(current, "structs") {
        let name = text(structure, "name").context("a struct without a name")?;
        let fields = list(structure, "fields").map(typed);
        let all = properties([
            ("internal", text(structure, "internal")),
            ("fields", joined(fields)),
        ]);
        items.insert(format!("struct {name}"), all);
    }
    for group in list(current, "optgroups") {
        let name = text(group, "name").context("a feature without a name")?;
        items.insert(
            format!("feature {name}"),
            properties([("actions", joined(names(group, "actions").into_iter()))]),
        );
    }
    for name in names(current, "optgroups_retired") {
        items.insert(
            format!("feature {name}"),
            properties([("actions", joined(std::iter::empty()))]),
        );
    }
    Ok(items)
}

/// `name: String/Pathname`, `size: OInt64`
fn typed(value: &Value) -> String {
    let field = |key: &str| text(value, key).unwrap_or_default();
    match text(value, "kind") {
        Some(kind) => format!("{}: {}/{kind}", field("name"), field("type")),
        None => format!("{}: {}", field("name"), field("type")),
    }
}

fn fact_result(value: &Value) -> Option<String> {
    let ty = text(value, "type")?;
    let details = ["kind", "key_kind", "value_kind", "struct"]
        .iter()
        .filter_map(|key| text(value, key));
    let shape = std::iter::once(ty.clone())
        .chain(details)
        .collect::<Vec<_>>()
        .join("/");
    (ty != "RErr").then(|| format!("{}: {shape}", text(value, "name").unwrap_or_default()))
}

/// The IDL in the words of the facts. `retired_features` are asked for by old
/// clients only; the facts do not say which actions were in them.
fn of_model(model: &Model, retired_features: &BTreeSet<String>) -> Items {
    let mut items = Items::new();
    let in_facts = |feature: &String| !retired_features.contains(feature);
    for action in model.modules.iter().flat_map(|module| &module.actions) {
        items.insert(
            format!("action {}", action.name),
            of_action(action, in_facts),
        );
    }
    for structure in model.modules.iter().flat_map(|module| &module.structs) {
        let fields = structure
            .fields
            .iter()
            .map(|field| format!("{}: {}", field.name, field.ty.word()));
        let all = properties([
            ("internal", flag(structure.internal)),
            ("fields", joined(fields)),
        ]);
        items.insert(format!("struct {}", structure.name), all);
    }
    for feature in model.modules.iter().flat_map(|module| &module.features) {
        let members: BTreeSet<String> = model
            .modules
            .iter()
            .flat_map(|module| &module.actions)
            .filter(|action| action.feature.as_ref() == Some(&feature.name))
            .filter(|action| action.feature.as_ref().is_some_and(in_facts))
            .map(|action| action.name.clone())
            .collect();
        items.insert(
            format!("feature {}", feature.name),
            properties([("actions", joined(members.into_iter()))]),
        );
    }
    items
}

fn flag(set: bool) -> Option<String> {
    set.then(|| "true".to_owned())
}

fn of_action(action: &Action, in_facts: impl Fn(&String) -> bool) -> BTreeMap<String, String> {
    let visibility = match action.visibility {
        Visibility::Public => "public",
        Visibility::Internal => "internal",
        Visibility::Debug => "debug",
    };
    let deprecated = action
        .deprecated
        .as_ref()
        .map(|deprecation| match deprecation {
            Deprecation::NoReplacement => "no replacement".to_owned(),
            Deprecation::By(name) | Deprecation::ByLibrary(name) => name.clone(),
        });
    let output = action.output.map(|form| match form {
        OutputForm::Hex => "hex".to_owned(),
        OutputForm::Octal => "octal".to_owned(),
    });
    let aliases: BTreeSet<String> = action.aliases.iter().cloned().collect();
    let mut all = properties([
        ("number", Some(action.number.to_string())),
        ("since", Some(action.since.clone())),
        ("retired", action.retired.clone()),
        ("visibility", Some(visibility.to_owned())),
        (
            "params",
            joined(
                action
                    .params
                    .iter()
                    .map(|param| format!("{}: {}", param.name, param_type(param.ty))),
            ),
        ),
        (
            "options",
            joined(
                action
                    .options
                    .iter()
                    .map(|option| format!("{}: {}", option.name, option_type(option.ty))),
            ),
        ),
        (
            "result",
            action
                .result
                .as_ref()
                .map(|result| format!("{}: {}", result.name, result_type(&result.ty))),
        ),
        ("deprecated", deprecated),
        ("progress", flag(action.progress)),
        ("limit protocol", flag(action.limit_protocol)),
        ("once optionless", flag(action.once_optionless)),
        ("aliases", joined(aliases.into_iter())),
        ("output", output),
        ("feature", action.feature.clone().filter(in_facts)),
        ("cancellable", flag(action.cancellable)),
    ]);
    if action.retired.is_some() {
        all.remove("deprecated");
    }
    all
}

fn param_type(ty: ParamType) -> &'static str {
    match ty {
        ParamType::String | ParamType::Text => "String/PlainString",
        ParamType::NullableString => "OptString",
        ParamType::Guid => "String/GUID",
        ParamType::Key => "String/Key",
        ParamType::Pathname => "String/Pathname",
        ParamType::Device => "String/Device",
        ParamType::Mountable => "String/Mountable",
        ParamType::DeviceOrPath => "String/Dev_or_Path",
        ParamType::MountableOrPath => "String/Mountable_or_Path",
        ParamType::Buffer => "BufferIn",
        ParamType::Int => "Int",
        ParamType::Int64 => "Int64",
        ParamType::Bool => "Bool",
        ParamType::FileIn => "String/FileIn",
        ParamType::FileOut => "String/FileOut",
        ParamType::List(ListItem::String | ListItem::Text) => "StringList/PlainString",
        ParamType::List(ListItem::Pathname) => "StringList/Pathname",
        ParamType::List(ListItem::Filename) => "StringList/Filename",
        ParamType::List(ListItem::Device) => "StringList/Device",
        // No client can send one.
        ParamType::Descriptor => "Descriptor",
    }
}

fn option_type(ty: OptionType) -> &'static str {
    match ty {
        OptionType::Bool => "OBool",
        OptionType::Int => "OInt",
        OptionType::Int64 => "OInt64",
        OptionType::String | OptionType::Text => "OString",
        OptionType::StringList => "OStringList",
    }
}

fn result_type(ty: &ResultType) -> String {
    match ty {
        ResultType::Int => "RInt".to_owned(),
        ResultType::Int64 => "RInt64".to_owned(),
        ResultType::Bool => "RBool".to_owned(),
        ResultType::Buffer => "RBufferOut".to_owned(),
        ResultType::Scalar(item) => format!("RString/{}", result_item(*item)),
        ResultType::List(item) => format!("RStringList/{}", result_item(*item)),
        ResultType::Map(key, value) => {
            format!("RHashtable/{}/{}", result_item(*key), result_item(*value))
        }
        ResultType::Struct(name) => format!("RStruct/{name}"),
        ResultType::StructList(name) => format!("RStructList/{name}"),
    }
}

fn result_item(item: ResultItem) -> &'static str {
    match item {
        ResultItem::String | ResultItem::Text => "Plain",
        ResultItem::Device => "Device",
        ResultItem::Mountable => "Mountable",
    }
}
