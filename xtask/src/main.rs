//! `cargo xtask VERB`: every chore of the project.

fn main() {}
