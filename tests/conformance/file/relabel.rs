//! Labels of SELinux, as far as guestfish 1.48 cannot ask for them or a guest can mislead.

use conformance::{ClientError, Direct, DiskSpec};
use protocol::api::{SelinuxRelabelOptions, SetfilesOptions};

const SPECIFICATIONS: &str = "\
/.* system_u:object_r:default_t:s0
/etc(/.*)? system_u:object_r:etc_t:s0
/home(/.*)? system_u:object_r:home_t:s0
";

/// A guest with files to be labelled.
fn guest() -> Direct {
    with_files(Direct::mounted())
}

fn with_files(mut direct: Direct) -> Direct {
    for directory in [
        "/spec",
        "/etc/keep/below",
        "/home/user",
        "/sys/below",
        "/etc/own",
    ] {
        direct.mkdir_p(directory).unwrap();
    }
    for file in ["/etc/file", "/etc/keep/file", "/home/file", "/sys/file"] {
        direct.touch(file).unwrap();
    }
    write(&mut direct, "/spec/contexts", SPECIFICATIONS);
    direct
}

fn write(direct: &mut Direct, path: &str, content: &str) {
    direct.internal_write(path, content.as_bytes()).unwrap();
}

/// The type in the file's label, or the error for want of one.
fn label(direct: &mut Direct, path: &str) -> String {
    match direct.lgetxattr(path, "security.selinux") {
        Ok(label) => {
            let label = String::from_utf8(label).expect("UTF-8");
            label.split(':').nth(2).expect("a type").to_owned()
        }
        Err(error) => error.errno().to_owned(),
    }
}

fn relabel(direct: &mut Direct, specfile: &str, path: &str) -> Result<(), ClientError> {
    direct.selinux_relabel(specfile, path, &SelinuxRelabelOptions::default())
}

#[test]
fn several_trees_but_what_is_excluded() {
    let mut direct = guest();
    let excludes = SetfilesOptions {
        excludes: Some(vec![
            b"/etc/keep",
            b"/etc/own/",
            b"/missing",
            b"/etc/file/below",
        ]),
        force: None,
    };
    direct
        .setfiles("/spec/contexts", &["/etc", "/home/user", "/sys"], &excludes)
        .unwrap();
    for (path, expected) in [
        ("/", "ENODATA"),
        ("/etc", "etc_t"),
        ("/etc/file", "etc_t"),
        ("/etc/keep", "ENODATA"),
        ("/etc/keep/file", "ENODATA"),
        ("/etc/keep/below", "ENODATA"),
        ("/etc/own", "ENODATA"),
        ("/home", "ENODATA"),
        ("/home/file", "ENODATA"),
        ("/home/user", "home_t"),
        ("/sys", "ENODATA"),
        ("/sys/file", "ENODATA"),
    ] {
        assert_eq!(label(&mut direct, path), expected, "{path}");
    }
    let none = SetfilesOptions::default();
    direct.setfiles("/spec/contexts", &["/"], &none).unwrap();
    assert_eq!(label(&mut direct, "/"), "default_t");
    assert_eq!(label(&mut direct, "/etc/keep/below"), "etc_t");
    assert_eq!(label(&mut direct, "/sys/file"), "ENODATA");
}

#[test]
fn without_paths_nothing_is_done() {
    let mut direct = guest();
    let none = SetfilesOptions::default();
    direct.setfiles("/missing", &[] as &[&str], &none).unwrap();
    assert_eq!(label(&mut direct, "/etc"), "ENODATA");
}

#[test]
fn what_setfiles_knows_is_tried_once() {
    let mut direct = Direct::with_args(&[DiskSpec::Formatted("ext4", 64 << 20)], &["-v"]);
    direct.mount("/dev/sda", "/").unwrap();
    let mut direct = with_files(direct);
    let mut runs = || {
        relabel(&mut direct, "/spec/contexts", "/etc").unwrap();
        direct.stderr().matches("command: setfiles -").count()
    };
    let first = runs();
    // The installed one knows all, or is tried again without those that it does not know.
    assert!((2..=5).contains(&first), "{first}");
    assert_eq!(runs(), first + 1);
}

#[test]
fn specifications_that_are_none_are_an_error() {
    let mut direct = guest();
    for content in ["/etc\n", "/etc([ system_u:object_r:etc_t:s0\n"] {
        write(&mut direct, "/spec/bad", content);
        let error = relabel(&mut direct, "/spec/bad", "/etc").unwrap_err();
        assert_eq!(error.errno(), "EINVAL");
        let message = error.to_string();
        assert!(message.contains("/spec/bad:"), "{message}");
        assert!(!message.contains("setfiles: setfiles: "), "{message}");
        assert_eq!(label(&mut direct, "/etc"), "ENODATA");
    }
}

