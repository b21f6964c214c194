//! ACLs and capabilities against the tools that libacl and libcap come with, and
//! attribute lists that no reply can hold.

use std::path::PathBuf;
use std::process::Command;

use conformance::{ClientError, Direct, DiskSpec, skipped};
use protocol::api::TarOutOptions;

/// How many texts to make up of each kind.
const TEXTS: usize = 200;

/// Pseudo-random choices, the same in each run.
struct Choice(u64);

impl Choice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }
}

/// Where a file of the guest is on this machine.
fn outside(direct: &Direct, path: &str) -> PathBuf {
    direct
        .root()
        .join("sysroot")
        .join(path.trim_start_matches('/'))
}

/// What a tool says of a file of the guest; `None` if it fails.
fn tool(direct: &Direct, words: &[&str], path: &str) -> Option<String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .arg(outside(direct, path))
        .output()
        .expect("a tool of acl or libcap2-bin");
    let text = String::from_utf8(output.stdout).expect("text");
    output.status.success().then_some(text)
}

/// The list that getfacl shows, with one tab before a note as in libacl's text.
fn getfacl(direct: &Direct, option: &[&str], path: &str) -> String {
    let words = [
        &["getfacl", "--omit-header", "--absolute-names"][..],
        option,
    ]
    .concat();
    let text = tool(direct, &words, path).expect("getfacl");
    let line = |line: &str| match line.split_once('\t') {
        Some((entry, note)) => format!("{entry}\t{}\n", note.trim_start_matches('\t')),
        None => format!("{line}\n"),
    };
    text.trim_end().lines().map(line).collect()
}

/// A list of entries in any order and form, most of which belong together. No
/// entry is there twice: chacl refuses that itself.
fn acl_text(choice: &mut Choice) -> String {
    let permissions = |choice: &mut Choice| {
        let good = ["rwx", "r-x", "rw", "r", "-", "---", "x", "w-", "xr", "-w-"];
        match choice.below(40) {
            0 => choice.of(&["", "rr", "s"]).to_owned(),
            _ => choice.of(&good).to_owned(),
        }
    };
    let mut entries = Vec::new();
    for (long, short, colons) in [
        ("user", "u", "::"),
        ("group", "g", "::"),
        ("other", "o", "::"),
        ("other", "o", ":"),
        ("mask", "m", ":"),
        ("mask", "m", "::"),
    ] {
        let twin = entries
            .iter()
            .any(|entry: &String| entry.starts_with(short));
        let wanted = if short == "m" {
            choice.below(2) == 0
        } else {
            choice.below(30) > 0
        };
        if !twin && wanted {
            let word = choice.of(&[long, short, short, long]);
            entries.push(format!("{word}{colons}{}", permissions(choice)));
        }
    }
    for id in [
        "0",
        "daemon",
        "500",
        "0x1f5",
        "0766",
        "3999999",
        "4294967294",
    ] {
        if choice.below(5) == 0 {
            let word = choice.of(&["user", "u", "group", "g"]);
            entries.push(format!("{word}:{id}:{}", permissions(choice)));
        }
    }
    if choice.below(20) == 0 {
        entries.push(
            choice
                .of(&["user:nobody-here:r", "x::r", "d:u::r", "u", "mask:5:r"])
                .to_owned(),
        );
    }
    let mut text = String::new();
    while !entries.is_empty() {
        let entry = entries.swap_remove(choice.below(entries.len()));
        text += &entry;
        text += choice.of(&[",", "\n", " , ", "\n\n", "\t\n", " #note\n", ", "]);
    }
    text
}

#[test]
fn acl_text_is_libacls() {
    let mut direct = Direct::mounted();
    direct.touch("/theirs").expect("touch");
    direct.touch("/ours").expect("touch");
    let mut choice = Choice(1);
    let mut accepted = 0;
    for _ in 0..TEXTS {
        let text = acl_text(&mut choice);
        let theirs = tool(&direct, &["chacl", &text], "/theirs").is_some();
        let ours = direct.acl_set_file("/ours", "access", &text);
        assert_eq!(ours.is_ok(), theirs, "{text:?}: {ours:?}");
        accepted += usize::from(theirs);
        let expected = getfacl(&direct, &[], "/theirs");
        assert_eq!(getfacl(&direct, &[], "/ours"), expected, "{text:?}");
        let shown = direct
            .acl_get_file("/theirs", "access")
            .expect("acl_get_file");
        assert_eq!(shown, expected, "{text:?}");
    }
    assert!(
        (TEXTS / 3..TEXTS).contains(&accepted),
        "{accepted} of {TEXTS} accepted"
    );
}

