//! Whatever the text is, loading it ends, with a model that can be made into Rust, or with
//! diagnostics that can be shown.

use std::path::{Path, PathBuf};

use codegen::diagnostics::Source;
use codegen::{Input, emit, load_inputs};
use testkit::Numbers;

/// Text that means something to the parser, to put where it does not belong.
const PIECES: &[&str] = &[
    "action",
    "struct",
    "feature",
    "options",
    "internal ",
    "{",
    "}",
    "(",
    ")",
    "<",
    ">",
    ":",
    ";",
    ",",
    "@",
    "@0",
    "@18446744073709551616",
    "->",
    "?",
    "\"",
    "///",
    "//!",
    "//",
    "////",
    "\n",
    "\r\n",
    "\t",
    "\u{0}",
    "\u{feff}",
    "é",
    "𝄞",
    "list<",
    "map<string, ",
    "since 1.",
    "1.2.3",
    "[",
    "]",
    "`",
    "deprecated by ",
    "0",
    "99999999999999999999",
];

/// A place between two characters of `text`.
fn place(numbers: &mut Numbers, text: &str) -> usize {
    let mut place = numbers.index(text.len() + 1);
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

/// The accepted cases, and the project's own IDL where it is small enough to be parsed often.
fn seeds() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![
        root.join("tests/accept"),
        root.join("tests/reject"),
        root.join("../idl"),
    ];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
            .expect("a folder of seeds can be read")
            .map(|entry| entry.expect("an entry can be read").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "idl") {
                let text = std::fs::read_to_string(&path).expect("a seed can be read");
                if text.len() < 4096 {
                    texts.push(text);
                }
            }
        }
    }
    assert!(texts.len() > 20, "there are seeds");
    texts
}

fn mutate(text: &mut String, other: &str, numbers: &mut Numbers) {
    let (a, b) = (place(numbers, text), place(numbers, text));
    let (start, end) = (a.min(b), a.max(b));
    match numbers.below(6) {
        0 => text.truncate(start),
        1 => text.replace_range(start..end, ""),
        2 => text.insert_str(start, numbers.pick(PIECES)),
        3 => {
            let piece = text[start..end].to_owned();
            text.insert_str(end, &piece);
        }
        4 => {
            let (from, to) = (place(numbers, other), place(numbers, other));
            text.insert_str(start, &other[from.min(to)..from.max(to)]);
        }
        _ => text.replace_range(start..end, numbers.pick(PIECES)),
    }
}

fn load(text: String) -> bool {
    let source = Source {
        path: PathBuf::from("mutated.idl"),
        text,
    };
    match load_inputs(vec![Input {
        area: "test".to_owned(),
        name: "mutated".to_owned(),
        source,
    }]) {
        Ok(model) => {
            for module in &model.modules {
                emit::module_text(&model, module).expect("what is accepted becomes Rust");
            }
            true
        }
        Err(wrong) => {
            assert!(!wrong.is_empty(), "refused without a reason");
            let text = wrong.to_string();
            assert!(text.contains("error"), "cannot be shown: {text}");
            false
        }
    }
}

#[test]
fn nothing_panics() {
    let seeds = seeds();
    let mut numbers = Numbers::new(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let mut text = seeds[numbers.index(seeds.len())].clone();
        let other = &seeds[numbers.index(seeds.len())];
        for _ in 0..=numbers.below(3) {
            mutate(&mut text, other, &mut numbers);
            assert!(text.len() < 1 << 20, "mutations keep texts small");
        }
        if load(text) {
            accepted += 1
        } else {
            refused += 1
        }
    }
    assert!(
        accepted > 0 && refused > 0,
        "mutations are neither all harmless nor all fatal: {accepted}, {refused}"
    );
}

#[test]
fn nesting_does_not_exhaust_the_stack() {
    for piece in [
        "list<",
        "{",
        "(",
        "action a @1 (",
        "a:",
        "/// x\n",
        "options {",
        "\"",
        "feature f {",
    ] {
        assert!(
            !load(format!("//! Deep.\n{}", piece.repeat(100_000))),
            "{piece} is accepted"
        );
    }
}
