//! The wire in process: encoding and decoding without a channel.
//!
//! `cargo bench --bench wire`. Comparisons with the stock daemon are
//! `cargo xtask bench`'s.

use divan::{Bencher, black_box, counter::BytesCount};
use protocol::api::Statns;
use protocol::xdr::{Decoder, Encoder};
use protocol::{Device, DeviceNames, Structure};

fn main() {
    divan::main();
}

struct Names;

impl DeviceNames for Names {
    fn device_name(&self, device: &Device) -> String {
        device.as_str().to_owned()
    }
}

fn names(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("a-file-name-{number}").into_bytes())
        .collect()
}

/// The reply of `ls` for a large directory.
#[divan::bench(args = [10, 1000, 10_000])]
fn encode_names(bencher: Bencher<'_, '_>, count: usize) {
    let names = names(count);
    bencher
        .counter(BytesCount::new(names.iter().map(Vec::len).sum::<usize>()))
        .bench(|| {
            let mut out = Encoder::new();
            out.len(names.len());
            for name in &names {
                out.opaque(name);
            }
            out.into_bytes()
        });
}

/// The arguments of `lstatnslist` for a large directory.
#[divan::bench(args = [10, 1000, 10_000])]
fn decode_names(bencher: Bencher<'_, '_>, count: usize) {
    let mut out = Encoder::new();
    out.len(count);
    for name in names(count) {
        out.opaque(&name);
    }
    let bytes = out.into_bytes();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| Decoder::new(black_box(&bytes)).list(|input| input.string()));
}

/// The reply of `lstatnslist`.
#[divan::bench(args = [10, 1000])]
fn encode_statns(bencher: Bencher<'_, '_>, count: usize) {
    let zeroes = vec![0; 1024];
    let one = Statns::decode(&mut Decoder::new(&zeroes)).expect("zeroes are a statns");
    bencher.bench(|| {
        let mut out = Encoder::new();
        for _ in 0..count {
            black_box(&one).encode(&mut out, &Names);
        }
        out.into_bytes()
    });
}
