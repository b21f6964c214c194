//! The IDL's messages against an XDR implementation that is not ours: the one
//! that rpcgen makes of the generated `guestfs_protocol.x`.
//!
//! Needs `rpcgen`, a C compiler and libtirpc.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use codegen::emit::fixtures::{Fixture, Value, fixtures, hexadecimal};
use codegen::model::Model;

fn model() -> Result<Model> {
    Ok(codegen::load(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../idl"),
    )?)
}

/// A message body with the place of its type in the driver's table.
struct Record {
    what: String,
    entry: u32,
    bytes: Vec<u8>,
    dump: String,
}

fn records(model: &Model) -> Result<Vec<Record>> {
    let entries = codegen::emit::entries(model);
    let mut records = Vec::new();
    for fixture in fixtures(model) {
        let Fixture {
            action, variant, ..
        } = &fixture;
        let members: Vec<&Value> = fixture
            .params
            .iter()
            .chain(&fixture.options)
            .map(|(_, value)| value)
            .collect();
        let result: Vec<&Value> = fixture.result.iter().map(|(_, value)| value).collect();
        for (kind, values, bytes) in [
            ("args", members, fixture.call_body()),
            ("ret", result, fixture.reply_body()),
        ] {
            if values.is_empty() {
                ensure!(bytes.is_empty(), "{action}: bytes without values");
                continue;
            }
            let name = format!("guestfs_{action}_{kind}");
            let entry = entries.iter().position(|(entry, _)| *entry == name);
            records.push(Record {
                what: format!("{name} ({variant:?})"),
                entry: u32::try_from(
                    entry.with_context(|| format!("{name} is not in the driver"))?,
                )?,
                bytes,
                dump: values
                    .iter()
                    .map(|value| value.dump())
                    .collect::<Vec<_>>()
                    .join(","),
            });
        }
    }
    Ok(records)
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| {
        format!(
            "{name}: needs rpcsvc-proto, gcc and libtirpc-dev; 'cargo xtask install' installs them"
        )
    })?;
    if !output.status.success() {
        bail!(
            "{name}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}

/// Builds the driver in `folder`; gives back the program.
fn build(model: &Model, folder: &Path) -> Result<PathBuf> {
    std::fs::write(folder.join("guestfs_protocol.x"), codegen::emit::x(model))?;
    std::fs::write(folder.join("driver.c"), codegen::emit::driver(model))?;
    for (option, output) in [
        ("-h", "guestfs_protocol.h"),
        ("-c", "guestfs_protocol_xdr.c"),
    ] {
        run(Command::new("rpcgen")
            .args([option, "-o", output, "guestfs_protocol.x"])
            .current_dir(folder))?;
    }
    run(Command::new("cc")
        .args([
            "-O0",
            "-w",
            "-o",
            "driver",
            "driver.c",
            "guestfs_protocol_xdr.c",
        ])
        .args(["-I/usr/include/tirpc", "-ltirpc"])
        .current_dir(folder))?;
    Ok(folder.join("driver"))
}

#[test]
fn an_independent_implementation_agrees() -> Result<()> {
    let model = model()?;
    let records = records(&model)?;
    let actions = model
        .modules
        .iter()
        .map(|module| module.actions.len())
        .sum::<usize>();
    ensure!(
        records.len() > actions * 3,
        "{} records for {actions} actions",
        records.len()
    );

    let folder = tempfile::tempdir()?;
    let driver = build(&model, folder.path())?;
    let mut input = Vec::new();
    for record in &records {
        input.extend(record.entry.to_be_bytes());
        input.extend(u32::try_from(record.bytes.len())?.to_be_bytes());
        input.extend(&record.bytes);
    }
    let input_path = folder.path().join("input");
    std::fs::write(&input_path, input)?;
    let output = Command::new(driver)
        .stdin(std::fs::File::open(input_path)?)
        .output()
        .context("the driver")?;
    ensure!(output.status.success(), "the driver: {}", output.status);

    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines();
    let mut wrong = Vec::new();
    for record in &records {
        let (values, bytes) = (
            lines.next().unwrap_or("nothing"),
            lines.next().unwrap_or("nothing"),
        );
        if values != record.dump {
            wrong.push(format!(
                "{}: decoded as {values}, not {}",
                record.what, record.dump
            ));
        }
        if bytes != hexadecimal(&record.bytes) {
            wrong.push(format!(
                "{}: encoded as {bytes}, not {}",
                record.what,
                hexadecimal(&record.bytes)
            ));
        }
    }
    ensure!(
        lines.next().is_none(),
        "the driver printed more than it was asked"
    );
    ensure!(
        wrong.is_empty(),
        "{} of {} records differ:\n{}",
        wrong.len(),
        records.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// The constants of the protocol in the `.x` file are those of the runtime.
#[test]
fn constants_agree() -> Result<()> {
    let text = codegen::emit::x(&model()?);
    let constant = |name: &str| -> Result<u64> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("const {name} = ")))
            .with_context(|| format!("no {name}"))?;
        let value = line.trim_end_matches(';');
        Ok(match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16)?,
            None => value.parse()?,
        })
    };
    use protocol::wire;
    assert_eq!(constant("GUESTFS_PROGRAM")?, wire::PROGRAM.into());
    assert_eq!(
        constant("GUESTFS_PROTOCOL_VERSION")?,
        wire::PROTOCOL_VERSION.into()
    );
    assert_eq!(constant("GUESTFS_LAUNCH_FLAG")?, wire::LAUNCH_FLAG.into());
    assert_eq!(constant("GUESTFS_CANCEL_FLAG")?, wire::CANCEL_FLAG.into());
    assert_eq!(
        constant("GUESTFS_PROGRESS_FLAG")?,
        wire::PROGRESS_FLAG.into()
    );
    assert_eq!(constant("GUESTFS_MESSAGE_MAX")?, wire::MESSAGE_MAX as u64);
    assert_eq!(constant("GUESTFS_ERROR_LEN")?, wire::ERROR_LEN as u64);
    assert_eq!(constant("GUESTFS_MAX_CHUNK_SIZE")?, wire::CHUNK_MAX as u64);
    Ok(())
}
