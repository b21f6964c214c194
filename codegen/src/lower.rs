//! [`ast`] to [`model`](crate::model), after every check has passed.

use std::collections::HashSet;

use crate::ast;
use crate::clauses;
use crate::diagnostics::Diagnostics;
use crate::model::{
    Action, Doc, Feature, Field, Model, Module, OptionParam, Param, ResultValue, Struct, Visibility,
};
use crate::types;

/// Resolves the files.
///
/// Whatever a check would have refused is left out.
pub(crate) fn lower(files: &[ast::File], workers: &[ast::File]) -> Model {
    let structs = structs(files);
    Model {
        modules: files.iter().map(|file| module(file, &structs)).collect(),
        workers: workers
            .iter()
            .map(|file| module(file, &self::structs(std::slice::from_ref(file))))
            .collect(),
    }
}

/// The names of all structures.
fn structs(files: &[ast::File]) -> HashSet<&str> {
    files
        .iter()
        .flat_map(|file| &file.items)
        .filter(|item| matches!(item.kind, ast::Kind::Struct(_)))
        .map(|item| item.name.text.as_str())
        .collect()
}

fn module(file: &ast::File, structs: &HashSet<&str>) -> Module {
    let mut module = Module {
        area: file.area.clone(),
        name: file.name.clone(),
        path: file.source.path.clone(),
        doc: doc(&file.header),
        features: Vec::new(),
        structs: Vec::new(),
        actions: Vec::new(),
    };
    for item in &file.items {
        match &item.kind {
            ast::Kind::Feature(clauses) => module.features.push(feature(item, clauses)),
            ast::Kind::Struct(fields) => module.structs.push(structure(item, fields)),
            ast::Kind::Action(inner) => module.actions.push(action(item, inner, structs)),
        }
    }
    module
}

fn doc(doc: &ast::Doc) -> Doc {
    let mut lines = doc.lines.iter().map(|line| line.text.as_str());
    let summary = lines.next().unwrap_or_default().to_owned();
    let body = lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    Doc { summary, body }
}

fn feature(item: &ast::Item, written: &[ast::Clause]) -> Feature {
    let said = clauses::feature(written, &mut Diagnostics::default());
    Feature {
        name: item.name.text.clone(),
        doc: doc(&item.doc),
        probes: said.probes.into_iter().map(|(probe, _)| probe).collect(),
        worker: said.worker.map(|worker| worker.text),
    }
}

fn structure(item: &ast::Item, fields: &[ast::Field]) -> Struct {
    let fields = fields
        .iter()
        .filter_map(|field| {
            Some(Field {
                name: field.name.text.clone(),
                ty: types::field(&field.ty)?,
                doc: doc(&field.doc),
            })
        })
        .collect();
    Struct {
        name: item.name.text.clone(),
        doc: doc(&item.doc),
        internal: item.modifier.is_some(),
        fields,
    }
}

fn action(item: &ast::Item, inner: &ast::Action, structs: &HashSet<&str>) -> Action {
    let said = clauses::action(&inner.clauses, &mut Diagnostics::default());
    let params = inner
        .params
        .iter()
        .filter_map(|param| {
            Some(Param {
                name: param.name.text.clone(),
                ty: types::param(&param.ty)?,
            })
        })
        .collect();
    let result = inner.result.as_ref().and_then(|result| {
        let ty = types::result(&result.ty, |name| structs.contains(name))?;
        Some(ResultValue {
            name: result.name.text.clone(),
            ty,
        })
    });
    let mut options: Vec<&ast::Field> = inner
        .options
        .iter()
        .flat_map(|block| &block.options)
        .collect();
    options.sort_by_key(|option| option.bit.as_ref().and_then(|bit| bit.value));
    let options = options
        .into_iter()
        .filter_map(|option| {
            let ty = types::option(&option.ty)?;
            Some(OptionParam {
                name: option.name.text.clone(),
                ty,
                doc: doc(&option.doc),
            })
        })
        .collect();
    Action {
        name: item.name.text.clone(),
        number: inner.number.value.unwrap_or_default(),
        visibility: match item
            .modifier
            .as_ref()
            .map(|modifier| modifier.text.as_str())
        {
            Some("internal") => Visibility::Internal,
            Some("debug") => Visibility::Debug,
            _ => Visibility::Public,
        },
        doc: doc(&item.doc),
        params,
        options,
        result,
        since: said.since.map(|since| since.text).unwrap_or_default(),
        retired: said.retired.map(|retired| retired.text),
        feature: said.feature.map(|feature| feature.text),
        deprecated: said.deprecated.map(|(deprecation, _)| deprecation),
        progress: said.progress,
        progress_undocumented: said.progress_undocumented,
        cancellable: said.cancellable.is_some(),
        limit_protocol: said.limit_protocol,
        once_optionless: said.once_optionless.is_some(),
        aliases: said.aliases.into_iter().map(|alias| alias.text).collect(),
        output: said.output,
        pending: said.pending,
    }
}