#[test]
fn default_acls_are_libacls() {
    let mut direct = Direct::mounted();
    direct.mkdir("/theirs").expect("mkdir");
    direct.mkdir("/ours").expect("mkdir");
    let mut choice = Choice(2);
    for _ in 0..TEXTS / 10 {
        let text = acl_text(&mut choice);
        let theirs = tool(&direct, &["chacl", "-d", &text], "/theirs").is_some();
        let ours = direct.acl_set_file("/ours", "default", &text);
        assert_eq!(ours.is_ok(), theirs, "{text:?}: {ours:?}");
        let expected = getfacl(&direct, &["--default"], "/theirs");
        assert_eq!(
            getfacl(&direct, &["--default"], "/ours"),
            expected,
            "{text:?}"
        );
        let shown = direct
            .acl_get_file("/ours", "default")
            .expect("acl_get_file");
        assert_eq!(shown.trim_end(), expected.trim_end(), "{text:?}");
    }
}

/// Clauses about capabilities, most of which libcap understands.
fn cap_text(choice: &mut Choice) -> String {
    let mut text = String::new();
    for _ in 0..=choice.below(4) {
        for count in 0..choice.below(4) {
            let comma = if count == 0 { "" } else { "," };
            text += comma;
            text += choice.of(&[
                "cap_chown",
                "CAP_KILL",
                "cap_net_raw",
                "12",
                "0x20",
                "all",
                "cap_bpf",
                "cap_checkpoint_restore",
                "cap_setfcap",
                "010",
            ]);
        }
        for _ in 0..=choice.below(12) / 11 {
            text += choice.of(&["=", "=", "=", "+", "-", "=+", "=-"]);
            text += choice.of(&["p", "ep", "eip", "i", "ei", "pe", "pie", ""]);
            if choice.below(4) == 0 {
                text += choice.of(&["+i", "-e", "+p", "-p+e", "+", "-"]);
            }
        }
        text += choice.of(&[" ", " ", "\n", "\t", "  "]);
    }
    if choice.below(30) == 0 {
        text += choice.of(&["cap_none=p", "cap_chown=x", "64=p", "=P", "cap_chown"]);
    }
    text
}

#[test]
fn capability_text_is_libcaps() {
    const ATTRIBUTE: &[u8] = b"security.capability";
    let mut direct = Direct::mounted();
    direct.touch("/theirs").expect("touch");
    direct.touch("/ours").expect("touch");
    let mut choice = Choice(3);
    let mut accepted = 0;
    for _ in 0..TEXTS {
        let text = cap_text(&mut choice);
        // setcap takes a text that begins with '-' for an option.
        if text.trim_start().starts_with('-') {
            assert!(direct.cap_set_file("/ours", &text).is_err(), "{text:?}");
            continue;
        }
        let theirs = tool(&direct, &["setcap", "-q", &text], "/theirs").is_some();
        let ours = direct.cap_set_file("/ours", &text);
        assert_eq!(ours.is_ok(), theirs, "{text:?}: {ours:?}");
        if !theirs {
            continue;
        }
        accepted += 1;
        let expected = direct.getxattr("/theirs", ATTRIBUTE).expect("getxattr");
        let value = direct.getxattr("/ours", ATTRIBUTE).expect("getxattr");
        assert_eq!(value, expected, "{text:?}");
        let said = tool(&direct, &["getcap"], "/ours").expect("getcap");
        let (_, expected) = said
            .trim_end()
            .rsplit_once("/ours ")
            .expect("a path, and text");
        let shown = direct.cap_get_file("/ours").expect("cap_get_file");
        assert_eq!(shown, expected, "{text:?}");
    }
    assert!(
        (TEXTS / 4..TEXTS).contains(&accepted),
        "{accepted} of {TEXTS} accepted"
    );
    // With the root of a user namespace, in the third revision of the attribute.
    tool(
        &direct,
        &["setcap", "-q", "-n", "1000", "cap_kill=ep"],
        "/ours",
    )
    .expect("setcap -n");
    let value = direct.getxattr("/ours", ATTRIBUTE).expect("getxattr");
    assert_eq!((value.len(), value[3]), (24, 3));
    assert_eq!(
        direct.cap_get_file("/ours").expect("cap_get_file"),
        "cap_kill=ep"
    );
    direct
        .cap_set_file("/ours", "cap_kill=ep")
        .expect("cap_set_file");
    assert_eq!(
        direct.getxattr("/ours", ATTRIBUTE).expect("getxattr").len(),
        20
    );
}

