//! What the streaming actions are called with.

use std::path::Path;
use std::sync::OnceLock;

use codegen::model::{Action, Model, ParamType};
use conformance::support::given::{Given, Value};

/// Strings, numbers and paths that mean the same wherever they occur.
const BY_NAME: &[(&str, &str)] = &[
    ("csumtype", "md5"),
    ("ctype", "gzip"),
    ("tmpname", "/sysroot/new"),
];

/// Parameters of one action that are not what their type says.
const BY_ACTION: &[(&str, &str, &str)] = &[
    ("compress_device_out", "device", "/dev/sda"),
    ("cpio_out", "directory", "/tree"),
    ("find0", "directory", "/names"),
    ("internal_readdir", "dir", "/names"),
    ("ls0", "dir", "/names"),
    ("ntfsclone_in", "device", "/dev/sdc"),
    ("tar_out", "directory", "/tree"),
];

/// Actions that end the daemon, as they are meant to.
const FATAL: &[&str] = &["internal_rhbz914931"];

/// An action that sends what it has made before.
pub(super) const MADE_FIRST: &str = "mksquashfs";

fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let idl = Path::new(env!("CARGO_MANIFEST_DIR")).join("../idl");
        codegen::load(&idl).expect("the IDL is right")
    })
}

fn streaming(ty: ParamType) -> impl Iterator<Item = &'static Action> {
    let actions = model().modules.iter().flat_map(|module| &module.actions);
    actions
        .filter(|action| !action.pending && !FATAL.contains(&action.name.as_str()))
        .filter(move |action| action.params.iter().any(|param| param.ty == ty))
}

/// Actions that send a file to the library.
pub(super) fn streaming_out() -> impl Iterator<Item = &'static Action> {
    streaming(ParamType::FileOut)
}

/// The one that sends what it has made before.
pub(super) fn made_first() -> &'static Action {
    let mut actions = streaming_out();
    let found = actions.find(|action| action.name == MADE_FIRST);
    found.expect(MADE_FIRST)
}

/// Actions that receive a file from the library.
pub(super) fn streaming_in() -> impl Iterator<Item = &'static Action> {
    streaming(ParamType::FileIn)
}

/// The values of a call that works below the directory `base`, with the beginning
/// of a file.
pub(super) fn given(action: &Action, base: &str, file: Option<&[u8]>) -> Given {
    let file = file.map(|bytes| Value::Broken(bytes.to_vec()));
    values(action, base, file)
}

/// The same with all of a file.
pub(super) fn given_whole(action: &Action, base: &str, file: &[u8]) -> Given {
    values(action, base, Some(Value::bytes(file)))
}

fn values(action: &Action, base: &str, file: Option<Value>) -> Given {
    let mut given = Given::default();
    let sends = file.is_some();
    for param in &action.params {
        let name = param.name.as_str();
        let own = BY_ACTION
            .iter()
            .find(|row| (row.0, row.1) == (action.name.as_str(), name));
        let path = matches!(param.ty, ParamType::Pathname | ParamType::DeviceOrPath);
        let directory = matches!(name, "directory" | "dir" | "path");
        let value = match own.map(|row| row.2) {
            // There is no room on it.
            Some("/dev/sdc") if !base.is_empty() => Value::bytes("/dev/sdd"),
            Some(text) => Value::bytes(text),
            None if path && sends && directory => Value::bytes(format!("{base}/in")),
            None if path && sends => Value::bytes(format!("{base}/new")),
            None if path && directory => Value::bytes("/tree"),
            None if path => Value::bytes("/tree/data"),
            None => match param.ty {
                ParamType::FileIn => file.clone().expect("a file to send"),
                ParamType::FileOut => continue,
                ParamType::Device | ParamType::Mountable => Value::bytes("/dev/sdb"),
                // The log file of NTFS.
                ParamType::Int64 if name == "inode" => Value::Number(2),
                ParamType::Int64 if name == "size" => Value::Number(1 << 30),
                ParamType::Int64 => Value::Number(0),
                ParamType::Int => Value::Number(0o600),
                _ => {
                    let row = BY_NAME.iter().find(|row| row.0 == name);
                    let row = row.unwrap_or_else(|| panic!("{}: no '{name}'", action.name));
                    Value::bytes(row.1.replace("/sysroot", &format!("/sysroot{base}")))
                }
            },
        };
        given.set(name, value);
    }
    given
}