#[test]
fn force_replaces_all_of_a_label() {
    let mut direct = guest();
    let label = b"a:b:other_t:s0";
    let size = i32::try_from(label.len()).expect("short");
    direct
        .lsetxattr("security.selinux", label, size, "/home/file")
        .unwrap();
    let get = |direct: &mut Direct| direct.lgetxattr("/home/file", "security.selinux").unwrap();
    let mut options = SetfilesOptions::default();
    direct
        .setfiles("/spec/contexts", &["/home"], &options)
        .unwrap();
    assert_eq!(get(&mut direct), b"a:b:home_t:s0\0");
    options.force = Some(true);
    direct
        .setfiles("/spec/contexts", &["/home"], &options)
        .unwrap();
    assert_eq!(get(&mut direct), b"system_u:object_r:home_t:s0\0");
}

#[test]
fn links_lead_to_the_guest_s_files() {
    let mut direct = guest();
    direct.ln_s("/spec", "/abs").unwrap();
    direct.ln_s("/abs/contexts", "/spec/link").unwrap();
    direct.ln_s("/home", "/etc/away").unwrap();
    relabel(&mut direct, "/abs/link", "/etc/away/user").unwrap();
    assert_eq!(label(&mut direct, "/home/user"), "home_t");
    assert_eq!(label(&mut direct, "/home"), "ENODATA");
    // A link itself has a label of its own, unless a slash says what it leads to.
    relabel(&mut direct, "/spec/contexts", "/etc/away").unwrap();
    assert_eq!(label(&mut direct, "/etc/away"), "etc_t");
    assert_eq!(label(&mut direct, "/home"), "ENODATA");
    relabel(&mut direct, "/spec/contexts", "/etc/away/").unwrap();
    assert_eq!(label(&mut direct, "/home"), "home_t");
}

#[test]
fn nothing_outside_of_the_guest_is_read() {
    let mut direct = guest();
    let outside = tempfile::tempdir().expect("a scratch directory");
    let file = outside.path().join("contexts");
    std::fs::write(&file, "/etc/file system_u:object_r:secret_t:s0\n").unwrap();
    let file = file.to_str().expect("UTF-8");
    let error = relabel(&mut direct, file, "/etc").unwrap_err();
    assert_eq!(error.errno(), "ENOENT");
    direct.ln_s(file, "/spec/contexts.homedirs").unwrap();
    direct.ln_s(file, "/spec/contexts.local").unwrap();
    direct.ln_s(file, "/spec/link").unwrap();
    relabel(&mut direct, "/spec/contexts", "/etc").unwrap();
    assert_eq!(label(&mut direct, "/etc/file"), "etc_t");
    let error = relabel(&mut direct, "/spec/link", "/etc").unwrap_err();
    assert_eq!(error.errno(), "ENOENT");
    // Nor changed.
    direct
        .ln_s(outside.path().to_str().expect("UTF-8"), "/etc/out")
        .unwrap();
    let error = relabel(&mut direct, "/spec/contexts", "/etc/out/").unwrap_err();
    assert_eq!(error.errno(), "ENOENT");
    relabel(&mut direct, "/spec/contexts", "/").unwrap();
    let listed = std::process::Command::new("getfattr")
        .args(["-h", "-n", "security.selinux", file])
        .output()
        .expect("getfattr");
    assert!(!listed.stdout.windows(5).any(|part| part == b":obje"));
}

#[test]
fn errors_have_the_guest_s_names() {
    let mut direct = guest();
    direct.mkfifo(0o600, "/spec/fifo").unwrap();
    for (specfile, errno) in [
        ("/spec", "EISDIR"),
        ("/spec/fifo", "EINVAL"),
        ("/spec/missing", "ENOENT"),
    ] {
        let error = relabel(&mut direct, specfile, "/etc").unwrap_err();
        assert_eq!(error.errno(), errno, "{error}");
    }
    relabel(&mut direct, "spec/contexts", "/etc").unwrap_err();
    // A file in the compiled form is no text; nor is it looked for beside one.
    write(&mut direct, "/spec/contexts.bin", "\u{0}\u{0}nonsense");
    relabel(&mut direct, "/spec/contexts", "/etc").unwrap();
    direct.truncate_size("/spec/contexts", 100 << 20).unwrap();
    let error = relabel(&mut direct, "/spec/contexts", "/etc").unwrap_err();
    assert_eq!(error.errno(), "EFBIG");
    assert!(error.to_string().contains("/spec/contexts"), "{error}");
}
