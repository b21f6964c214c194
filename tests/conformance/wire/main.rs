//! Every message against the samples that codegen makes of the IDL: the
//! generated client writes the calls and reads the replies, the generated
//! stubs read the calls and write the replies.

use std::collections::BTreeMap;
use std::path::Path;

use codegen::emit::fixtures::{Fixture, Value};
use codegen::model::{Action, Model, ParamType};
use protocol::api::*;
use protocol::client::{Client, ClientError};
// Which types the handlers have differs with the actions that have one.
use protocol::*;

mod client;
mod stubs;
mod values;

use client::Canned;
use stubs::Handler;
use values::{Sample, Show, bytes, character, member, option, optional, param, strings, text};

include!(concat!(env!("OUT_DIR"), "/cases.rs"));

const LAUNCH: [u8; 4] = [0xf5, 0xf5, 0x5f, 0xf5];
/// An end of file: a length of 8, not cancelled, no data.
const END: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];

fn model() -> Model {
    codegen::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../idl")).expect("the IDL is right")
}

fn actions(model: &Model) -> BTreeMap<&str, &Action> {
    let actions = model.modules.iter().flat_map(|module| &module.actions);
    actions
        .map(|action| (action.name.as_str(), action))
        .collect()
}

fn streams(action: &Action, ty: ParamType) -> bool {
    action.params.iter().any(|param| param.ty == ty)
}

/// A message with its length word: a header of 40 bytes, written out here by hand, and a body.
fn message(number: u32, serial: u32, reply: bool, bits: u64, status: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(
        u32::try_from(40 + body.len())
            .expect("a sample is small")
            .to_be_bytes(),
    );
    for word in [0x2000_f5f5, 4, number, u32::from(reply), serial, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend(bits.to_be_bytes());
    out.extend(status.to_be_bytes());
    out.extend(body);
    out
}
