//! The API reference: Markdown, one page per IDL file and one that lists them;
//! and the protocol as an `.x` file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::check::references;
use crate::model::{
    Action, Deprecation, Doc, Feature, ListItem, Model, Module, OptionType, ParamType, Probe,
    ResultItem, ResultType, Struct, Visibility,
};

/// The pages, each with its path below the reference's folder.
///
/// Retired actions are left out: no current client has them.
#[must_use]
pub fn reference(model: &Model) -> Vec<(PathBuf, String)> {
    let links = Links::new(model);
    let mut pages = vec![
        (PathBuf::from("README.md"), contents(model)),
        (PathBuf::from("guestfs_protocol.x"), super::x(model)),
    ];
    for module in &model.modules {
        let path = PathBuf::from(&module.area).join(format!("{}.md", module.name));
        pages.push((path, page(module, &links)));
    }
    pages
}

/// Where each action, structure and feature is described, from a page's folder.
struct Links<'a>(BTreeMap<&'a str, String>);

impl<'a> Links<'a> {
    fn new(model: &'a Model) -> Self {
        let mut links = BTreeMap::new();
        for module in &model.modules {
            let page = format!("../{}/{}.md", module.area, module.name);
            let features = module
                .features
                .iter()
                .map(|feature| (&feature.name, format!("feature-{}", feature.name)));
            let structs = module
                .structs
                .iter()
                .map(|item| (&item.name, format!("struct-{}", item.name)));
            let actions = shown(module).map(|action| (&action.name, action.name.to_lowercase()));
            // An action comes last, so that its name wins over a structure's of the same name.
            for (name, anchor) in features.chain(structs).chain(actions) {
                links.insert(name.as_str(), format!("{page}#{anchor}"));
            }
        }
        Self(links)
    }

    /// Markdown of a line of a description, its `[references]` made into links.
    fn text(&self, line: &str) -> String {
        let mut text = String::with_capacity(line.len());
        let mut written = 0;
        for (name, start) in references(line) {
            let end = start + name.len() + 1;
            text.push_str(line.get(written..end).unwrap_or_default());
            if let Some(target) = self.0.get(name) {
                let _ = write!(text, "({target})");
            }
            written = end;
        }
        text + line.get(written..).unwrap_or_default()
    }

    fn name(&self, name: &str) -> String {
        self.0.get(name).map_or_else(
            || format!("`{name}`"),
            |target| format!("[{name}]({target})"),
        )
    }
}

fn shown(module: &Module) -> impl Iterator<Item = &Action> {
    module
        .actions
        .iter()
        .filter(|action| action.retired.is_none())
}

fn contents(model: &Model) -> String {
    let mut text = String::from(
        "# Reference\n\n\
         Generated from `idl/` by `cargo xtask docs`. The wire format of every call is in\n\
         [guestfs_protocol.x](guestfs_protocol.x). `cargo xtask status --pending` names the\n\
         actions that have no handler yet and fail with ENOTSUP.\n",
    );
    let mut area = "";
    for module in &model.modules {
        if module.area != area {
            area = &module.area;
            let _ = write!(
                text,
                "\n## {area}\n\n| module | actions | |\n|---|---|---|\n"
            );
        }
        let _ = writeln!(
            text,
            "| [{}]({area}/{}.md) | {} | {} |",
            module.name,
            module.name,
            shown(module).count(),
            cell(&module.doc.summary)
        );
    }
    text
}

fn page(module: &Module, links: &Links<'_>) -> String {
    let mut text = format!("# {}/{}\n\n", module.area, module.name);
    description(&mut text, &module.doc, links);
    for feature in &module.features {
        describe_feature(&mut text, feature, links);
    }
    for item in &module.structs {
        describe_struct(&mut text, item, links);
    }
    for action in shown(module) {
        describe_action(&mut text, action, links);
    }
    let own = format!("(../{}/{}.md#", module.area, module.name);
    let mut text = text.trim_end().replace(&own, "(#");
    text.push('\n');
    text
}

fn description(text: &mut String, doc: &Doc, links: &Links<'_>) {
    let _ = writeln!(text, "{}\n", links.text(&doc.summary));
    if !doc.body.is_empty() {
        for line in doc.body.lines() {
            let _ = writeln!(text, "{}", links.text(line));
        }
        text.push('\n');
    }
}

fn describe_feature(text: &mut String, feature: &Feature, links: &Links<'_>) {
    let _ = write!(text, "## Feature {}\n\n", feature.name);
    description(text, &feature.doc, links);
    let probes: Vec<String> = feature
        .probes
        .iter()
        .map(|probe| match probe {
            Probe::Always => "always".to_owned(),
            Probe::Program(name) => format!("with the program `{name}`"),
            Probe::KernelFilesystem(name) => {
                format!("when the kernel knows the filesystem `{name}`")
            }
            Probe::Path(path) => format!("when `{path}` exists"),
            Probe::Library(name) => format!("with the library `{name}`"),
        })
        .collect();
    if !probes.is_empty() {
        let _ = write!(text, "Available {}.\n\n", probes.join(" and "));
    }
}