fn too_large(result: Result<(), ClientError>) {
    let error = result.expect_err("no reply can hold this");
    assert_eq!(error.errno(), "E2BIG", "{error}");
    assert!(error.to_string().contains("4194304 bytes"), "{error}");
}

#[test]
fn lists_of_attributes_are_bounded() {
    let mut direct = Direct::start(&[DiskSpec::Formatted("btrfs", 256 << 20)]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir("/d").expect("mkdir");
    direct.touch("/d/many").expect("touch");
    direct.touch("/d/few").expect("touch");
    direct
        .setxattr("user.x", "value", 5, "/d/few")
        .expect("setxattr");
    let value = "v".repeat(15_000);
    // 6 MB, which Linux lists without complaint.
    for number in 0..400 {
        let name = format!("user.{number}");
        direct
            .setxattr(&name, &value, 15_000, "/d/many")
            .expect("setxattr");
    }
    for result in [
        direct.getxattrs("/d/many").map(drop),
        direct.lgetxattrs("/d/many").map(drop),
    ] {
        too_large(result);
    }
    let few = vec!["few"; 1000];
    let listed = direct
        .internal_lxattrlist("/d", &few)
        .expect("a small list");
    assert_eq!(listed.len(), 2000);
    too_large(direct.internal_lxattrlist("/d", &["few", "many"]).map(drop));
    too_large(
        direct
            .internal_lxattrlist("/d", &vec!["few"; 120_000])
            .map(drop),
    );
    // As many as one list of names can hold, which fit in a reply.
    direct.touch("/d/wide").expect("touch");
    for number in 0..5000 {
        let name = format!("user.{number}");
        direct
            .setxattr(&name, &value, 300, "/d/wide")
            .expect("setxattr");
    }
    assert_eq!(direct.getxattrs("/d/wide").expect("getxattrs").len(), 5000);
    let peak = direct.peak_memory();
    assert!(peak < 96 << 20, "{peak} bytes");
}

/// Where all are needed at once.
#[test]
fn attributes_of_a_file_are_copied_within_bounds() {
    const ROOM: u64 = 64 << 20;
    let mut direct = Direct::start(&[DiskSpec::Formatted("xfs", 512 << 20)]);
    if !direct.filesystem_available("xfs").expect("answer") {
        return skipped("this kernel has no XFS");
    }
    direct.mount("/dev/sda", "/").expect("mount");
    direct.mkdir_p("/d/many").expect("mkdir_p");
    direct.touch("/d/file").expect("touch");
    let value = "v".repeat(60_000);
    for number in 0..1200 {
        let name = format!("user.{number}");
        direct
            .setxattr(&name, &value, 60_000, "/d/many")
            .expect("setxattr");
    }
    let before = direct.peak_memory();
    let error = direct.cp_a("/d", "/copy").expect_err("too many attributes");
    assert_eq!(error.errno(), "E2BIG", "{error}");
    assert!(error.to_string().contains("/d/many"), "{error}");
    // The others are copied.
    assert!(direct.exists("/copy/file").expect("exists"));
    let options = TarOutOptions {
        xattrs: Some(true),
        ..Default::default()
    };
    direct
        .tar_out("/d", &mut std::io::sink(), &options)
        .expect_err("too many attributes");
    let used = direct.peak_memory() - before;
    assert!(used < ROOM + (16 << 20), "{used} bytes");
}

#[test]
fn errors_name_the_file() {
    let mut direct = Direct::mounted();
    direct.touch("/file").expect("touch");
    direct.ln_s("/file", "/link").expect("ln_s");
    for (result, path) in [
        (direct.getxattr("/file", "user.none").map(drop), "/file"),
        (direct.lgetxattr("/link", "trusted.none").map(drop), "/link"),
        (direct.removexattr("user.none", "/file"), "/file"),
        (direct.lremovexattr("trusted.none", "/link"), "/link"),
        (direct.setxattr("none", "value", 5, "/file"), "/file"),
        (direct.lsetxattr("user.none", "value", 5, "/link"), "/link"),
    ] {
        let message = result.expect_err("an error").to_string();
        assert!(message.contains(&format!("{path}: ")), "{message}");
    }
}
