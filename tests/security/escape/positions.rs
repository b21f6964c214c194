//! Where a hostile guest's names can stand: read from the IDL, so that a new
//! action is among them without anyone adding it.

use std::path::Path;
use std::sync::OnceLock;

use codegen::model::{Action, ListItem, Model, Module, ParamType};

use super::given::{Given, Value};
use super::values::samples;

/// Strings that are paths in the guest, although their type does not say so.
const PATHS: &[(&str, &str)] = &[
    ("cpio_out", "directory"),
    ("hivex_commit", "filename"),
    ("ln", "target"),
    ("ln_f", "target"),
    ("mkmountpoint", "exemptpath"),
    ("mount", "mountpoint"),
    ("mount_9p", "mountpoint"),
    ("mount_options", "mountpoint"),
    ("mount_ro", "mountpoint"),
    ("mount_vfs", "mountpoint"),
    ("rmmountpoint", "exemptpath"),
    ("selinux_relabel", "specfile"),
    ("setfiles", "specfile"),
    ("tar_out", "directory"),
];

/// What makes a device of a path.
const MAKES_DEVICE: &str = "mount_loop";

/// What is to be put at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A path in the guest.
    Path,
    /// A list with a path in the guest.
    Paths,
    /// A list with a name in the directory that another parameter gives.
    Names,
    /// A device or a btrfs subvolume; paths in the guest do not count.
    Mountable,
}

/// A parameter of an action with a handler.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) area: &'static str,
    pub(crate) action: &'static Action,
    pub(crate) parameter: &'static str,
    pub(crate) kind: Kind,
    /// Also the action's options are given.
    pub(crate) options: bool,
}

impl Position {
    /// The values of a call with `hostile` at this position.
    pub(crate) fn given(&self, hostile: &str) -> Given {
        let mut given = samples(self.action, self.options);
        if self.kind == Kind::Names {
            for param in &self.action.params {
                if param.ty == ParamType::Pathname {
                    given.set(&param.name, Value::bytes("/h"));
                }
            }
        }
        let value = match self.kind {
            Kind::Path | Kind::Mountable => Value::bytes(hostile),
            Kind::Paths | Kind::Names => Value::list(&[hostile]),
        };
        given.set(self.parameter, value);
        given
    }

    /// Whether such a call has to do with a device. At the position itself is a path.
    pub(crate) fn needs_device(&self) -> bool {
        let mut params = self.action.params.iter();
        let named = params.any(|param| {
            let may_be = matches!(
                param.ty,
                ParamType::Device
                    | ParamType::DeviceOrPath
                    | ParamType::Mountable
                    | ParamType::MountableOrPath
                    | ParamType::List(ListItem::Device)
            );
            may_be && param.name != self.parameter
        });
        named || self.action.name == MAKES_DEVICE
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.action.name, self.parameter)?;
        f.write_str(if self.options { " with options" } else { "" })
    }
}

/// The project's IDL.
pub(crate) fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let idl = Path::new(env!("CARGO_MANIFEST_DIR")).join("../idl");
        codegen::load(&idl).expect("the IDL is right")
    })
}

/// Every position there is.
pub(crate) fn positions() -> Vec<Position> {
    let mut found = Vec::new();
    for module in &model().modules {
        for action in module.actions.iter().filter(|action| !action.pending) {
            for options in [false, true] {
                if !options || !action.options.is_empty() {
                    found.extend(of_action(module, action, options));
                }
            }
        }
    }
    found
}

fn of_action(
    module: &'static Module,
    action: &'static Action,
    options: bool,
) -> impl Iterator<Item = Position> {
    action.params.iter().filter_map(move |param| {
        Some(Position {
            area: &module.area,
            action,
            parameter: &param.name,
            kind: kind(&action.name, &param.name, param.ty)?,
            options,
        })
    })
}

fn kind(action: &str, name: &str, ty: ParamType) -> Option<Kind> {
    match ty {
        ParamType::Pathname | ParamType::DeviceOrPath | ParamType::MountableOrPath => {
            Some(Kind::Path)
        }
        ParamType::List(ListItem::Pathname) => Some(Kind::Paths),
        ParamType::List(ListItem::Filename) => Some(Kind::Names),
        ParamType::Mountable => Some(Kind::Mountable),
        _ => PATHS.contains(&(action, name)).then_some(Kind::Path),
    }
}

#[test]
fn the_table_of_paths_names_what_the_idl_has() {
    for (action, name) in PATHS {
        let mut actions = model().modules.iter().flat_map(|module| &module.actions);
        let found = actions.find(|other| other.name == *action);
        let found = found.is_some_and(|action| {
            let mut params = action.params.iter();
            params.any(|param| {
                param.name == *name
                    && matches!(param.ty, ParamType::String | ParamType::NullableString)
            })
        });
        assert!(found, "{action} has no string '{name}'");
    }
}
