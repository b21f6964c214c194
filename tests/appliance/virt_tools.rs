//! The virt tools that look at disks and change them, each with a machine of
//! its own. Those that first find an operating system need inspection.

use std::path::Path;
use std::process::Command;

use conformance::support::boot;

/// What a tool prints; it must succeed.
fn tool(directory: &Path, name: &str, args: &[&str]) -> String {
    let output = boot::run(directory, || {
        let mut command = Command::new(name);
        command.args(args).env("LC_ALL", "C");
        command
    });
    assert!(output.success, "{name} {args:?}: {}", output.text);
    output.text
}

fn blank(directory: &Path, name: &str, size: u64) {
    let file = std::fs::File::create(directory.join(name)).expect("image");
    file.set_len(size).expect("image size");
}

#[test]
fn virt_make_fs_makes_a_disk_of_a_directory() {
    let directory = tempfile::tempdir().expect("tempdir");
    let here = directory.path();
    std::fs::create_dir(here.join("tree")).expect("tree");
    std::fs::write(here.join("tree/file"), "contents of the file\n").expect("file");
    let made = ["--partition=mbr", "--type=ext4", "--size=+32M"];
    let made = [&made[..], &["--label=label", "tree", "made.img"]].concat();
    tool(here, "virt-make-fs", &made);
    let image = std::fs::read(here.join("made.img")).expect("image");
    assert_eq!(image[510..512], [0x55, 0xaa]);
    let start = u32::from_le_bytes(image[0x1c6..0x1ca].try_into().expect("four bytes"));
    let superblock = &image[usize::try_from(start).expect("small") * 512 + 1024..];
    assert_eq!(superblock[56..58], [0x53, 0xef]);
    assert_eq!(superblock[120..126], *b"label\0");
    let contents = b"contents of the file\n";
    assert!(
        superblock
            .windows(contents.len())
            .any(|bytes| bytes == contents)
    );
}

#[test]
fn virt_tools_format_and_measure_disks() {
    let directory = tempfile::tempdir().expect("tempdir");
    let here = directory.path();
    blank(here, "disk.img", 64 << 20);
    let format = ["--format=raw", "-a", "disk.img", "--partition=gpt"];
    let format = [&format[..], &["--filesystem=ext4", "--label=label"]].concat();
    tool(here, "virt-format", &format);
    let scan = tool(
        here,
        "virt-alignment-scan",
        &["--format=raw", "-a", "disk.img"],
    );
    assert!(
        scan.starts_with("/dev/sda1 ") && scan.contains("ok"),
        "{scan}"
    );
    let free = tool(
        here,
        "virt-df",
        &["--format=raw", "-a", "disk.img", "--csv"],
    );
    assert!(free.contains("/dev/sda1"), "{free}");
    let sparsify = ["--format=raw", "--in-place", "--quiet", "disk.img"];
    tool(here, "virt-sparsify", &sparsify);
}
