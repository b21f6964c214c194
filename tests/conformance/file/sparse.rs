//! A file that is larger than any disk, and the calls that read it: they take their
//! time from what is stored, and no memory.

use std::fs;
use std::os::unix::fs::FileExt;

use conformance::Direct;
use protocol::api::CopyFileToFileOptions;

/// The size of the file, of which next to nothing is stored. To read all of it
/// would take longer than the client waits.
const SIZE: u64 = 2 << 40;

/// What is stored in the middle of it.
const MIDDLE: &[u8] = b"\nin the middle\n";

/// What is stored at its end.
const END: &[u8] = b"\none\ntwo\n";

/// How much the daemon may have had in memory.
const MEMORY: u64 = 32 << 20;

/// A guest with `/sparse`, and `/zero` of which nothing is stored.
fn guest() -> Direct {
    let mut direct = Direct::mounted();
    for name in ["/sparse", "/zero"] {
        direct.touch(name).expect("touch");
        direct
            .truncate_size(name, SIZE as i64)
            .expect("truncate_size");
    }
    let file = fs::OpenOptions::new()
        .write(true)
        .open(direct.root().join("sysroot/sparse"))
        .expect("the file");
    for (bytes, at) in [(MIDDLE, SIZE / 2), (END, SIZE - END.len() as u64)] {
        file.write_all_at(bytes, at).expect("write");
    }
    direct
}

fn texts(list: Vec<Vec<u8>>) -> Vec<String> {
    list.into_iter()
        .map(|line| String::from_utf8(line).expect("text"))
        .collect()
}

#[test]
fn text_is_found_in_a_huge_file() {
    let mut direct = guest();
    assert_eq!(direct.wc_l("/sparse").expect("wc_l"), 5);
    assert_eq!(direct.wc_w("/sparse").expect("wc_w"), 5);
    let strings = texts(direct.strings("/sparse").expect("strings"));
    assert_eq!(strings, ["in the middle"]);
    let wide = direct.strings_e("l", "/sparse").expect("strings_e");
    assert!(wide.is_empty());
    let dump = direct.hexdump("/sparse").expect("hexdump");
    let dump = String::from_utf8(dump).expect("text");
    assert!(
        dump.contains("in the middle") && dump.ends_with("\n20000000000\n"),
        "{dump}"
    );
    assert_eq!(
        texts(direct.tail_n(2, "/sparse").expect("tail_n")),
        ["one", "two"]
    );
    assert_eq!(
        texts(direct.tail_n(-4, "/sparse").expect("tail_n")),
        ["one", "two"]
    );
    // A line of a reply ends at its first NUL.
    let all = ["", "in the middle", "", "one", "two"];
    assert_eq!(texts(direct.tail("/sparse").expect("tail")), all);
    assert_eq!(texts(direct.head("/sparse").expect("head")), all);
    let most = direct.head_n(-2, "/sparse").expect("head_n");
    assert_eq!(texts(most), all[..3]);
    let from_first = direct.tail_n(-1, "/sparse").expect("tail_n");
    assert_eq!(texts(from_first), all);
    let peak = direct.peak_memory();
    assert!(peak < MEMORY, "{peak} bytes");
}

#[test]
fn a_huge_file_is_compared_and_copied_as_it_is_stored() {
    let mut direct = guest();
    direct.cp("/sparse", "/cp").expect("cp");
    direct.cp_a("/sparse", "/cp_a").expect("cp_a");
    let options = CopyFileToFileOptions {
        sparse: Some(true),
        ..Default::default()
    };
    direct
        .copy_file_to_file("/sparse", "/copy", &options)
        .expect("copy_file_to_file");
    for copy in ["/cp", "/cp_a", "/copy"] {
        assert_eq!(direct.filesize(copy).expect("filesize"), SIZE as i64);
        assert!(direct.equal("/sparse", copy).expect("equal"), "{copy}");
        assert!(direct.du(copy).expect("du") < 64, "{copy}");
    }
    assert!(!direct.equal("/sparse", "/zero").expect("equal"));
    assert!(direct.is_zero("/zero").expect("is_zero"));
    assert!(!direct.is_zero("/sparse").expect("is_zero"));
    let end = direct
        .pread("/sparse", 100, SIZE as i64 - 4)
        .expect("pread");
    assert_eq!(end, b"two\n");
    assert_eq!(direct.file("/sparse").expect("file"), b"data");
    let peak = direct.peak_memory();
    assert!(peak < MEMORY, "{peak} bytes");
}

#[test]
fn a_compressed_file_that_ends_in_a_hole_is_described_by_its_beginning() {
    // The header of a frame, after which zeroes are blocks without data.
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd\x00\x58";
    // "plain text\n", after which zeroes are what gzip passes over.
    const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x2b\xc8\x49\xcc\xcc\x53\x28\x49\xad\x28\xe1\x02\x00\xbc\x0c\x90\xd6\x0b\x00\x00\x00";
    let mut direct = Direct::mounted();
    for (name, beginning) in [("/zstd", ZSTD), ("/gzip", GZIP)] {
        direct.internal_write(name, beginning).expect("write");
        direct
            .truncate_size(name, SIZE as i64)
            .expect("truncate_size");
    }
    let kind = direct.file("/zstd").expect("file");
    assert!(kind.starts_with(b"Zstandard compressed data"));
    let kind = direct.zfile("gzip", "/gzip").expect("zfile");
    assert_eq!(kind, b"ASCII text");
    for name in ["/zstd", "/gzip"] {
        for error in [
            direct.initrd_list(name).expect_err("no archive"),
            direct.initrd_cat(name, "x").expect_err("no archive"),
            direct.file_architecture(name).expect_err("no program"),
        ] {
            assert_eq!(error.errno(), "E2BIG", "{name}: {error}");
        }
    }
    let peak = direct.peak_memory();
    assert!(peak < MEMORY, "{peak} bytes");
}
