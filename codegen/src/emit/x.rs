//! `guestfs_protocol.x`: the protocol for rpcgen, under the names that libguestfs gives its parts.

use std::fmt::Write as _;

use crate::model::{Action, Model};
use crate::wire::{self, WireType};

const HEAD: &str = "\
/* The libguestfs protocol. Generated from the IDL; do not edit. */

%#include <stdint.h>

typedef string guestfs_str<>;
";

const TAIL: &str = "\
const GUESTFS_MESSAGE_MAX = 4194304;
const GUESTFS_PROGRAM = 0x2000F5F5;
const GUESTFS_PROTOCOL_VERSION = 4;

/* Larger than any length word, in whose place they are sent. */
const GUESTFS_LAUNCH_FLAG = 0xf5f55ff5;
const GUESTFS_CANCEL_FLAG = 0xffffeeee;
const GUESTFS_PROGRESS_FLAG = 0xffff5555;

enum guestfs_message_direction {
  GUESTFS_DIRECTION_CALL = 0,
  GUESTFS_DIRECTION_REPLY = 1
};

enum guestfs_message_status {
  GUESTFS_STATUS_OK = 0,
  GUESTFS_STATUS_ERROR = 1
};

const GUESTFS_ERROR_LEN = 65536;

struct guestfs_message_error {
  string errno_string<32>;
  string error_message<GUESTFS_ERROR_LEN>;
};

struct guestfs_message_header {
  unsigned prog;
  unsigned vers;
  guestfs_procedure proc;
  guestfs_message_direction direction;
  unsigned serial;
  uint64_t progress_hint;
  uint64_t optargs_bitmask;
  guestfs_message_status status;
};

const GUESTFS_MAX_CHUNK_SIZE = 8192;

struct guestfs_chunk {
  int cancel;
  opaque data<GUESTFS_MAX_CHUNK_SIZE>;
};

struct guestfs_progress {
  guestfs_procedure proc;
  unsigned serial;
  uint64_t position;
  uint64_t total;
};
";

/// The text of the `.x` file, retired actions included.
#[must_use]
pub fn x(model: &Model) -> String {
    let mut text = HEAD.to_owned();
    for item in model.modules.iter().flat_map(|module| &module.structs) {
        let name = format!("guestfs_int_{}", item.name);
        structure(&mut text, &name, &wire::fields(&item.fields));
        let _ = writeln!(text, "\ntypedef struct {name} {name}_list<>;");
    }
    let mut actions: Vec<&Action> = model
        .modules
        .iter()
        .flat_map(|module| &module.actions)
        .collect();
    actions.sort_by_key(|action| action.number);
    for action in &actions {
        let call = wire::call(action);
        if !call.is_empty() {
            structure(&mut text, &format!("guestfs_{}_args", action.name), &call);
        }
        if let Some(reply) = wire::reply(action) {
            structure(&mut text, &format!("guestfs_{}_ret", action.name), &[reply]);
        }
    }
    text.push_str("\nenum guestfs_procedure {\n");
    let procedures: Vec<String> = actions
        .iter()
        .map(|action| {
            format!(
                "  GUESTFS_PROC_{} = {}",
                action.name.to_uppercase(),
                action.number
            )
        })
        .collect();
    text.push_str(&procedures.join(",\n"));
    let last = actions.last().map_or(0, |action| action.number);
    let _ = write!(
        text,
        "\n}};\n\nconst GUESTFS_MAX_PROC_NR = {last};\n\n{TAIL}"
    );
    text
}

fn structure(text: &mut String, name: &str, members: &[(&str, WireType)]) {
    let _ = write!(text, "\nstruct {name} {{\n");
    for (name, ty) in members {
        let _ = writeln!(text, "  {};", member(name, ty));
    }
    text.push_str("};\n");
}

fn member(name: &str, ty: &WireType) -> String {
    match ty {
        WireType::Int => format!("int {name}"),
        WireType::UInt => format!("unsigned int {name}"),
        WireType::Hyper => format!("int64_t {name}"),
        WireType::UHyper => format!("uint64_t {name}"),
        WireType::Bool => format!("bool {name}"),
        WireType::Float => format!("float {name}"),
        WireType::Char => format!("char {name}"),
        WireType::Opaque32 => format!("opaque {name}[32]"),
        WireType::Opaque => format!("opaque {name}<>"),
        WireType::String => format!("string {name}<>"),
        WireType::OptionalString => format!("guestfs_str *{name}"),
        WireType::StringList => format!("guestfs_str {name}<>"),
        WireType::Struct(of) => format!("guestfs_int_{of} {name}"),
        WireType::StructList(of) => format!("guestfs_int_{of}_list {name}"),
        // Not in the message, so never a member.
        WireType::FileIn | WireType::FileOut | WireType::Descriptor => format!("void {name}"),
    }
}
