//! `wire.lock` grows with the IDL, and with nothing else.

use std::fs;
use std::path::Path;

use codegen::{load_locked, lock};

fn idl(root: &Path, actions: &str) {
    fs::create_dir_all(root.join("block")).expect("a folder can be made");
    fs::write(root.join("block/x.idl"), format!("//! X.\n\n{actions}"))
        .expect("IDL can be written");
}

/// The lines that the lock lacks, which are then appended.
fn grow(root: &Path) -> Vec<String> {
    let (_, added) = load_locked(root).unwrap_or_else(|wrong| panic!("{wrong}"));
    lock::append(root, &added).expect("the lock can be written");
    added
}

#[test]
fn new_lines_are_appended_and_stay() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let root = folder.path();
    let one = "/// One.\naction one @1 (a: pathname) { since 1.0; }\n";
    let more = "/// One.\naction one @1 (a: pathname) { options { b @0: bool; } since 1.0; }\n";
    let two = "/// Two.\naction two @2 () -> r: list<text> { options { c @0: int; } since 1.0; }\n";

    idl(root, one);
    assert_eq!(grow(root), ["action one @1 (a: string)"]);
    assert!(grow(root).is_empty(), "what is there is not appended again");

    idl(root, &format!("{one}{two}"));
    assert_eq!(grow(root), ["action two @2 () [c: int] -> r: string<>"]);

    // Options may be added to an action that clients know; it is a line of its own.
    idl(root, &format!("{more}{two}"));
    assert_eq!(grow(root), ["option one@0 b: bool"]);
    assert!(grow(root).is_empty());

    let text = fs::read_to_string(root.join(lock::FILE)).expect("the lock can be read");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            "action one @1 (a: string)",
            "action two @2 () [c: int] -> r: string<>",
            "option one@0 b: bool"
        ]
    );

    // The option is now a promise too.
    idl(root, &format!("{one}{two}"));
    let text = load_locked(root)
        .expect_err("an option is gone")
        .to_string();
    assert!(text.contains("option one@0 is gone"), "{text}");
}

#[test]
fn types_with_the_same_wire_form_may_change() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    idl(
        folder.path(),
        "/// One.\naction one @1 (a: string) -> r: string { since 1.0; }\n",
    );
    assert_eq!(grow(folder.path()).len(), 1);
    idl(
        folder.path(),
        "/// One.\naction one @1 (a: device) -> r: device { since 1.0; }\n",
    );
    assert!(grow(folder.path()).is_empty());
}

#[test]
fn a_lock_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join(lock::FILE);
    fs::write(&path, "").expect("the lock can be written");
    let mut permissions = fs::metadata(&path)
        .expect("the lock is there")
        .permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).expect("permissions can be set");
    assert!(lock::append(folder.path(), &["action one @1 ()".to_owned()]).is_err());
    assert_eq!(fs::read_to_string(&path).expect("the lock can be read"), "");
}
