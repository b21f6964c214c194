//! A C program around what rpcgen makes of the `.x` file, to decode and
//! encode messages with an XDR implementation that is not ours.
//!
//! It reads records from stdin (the number of an entry of its table, a
//! length, that many bytes; both numbers 32 bits, most significant byte
//! first), and prints for each a line with the values it decoded, and one
//! with the bytes that it encoded them to.

use std::fmt::Write as _;

use crate::model::{Action, Model};
use crate::wire::{self, WireType};

const HEAD: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <inttypes.h>
#include "guestfs_protocol.h"

static void hex (const char *bytes, size_t len)
{
  putchar ('"');
  for (size_t i = 0; i < len; i++)
    printf ("%02x", (unsigned char) bytes[i]);
  putchar ('"');
}

static void show_string (const char *s) { hex (s, strlen (s)); }

static void show_float (float f)
{
  uint32_t bits;
  memcpy (&bits, &f, sizeof bits);
  printf ("%08" PRIx32, bits);
}

static void show_strings (guestfs_str *items, u_int count)
{
  putchar ('[');
  for (u_int i = 0; i < count; i++) {
    if (i > 0) putchar (',');
    show_string (items[i]);
  }
  putchar (']');
}
"#;

const TAIL: &str = r#"
static uint32_t word (void)
{
  unsigned char b[4];
  if (fread (b, 1, 4, stdin) != 4) exit (feof (stdin) ? 0 : 1);
  return (uint32_t) b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

int main (void)
{
  for (;;) {
    uint32_t entry = word (), len = word ();
    char *in = malloc (len + 1), *out = malloc (len + 1024);
    if (in == NULL || out == NULL || fread (in, 1, len, stdin) != len) return 1;
    if (entry >= sizeof table / sizeof table[0]) return 2;
    XDR from, to;
    xdrmem_create (&from, in, len, XDR_DECODE);
    xdrmem_create (&to, out, len + 1024, XDR_ENCODE);
    if (!table[entry] (&from, &to)) {
      puts ("error");
      puts ("");
    } else {
      putchar ('\n');
      if (xdr_getpos (&from) != len) printf ("unread ");
      hex (out, xdr_getpos (&to));
      putchar ('\n');
    }
    free (in);
    free (out);
  }
}
"#;

/// The type's name in C, and what it holds, in the order of the driver's table.
#[must_use]
pub fn entries(model: &Model) -> Vec<(String, Vec<(&str, WireType)>)> {
    let actions: Vec<&Action> = model
        .modules
        .iter()
        .flat_map(|module| &module.actions)
        .collect();
    let calls = actions
        .iter()
        .map(|action| (format!("guestfs_{}_args", action.name), wire::call(action)));
    let replies = actions.iter().map(|action| {
        (
            format!("guestfs_{}_ret", action.name),
            wire::reply(action).into_iter().collect(),
        )
    });
    // rpcgen has no empty structures.
    calls
        .chain(replies)
        .filter(|(_, members): &(String, Vec<_>)| !members.is_empty())
        .collect()
}

/// The program's text.
#[must_use]
pub fn driver(model: &Model) -> String {
    let mut text = HEAD.to_owned();
    for item in model.modules.iter().flat_map(|module| &module.structs) {
        let _ = write!(
            text,
            "\nstatic void show_{0} (const guestfs_int_{0} *v)\n{{\n  putchar ('{{');\n",
            item.name
        );
        show_all(&mut text, &wire::fields(&item.fields), "v->");
        text.push_str("  putchar ('}');\n}\n");
    }
    let entries = entries(model);
    for (name, members) in &entries {
        let _ = write!(
            text,
            "\nstatic int do_{name} (XDR *from, XDR *to)\n{{\n  struct {name} v;\n  memset (&v, 0, sizeof v);\n  \
             if (!xdr_{name} (from, &v)) return 0;\n"
        );
        show_all(&mut text, members, "v.");
        let _ = write!(
            text,
            "  int ok = xdr_{name} (to, &v);\n  xdr_free ((xdrproc_t) xdr_{name}, (char *) &v);\n  return ok;\n}}\n"
        );
    }
    text.push_str("\nstatic int (*table[]) (XDR *, XDR *) = {\n");
    for (name, _) in &entries {
        let _ = writeln!(text, "  do_{name},");
    }
    text.push_str("};\n");
    text + TAIL
}

fn show_all(text: &mut String, members: &[(&str, WireType)], of: &str) {
    for (place, (name, ty)) in members.iter().enumerate() {
        if place > 0 {
            text.push_str("  putchar (',');\n");
        }
        let _ = writeln!(text, "  {}", show(&format!("{of}{name}"), name, ty));
    }
}

fn show(value: &str, name: &str, ty: &WireType) -> String {
    match ty {
        WireType::Int | WireType::Bool => format!("printf (\"%d\", {value});"),
        WireType::UInt => format!("printf (\"%u\", {value});"),
        WireType::Hyper => format!("printf (\"%\" PRId64, (int64_t) {value});"),
        WireType::UHyper => format!("printf (\"%\" PRIu64, (uint64_t) {value});"),
        WireType::Float => format!("show_float ({value});"),
        WireType::Char => format!("printf (\"%d\", (unsigned char) {value});"),
        WireType::Opaque32 => format!("hex ({value}, 32);"),
        WireType::Opaque => format!("hex ({value}.{name}_val, {value}.{name}_len);"),
        WireType::String => format!("show_string ({value});"),
        WireType::OptionalString => {
            format!("if ({value}) show_string (*{value}); else putchar ('-');")
        }
        WireType::StringList => format!("show_strings ({value}.{name}_val, {value}.{name}_len);"),
        WireType::Struct(of) => format!("show_{of} (&{value});"),
        WireType::StructList(of) => {
            let list = format!("guestfs_int_{of}_list");
            format!(
                "putchar ('['); for (u_int i = 0; i < {value}.{list}_len; i++) {{ if (i > 0) putchar (','); \
                 show_{of} (&{value}.{list}_val[i]); }} putchar (']');"
            )
        }
        WireType::FileIn | WireType::FileOut | WireType::Descriptor => String::new(),
    }
}
