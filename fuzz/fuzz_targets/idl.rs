//! Any text as an IDL file: it parses or it does not, and nothing panics.

#![no_main]

use std::sync::Arc;

use codegen::diagnostics::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Arc::new(Source {
        path: "fuzz.idl".into(),
        text: text.to_owned(),
    });
    if let Err(diagnostic) = codegen::parse::parse("file", "fuzz", &source) {
        let _ = diagnostic.to_string();
    }
});
