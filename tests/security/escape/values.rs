//! What calls are made with where nothing hostile stands.
//!
//! Most parameters get a value by their type. The tables are for those that
//! mean nothing then: a test fails when an entry names what the IDL does not
//! have, and when an action never succeeds with what it gets here.

use std::io::{Seek, Write};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use codegen::model::{Action, ListItem, OptionType, ParamType};

use super::given::{Given, Value};
use super::positions::model;

/// A value in a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sample {
    Text(&'static str),
    Number(i64),
    Flag(bool),
    Texts(&'static [&'static str]),
    /// What is sent as a file: a tar archive, as it is or compressed.
    Tar(Option<&'static str>),
    /// An option that stays unset.
    Unset,
}

use Sample::{Flag, Number, Tar, Text, Texts, Unset};

/// Parameters that mean the same wherever they occur.
const BY_NAME: &[(&str, Sample)] = &[
    ("dest", Text("/copy")),
    ("linkname", Text("/copy")),
    ("newpath", Text("/copy")),
    ("mountpoint", Text("/dir/empty")),
    ("csumtype", Text("md5")),
    ("ctype", Text("gzip")),
    ("acltype", Text("access")),
    ("xattr", Text("trusted.own")),
    ("qgroupid", Text("0/5")),
    ("mode", Number(0o640)),
    ("devmajor", Number(7)),
    ("devminor", Number(0)),
    ("count", Number(100)),
    ("nr", Number(3)),
    ("nrlines", Number(3)),
    ("size", Number(7)),
    ("offset", Number(0)),
    ("regex", Text(".")),
    ("pattern", Text("A")),
    ("specfile", Text("/labels")),
    ("target", Text("/own")),
];

/// Parameters and options of one action.
const BY_ACTION: &[(&str, &str, Sample)] = &[
    ("acl_set_file", "acl", Text("u::rw-,g::---,o::---")),
    ("base64_in", "base64file", Text("ZXZpbAo=\n")),
    ("btrfs_image", "image", Text("/copy")),
    ("btrfs_image", "source", Texts(&["/dev/sda"])),
    ("btrfs_qgroup_assign", "dst", Text("1/101")),
    ("btrfs_qgroup_assign", "src", Text("0/5")),
    ("btrfs_qgroup_create", "qgroupid", Text("1/102")),
    ("btrfs_qgroup_destroy", "qgroupid", Text("1/100")),
    ("btrfs_qgroup_limit", "size", Number(1 << 40)),
    ("btrfs_qgroup_remove", "dst", Text("1/101")),
    ("btrfs_qgroup_remove", "src", Text("0/5")),
    ("btrfs_replace", "srcdev", Text("/dev/sda")),
    ("btrfs_subvolume_set_default", "id", Number(5)),
    ("btrfs_subvolume_snapshot", "source", Text("/")),
    ("btrfs_filesystem_resize", "size", Number(255 << 20)),
    ("cap_set_file", "cap", Text("cap_chown=ep")),
    ("copy_attributes", "dest", Text("/own")),
    ("dd", "dest", Text("/own")),
    ("getxattr", "name", Text("trusted.own")),
    ("grep", "compressed", Unset),
    ("grep", "fixed", Unset),
    // Another limit would be the machine's for a moment.
    ("inotify_init", "maxevents", Number(0)),
    ("lgetxattr", "name", Text("trusted.own")),
    ("lsetxattr", "vallen", Number(1)),
    ("mkdtemp", "tmpl", Text("/XXXXXX")),
    ("mktemp", "suffix", Text(".own")),
    ("mknod_c", "devmajor", Number(1)),
    ("mknod_c", "devminor", Number(3)),
    ("mount_loop", "file", Text("/image")),
    ("mount_options", "options", Text("noatime")),
    ("mount_vfs", "options", Text("")),
    ("mount_vfs", "vfstype", Text("ext2")),
    ("mksquashfs", "excludes", Texts(&["none"])),
    ("set_e2attrs", "attrs", Text("d")),
    ("setfiles", "excludes", Texts(&["/h/abs"])),
    ("strings_e", "encoding", Text("l")),
    ("tar_in", "tarfile", Tar(None)),
    ("tgz_in", "tarball", Tar(Some("gzip"))),
    ("txz_in", "tarball", Tar(Some("xz"))),
    ("umount", "lazyunmount", Unset),
    ("write_file", "size", Number(0)),
    ("xfs_growfs", "logsec", Flag(false)),
    ("xfs_growfs", "rtsec", Flag(false)),
    ("xfs_repair", "forcelogzero", Unset),
    ("zfile", "meth", Text("gzip")),
];

/// Actions that mean nothing before another one was called.
const AFTER: &[(&str, &str)] = &[("inotify_add_watch", "inotify_init")];

/// The action that is to be called before this one.
pub(crate) fn before(action: &str) -> Option<&'static Action> {
    let row = AFTER.iter().find(|row| row.0 == action)?;
    let mut actions = model().modules.iter().flat_map(|module| &module.actions);
    let first = actions.find(|action| action.name == row.1);
    Some(first.unwrap_or_else(|| panic!("no action is called {}", row.1)))
}

