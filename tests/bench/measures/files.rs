//! Calls on small files for which the stock daemon starts a program.

use protocol::api::SetE2attrsOptions;
use protocol::client::Client;

use super::{Called, Measure};
use crate::instance::Channel;

const TARGET: f64 = 0.1;

pub(super) fn measures() -> Vec<Measure> {
    vec![
        call("wc_l", |client| client.wc_l("/small").map(drop)),
        call("wc_w", |client| client.wc_w("/small").map(drop)),
        call("wc_c", |client| client.wc_c("/small").map(drop)),
        call("head", |client| client.head("/small").map(drop)),
        call("tail", |client| client.tail("/small").map(drop)),
        call("hexdump", |client| client.hexdump("/small").map(drop)),
        call("strings", |client| client.strings("/small").map(drop)),
        call("file", |client| client.file("/small").map(drop)),
        call("checksum md5 of 4 KiB", |client| {
            client.checksum("md5", "/small").map(drop)
        }),
        call("checksums_out of 20 files", |client| {
            client.checksums_out("md5", "/branch", &mut Vec::new())
        }),
        call("equal", |client| client.equal("/small", "/same").map(drop)),
        call("base64_out", |client| {
            client.base64_out("/small", &mut Vec::new())
        }),
        call("base64_in", |client| {
            client.base64_in(&mut b"aGVsbG8K".as_slice(), "/work/decoded")
        }),
        call("du of 20 files", |client| client.du("/branch").map(drop)),
        call("find0 of 20 files", |client| {
            client.find0("/branch", &mut Vec::new())
        }),
        call("cp", |client| client.cp("/small", "/work/copy")),
        call("cp_a", |client| client.cp_a("/small", "/work/copy")),
        call("cp_r and rm_rf of 5 files", |client| {
            client.cp_r("/branch/d0", "/work/tree")?;
            client.rm_rf("/work/tree")
        }),
        call("cp_r and rm_rf of 20 files", |client| {
            client.cp_r("/branch", "/work/tree")?;
            client.rm_rf("/work/tree")
        }),
        call("dd", |client| client.dd("/small", "/work/copy")),
        call("mv, there and back", |client| {
            client.mv("/same", "/work/moved")?;
            client.mv("/work/moved", "/same")
        }),
        call("mkdir and rm_rf", |client| {
            client.mkdir("/work/directory")?;
            client.rm_rf("/work/directory")
        }),
        call("ln_sf", |client| client.ln_sf("/small", "/work/symlink")),
        call("get_e2attrs", |client| {
            client.get_e2attrs("/small").map(drop)
        }),
        call("set_e2attrs, to and fro", |client| {
            client.set_e2attrs("/same", "d", &SetE2attrsOptions::default())?;
            let clear = Some(true);
            client.set_e2attrs("/same", "d", &SetE2attrsOptions { clear })
        }),
    ]
}

fn call(name: &'static str, call: fn(&mut Client<Channel>) -> Called) -> Measure {
    Measure::call("files", name, 10, call).target(TARGET)
}