fn describe_struct(text: &mut String, item: &Struct, links: &Links<'_>) {
    let _ = write!(text, "## Struct {}\n\n", item.name);
    description(text, &item.doc, links);
    text.push_str("| field | type | |\n|---|---|---|\n");
    for field in &item.fields {
        let meaning = links.text(&joined(&field.doc));
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            field.name,
            field.ty.word(),
            cell(&meaning)
        );
    }
    text.push('\n');
}

fn describe_action(text: &mut String, action: &Action, links: &Links<'_>) {
    let _ = write!(text, "## {}\n\n", action.name);
    let params: Vec<String> = action
        .params
        .iter()
        .map(|p| format!("{}: {}", p.name, param_type(p.ty)))
        .collect();
    let _ = write!(text, "    {}({})", action.name, params.join(", "));
    if let Some(result) = &action.result {
        let _ = write!(text, " -> {}: {}", result.name, result_type(&result.ty));
    }
    text.push_str("\n\n");
    description(text, &action.doc, links);
    if !action.options.is_empty() {
        text.push_str("| option | type | |\n|---|---|---|\n");
        for option in &action.options {
            let meaning = links.text(&joined(&option.doc));
            let _ = writeln!(
                text,
                "| `{}` | {} | {} |",
                option.name,
                option_type(option.ty),
                cell(&meaning)
            );
        }
        text.push('\n');
    }
    let _ = write!(text, "{}\n\n", facts(action, links).join(" "));
}

/// One short sentence per property.
fn facts(action: &Action, links: &Links<'_>) -> Vec<String> {
    let mut facts = vec![format!("Since {}.", action.since)];
    match action.visibility {
        Visibility::Public => {}
        Visibility::Internal => facts.push("Internal: only the library calls it.".to_owned()),
        Visibility::Debug => facts.push("For debugging.".to_owned()),
    }
    match &action.deprecated {
        None => {}
        Some(Deprecation::NoReplacement) => {
            facts.push("Deprecated; nothing replaces it.".to_owned())
        }
        Some(Deprecation::By(name)) => facts.push(format!("Deprecated; use {}.", links.name(name))),
        Some(Deprecation::ByLibrary(name)) => {
            facts.push(format!("Deprecated; use the library's `{name}`."))
        }
    }
    if let Some(feature) = &action.feature {
        facts.push(format!("Feature {}.", links.name(feature)));
    }
    if action.progress {
        facts.push("Reports progress.".to_owned());
    }
    if action.cancellable {
        facts.push("Can be cancelled.".to_owned());
    }
    if action.limit_protocol {
        facts.push("Limited to what fits into one message (4 MiB).".to_owned());
    }
    if !action.aliases.is_empty() {
        facts.push(format!(
            "Also `{}` in guestfish.",
            action.aliases.join("`, `")
        ));
    }
    facts
}

/// All of a short description on one line.
fn joined(doc: &Doc) -> String {
    let body = doc.body.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{} {body}", doc.summary).trim().to_owned()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn param_type(ty: ParamType) -> &'static str {
    match ty {
        ParamType::String => "string",
        ParamType::NullableString => "string?",
        ParamType::Text => "text",
        ParamType::Guid => "guid",
        ParamType::Key => "key",
        ParamType::Pathname => "pathname",
        ParamType::Device => "device",
        ParamType::Mountable => "mountable",
        ParamType::DeviceOrPath => "device_or_path",
        ParamType::MountableOrPath => "mountable_or_path",
        ParamType::Buffer => "buffer",
        ParamType::Int => "int",
        ParamType::Int64 => "int64",
        ParamType::Bool => "bool",
        ParamType::FileIn => "file_in",
        ParamType::FileOut => "file_out",
        ParamType::Descriptor => "descriptor",
        ParamType::List(ListItem::String) => "list<string>",
        ParamType::List(ListItem::Text) => "list<text>",
        ParamType::List(ListItem::Pathname) => "list<pathname>",
        ParamType::List(ListItem::Filename) => "list<filename>",
        ParamType::List(ListItem::Device) => "list<device>",
    }
}

fn option_type(ty: OptionType) -> &'static str {
    match ty {
        OptionType::Bool => "bool",
        OptionType::Int => "int",
        OptionType::Int64 => "int64",
        OptionType::String => "string",
        OptionType::Text => "text",
        OptionType::StringList => "list\\<string\\>",
    }
}

fn result_type(ty: &ResultType) -> String {
    let item = |item: &ResultItem| match item {
        ResultItem::String => "string",
        ResultItem::Text => "text",
        ResultItem::Device => "device",
        ResultItem::Mountable => "mountable",
    };
    match ty {
        ResultType::Int => "int".to_owned(),
        ResultType::Int64 => "int64".to_owned(),
        ResultType::Bool => "bool".to_owned(),
        ResultType::Buffer => "buffer".to_owned(),
        ResultType::Scalar(scalar) => item(scalar).to_owned(),
        ResultType::List(list) => format!("list<{}>", item(list)),
        ResultType::Map(key, value) => format!("map<{}, {}>", item(key), item(value)),
        ResultType::Struct(name) => name.clone(),
        ResultType::StructList(name) => format!("list<{name}>"),
    }
}