/// The values of a call of `action`, with its options if `options`.
pub(crate) fn samples(action: &Action, options: bool) -> Given {
    let mut given = Given::default();
    for param in &action.params {
        let by_name = || match param.ty {
            // What is a path elsewhere is a device here.
            ParamType::Device | ParamType::Mountable => None,
            _ => BY_NAME.iter().find(|row| row.0 == param.name),
        };
        let sample = sample_of_action(&action.name, &param.name);
        let value = match sample.or_else(|| by_name().map(|row| row.1)) {
            Some(sample) => value(sample).expect("a parameter has a value"),
            None => by_type(param.ty),
        };
        given.set(&param.name, value);
    }
    for option in action.options.iter().filter(|_| options) {
        let value = match (sample_of_action(&action.name, &option.name), option.ty) {
            (Some(sample), _) => value(sample),
            (None, OptionType::Bool) => Some(Value::Flag(true)),
            (None, _) => None,
        };
        if let Some(value) = value {
            given.set(&option.name, value);
        }
    }
    given
}

fn sample_of_action(action: &str, name: &str) -> Option<Sample> {
    let row = BY_ACTION
        .iter()
        .find(|row| (row.0, row.1) == (action, name))?;
    Some(row.2)
}

fn value(sample: Sample) -> Option<Value> {
    Some(match sample {
        Text(text) => Value::bytes(text),
        Number(number) => Value::Number(number),
        Flag(flag) => Value::Flag(flag),
        Texts(texts) => Value::list(texts),
        Tar(program) => Value::Bytes(archive(program)),
        Unset => return None,
    })
}

fn by_type(ty: ParamType) -> Value {
    match ty {
        ParamType::Pathname | ParamType::DeviceOrPath | ParamType::MountableOrPath => {
            Value::bytes("/own")
        }
        ParamType::Device => Value::bytes("/dev/sdc"),
        ParamType::Mountable => Value::bytes("/dev/sde"),
        ParamType::Guid => Value::bytes("01234567-89ab-cdef-0123-456789abcdef"),
        ParamType::FileIn | ParamType::Buffer => Value::bytes("new content\n"),
        ParamType::Int | ParamType::Int64 => Value::Number(1),
        ParamType::Bool => Value::Flag(true),
        ParamType::List(ListItem::Pathname) => Value::list(&["/own"]),
        ParamType::List(ListItem::Device) => Value::list(&["/dev/sdc"]),
        ParamType::List(ListItem::Filename) => Value::list(&["file", "..", "dir"]),
        ParamType::List(_) => Value::list(&["x"]),
        ParamType::String
        | ParamType::NullableString
        | ParamType::Text
        | ParamType::Key
        | ParamType::FileOut
        | ParamType::Descriptor => Value::bytes("x"),
    }
}

/// A tar archive whose members have the names of what is outside, and go
/// through the links that a hostile directory has.
fn archive(program: Option<&'static str>) -> Vec<u8> {
    static PLAIN: OnceLock<Vec<u8>> = OnceLock::new();
    static GZIP: OnceLock<Vec<u8>> = OnceLock::new();
    static XZ: OnceLock<Vec<u8>> = OnceLock::new();
    let plain = PLAIN.get_or_init(|| {
        let mut builder = tar::Builder::new(Vec::new());
        for name in ["file", "dir/inside", "new", "abs/file", "up/new", "up-file"] {
            let content = b"new content\n";
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o666);
            header.set_mtime(1);
            let appended = builder.append_data(&mut header, name, &content[..]);
            appended.expect("archive");
        }
        builder.into_inner().expect("archive")
    });
    match program {
        None => plain.clone(),
        Some("gzip") => GZIP
            .get_or_init(|| filtered("gzip", &["-c"], plain))
            .clone(),
        Some(program) => XZ.get_or_init(|| filtered(program, &["-c"], plain)).clone(),
    }
}

/// What a program makes of its input.
pub(crate) fn filtered(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().expect("a scratch file");
    file.write_all(input).expect("write");
    file.rewind().expect("rewind");
    let mut command = Command::new(program);
    command.args(args).stdin(file).stderr(Stdio::null());
    command.output().expect(program).stdout
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_tables_name_what_the_idl_has() {
        let mut known = BTreeSet::new();
        for action in model().modules.iter().flat_map(|module| &module.actions) {
            let params = action.params.iter().map(|param| &param.name);
            for name in params.chain(action.options.iter().map(|option| &option.name)) {
                known.insert((action.name.as_str(), name.as_str()));
            }
        }
        for (action, name, _) in BY_ACTION {
            assert!(known.contains(&(*action, *name)), "{action} has no {name}");
        }
        for (action, first) in AFTER {
            for name in [action, first] {
                let mut actions = model().modules.iter().flat_map(|module| &module.actions);
                assert!(actions.any(|action| action.name == *name), "no {name}");
            }
        }
        for (name, _) in BY_NAME {
            assert!(known.iter().any(|known| known.1 == *name), "no {name}");
        }
    }
}
