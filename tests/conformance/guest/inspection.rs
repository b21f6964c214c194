//! What guestfish cannot say about `idl/guest/inspection.idl`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use conformance::Direct;

/// The word for the programs of this machine, of which there must be some.
fn own_word() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "i386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        other => other,
    }
}

fn upload(direct: &mut Direct, bytes: &[u8], path: &str) {
    direct.upload(&mut &bytes[..], path).unwrap();
}

/// What a program makes of its input.
fn through(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect(program);
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect(program);
    feeder.join().expect("no panic").expect("a write");
    assert!(output.status.success(), "{program}");
    output.stdout
}

/// An archive of files of a directory, in this order.
fn cpio(directory: &Path, names: &[&str]) -> Vec<u8> {
    let directory = directory.to_str().expect("UTF-8");
    let args = ["-o", "-H", "newc", "--quiet", "-D", directory];
    through("cpio", &args, names.join("\n").as_bytes())
}

#[test]
fn programs_and_libraries_of_this_machine_are_known() {
    let mut direct = Direct::mounted();
    let own = std::env::current_exe().expect("a name");
    let libc = ["/lib64/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"];
    let libc = libc.into_iter().find(|path| Path::new(path).exists());
    for path in ["/bin/ls", "/bin/sh"].into_iter().chain(libc) {
        upload(&mut direct, &fs::read(path).expect(path), "/file");
        assert_eq!(direct.file_architecture("/file").unwrap(), own_word());
    }
    // Larger than what is looked at; and compressed.
    let program = fs::read(own).expect("a program");
    upload(&mut direct, &program, "/program");
    assert_eq!(direct.file_architecture("/program").unwrap(), own_word());
    let part = &program[..1 << 20];
    for compressor in ["gzip", "bzip2", "xz", "zstd"] {
        upload(
            &mut direct,
            &through(compressor, &["-1", "-c"], part),
            "/packed",
        );
        assert_eq!(direct.file_architecture("/packed").unwrap(), own_word());
        // The end is missing.
        direct.truncate_size("/packed", 200_000).unwrap();
        assert_eq!(direct.file_architecture("/packed").unwrap(), own_word());
    }
}

#[test]
fn initial_ramdisks_are_known_by_their_programs() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir_all(at("bin")).unwrap();
    fs::create_dir_all(at("usr/bin")).unwrap();
    fs::write(at("init"), "#!/bin/sh\n").unwrap();
    fs::write(at("microcode"), vec![7; 5000]).unwrap();
    fs::copy("/bin/ls", at("bin/one")).unwrap();
    fs::hard_link(at("bin/one"), at("bin/sh")).unwrap();
    fs::write(at("bin/ls"), "no program\n").unwrap();
    let large = fs::File::create(at("usr/bin/large")).unwrap();
    large.set_len(50 << 20).unwrap();

    let mut direct = Direct::mounted();
    // The data of the program comes under a name that says nothing.
    let main = cpio(
        scratch.path(),
        &["init", "usr/bin/large", "bin/ls", "bin/sh", "bin/one"],
    );
    for compressor in ["gzip", "bzip2", "xz", "zstd"] {
        let mut whole = cpio(scratch.path(), &["microcode"]);
        whole.append(&mut through(compressor, &["-1", "-c"], &main));
        upload(&mut direct, &whole, "/initrd");
        assert_eq!(direct.file_architecture("/initrd").unwrap(), own_word());
    }
    // No program that counts is left.
    upload(
        &mut direct,
        &cpio(scratch.path(), &["init", "bin/ls", "bin/one"]),
        "/initrd",
    );
    let error = direct.file_architecture("/initrd").unwrap_err();
    assert!(
        error.to_string().contains("unknown architecture: /initrd"),
        "{error}"
    );
}

#[test]
fn what_never_ends_is_not_read_to_its_end() {
    // Some terabytes, for which no client would wait.
    const MEMBERS: usize = 100_000;
    let mut direct = Direct::mounted();
    let zeroes = through("sh", &["-c", "head -c 50M /dev/zero | bzip2"], b"");
    upload(&mut direct, &zeroes.repeat(MEMBERS), "/zeroes.bz2");
    let error = direct.file_architecture("/zeroes.bz2").unwrap_err();
    assert!(
        error.to_string().contains("unknown architecture"),
        "{error}"
    );
    // As it is.
    direct.touch("/sparse").unwrap();
    direct.truncate_size("/sparse", 1 << 40).unwrap();
    direct.file_architecture("/sparse").unwrap_err();
}
