//! Calls for which either daemon starts a program: its output must be that
//! program's to the byte, or it is a compressor.

use protocol::client::Client;

use super::{Called, Measure};
use crate::instance::Channel;

const TARGET: f64 = 1.0;

pub(super) fn measures() -> Vec<Measure> {
    vec![
        call("grep in 1 MiB", |client| {
            client
                .grep("7: .*f and", "/text", &Default::default())
                .map(drop)
        }),
        call("egrep in 4 KiB", |client| {
            client.egrep("1[0-9]: ", "/small").map(drop)
        }),
        call("zgrep in 4 KiB", |client| {
            client.zgrep("1[0-9]: ", "/small.gz").map(drop)
        }),
        call("ll of 20 entries", |client| client.ll("/branch").map(drop)),
        call("ll of 5,000 entries", |client| client.ll("/tree").map(drop)),
        call("zfile", |client| {
            client.zfile("gzip", "/small.gz").map(drop)
        }),
        call("cpio_out of 20 files", |client| {
            client.cpio_out("/branch", &mut Vec::new(), &Default::default())
        }),
        call("compress_out of 1 MiB", |client| {
            client.compress_out("gzip", "/text", &mut Vec::new(), &Default::default())
        }),
        call("tgz_out of 20 files", |client| {
            client.tgz_out("/branch", &mut Vec::new())
        }),
        call("initrd_list of 20 files", |client| {
            client.initrd_list("/initrd").map(drop)
        }),
        call("initrd_cat", |client| {
            client.initrd_cat("/initrd", "d1/file-1").map(drop)
        }),
        call("mksquashfs of 20 files", |client| {
            client.mksquashfs("/branch", &mut Vec::new(), &Default::default())
        }),
    ]
}

fn call(name: &'static str, call: fn(&mut Client<Channel>) -> Called) -> Measure {
    Measure::call("kept", name, 3, call).target(TARGET)
}
