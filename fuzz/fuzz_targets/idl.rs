//! Any text as an IDL file: it is refused, with something to show, or it becomes Rust; and nothing
//! panics.

#![no_main]

use codegen::diagnostics::Source;
use codegen::{Input, emit, load_inputs};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source {
        path: "fuzz.idl".into(),
        text: text.to_owned(),
    };
    let input = Input {
        area: "file".to_owned(),
        name: "fuzz".to_owned(),
        source,
    };
    match load_inputs(vec![input]) {
        Ok(model) => {
            for module in &model.modules {
                emit::module_text(&model, module).expect("what is accepted becomes Rust");
            }
        }
        Err(wrong) => assert!(!wrong.to_string().is_empty()),
    }
});
