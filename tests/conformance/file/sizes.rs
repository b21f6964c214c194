//! Directories with more entries than any reply can hold, and what the daemon
//! needs for them.

use std::collections::HashSet;
use std::fs;

use conformance::{ClientError, Direct, DiskSpec};
use protocol::api::Dirent;
use protocol::xdr::Decoder;

const ENTRIES: usize = 100_000;

/// How much the daemon may have had in memory: less than the names take.
const MEMORY: u64 = 22 << 20;

fn mounted() -> Direct {
    let mut direct = Direct::start(&[DiskSpec::Formatted("ext4", 1 << 30)]);
    direct.mount("/dev/sda", "/").expect("mount");
    direct
}

/// A guest with a directory of many long names, `/many`.
fn many() -> Direct {
    let mut direct = mounted();
    direct.mkdir("/many").expect("mkdir");
    let directory = direct.root().join("sysroot/many");
    // Names of two files: the filesystem has fewer inodes.
    for number in 0..ENTRIES {
        let first = directory.join(name(number % 2));
        let path = directory.join(name(number));
        match number {
            0 | 1 => drop(fs::File::create(path).expect("create")),
            _ => fs::hard_link(first, path).expect("link"),
        }
    }
    direct
}

fn name(number: usize) -> String {
    format!("{number:06}{}", "-long".repeat(40))
}

fn too_large<T: std::fmt::Debug>(result: Result<T, ClientError>) {
    let error = result.expect_err("no reply can hold this");
    assert_eq!(error.errno(), "E2BIG", "{error}");
    assert!(error.to_string().contains("4194304 bytes"), "{error}");
}

#[test]
fn a_large_directory_needs_little_memory() {
    let mut direct = many();
    let mut list = Vec::new();
    direct.ls0("/many", &mut list).expect("ls0");
    let names: HashSet<&[u8]> = list.split(|&byte| byte == 0).collect();
    // The last one is what follows the last NUL.
    assert_eq!(names.len(), ENTRIES + 1);
    assert!(names.contains(name(ENTRIES - 1).as_bytes()));
    drop(list);

    let mut stream = Vec::new();
    direct
        .internal_readdir("/many", &mut stream)
        .expect("internal_readdir");
    let mut input = Decoder::new(&stream);
    let mut count = 0;
    while !input.is_empty() {
        let entry = Dirent::decode(&mut input).expect("an entry");
        assert!(matches!(entry.ftyp, b'r' | b'd'));
        count += 1;
    }
    assert_eq!(count, ENTRIES + 2);

    too_large(direct.readdir("/many"));
    let names: Vec<String> = (0..30_000).map(|number| format!("{number:06}")).collect();
    too_large(direct.internal_lstatnslist("/many", &names));
    let kib = direct.du("/many").expect("du");
    assert!((20_000..60_000).contains(&kib), "{kib} KiB");
    let peak = direct.peak_memory();
    assert!(peak < MEMORY, "{peak} bytes");

    let error = direct.ll("/many").expect_err("no reply can hold this");
    assert!(error.to_string().contains("4194304 bytes"), "{error}");
    direct.rm_rf("/many").expect("rm_rf");
    assert!(!direct.exists("/many").expect("exists"));
    let peak = direct.peak_memory();
    assert!(peak < MEMORY + (10 << 20), "{peak} bytes");
}

#[test]
fn large_files_need_little_memory() {
    let mut direct = mounted();
    direct.touch("/sparse").expect("touch");
    direct
        .truncate_size("/sparse", 1 << 30)
        .expect("truncate_size");
    direct
        .download("/sparse", &mut std::io::sink())
        .expect("download");
    direct
        .base64_out("/sparse", &mut std::io::sink())
        .expect("base64_out");
    direct.fill(7, 40 << 20, "/filled").expect("fill");
    let pattern = "a pattern of some length, ".repeat(1000);
    direct
        .fill_pattern(&pattern, 40 << 20, "/filled")
        .expect("fill_pattern");
    let content = fs::File::open(direct.root().join("sysroot/filled")).expect("open");
    direct.upload(&mut &content, "/copy").expect("upload");
    let text = b"QUJD".repeat(4 << 20);
    direct
        .base64_in(&mut &text[..], "/decoded")
        .expect("base64_in");
    assert_eq!(
        direct.filesize("/decoded").expect("filesize"),
        3 * (4 << 20)
    );
    let peak = direct.peak_memory();
    assert!(peak < MEMORY, "{peak} bytes");
}
