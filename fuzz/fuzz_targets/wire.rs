//! Bytes from the channel, as a header, as values and as every structure:
//! nothing panics, and what decodes encodes to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::api;
use protocol::wire::{Header, ProgressMessage};
use protocol::xdr::{Decoder, Encoder};
use protocol::{Device, DeviceNames};

struct Names;

impl DeviceNames for Names {
    fn device_name(&self, device: &Device) -> String {
        device.as_str().to_owned()
    }
}

macro_rules! round_trip {
    ($data:expr, $($name:ident),*) => {$({
        let mut input = Decoder::new($data);
        if let Ok(value) = api::$name::decode(&mut input) {
            let mut out = Encoder::new();
            value.encode(&mut out, &Names);
            let bytes = out.into_bytes();
            let again = api::$name::decode(&mut Decoder::new(&bytes));
            // A NaN is not equal to itself; nothing else may differ.
            if value == value {
                assert_eq!(again.as_ref(), Ok(&value));
            }
        }
    })*};
}

fuzz_target!(|data: &[u8]| {
    let _ = Header::decode(&mut Decoder::new(data));
    let _ = ProgressMessage::decode(&mut Decoder::new(data));
    let _ = Decoder::new(data).list(|input| input.string());
    let _ = Decoder::new(data).list(|input| input.optional(|input| input.text()));
    round_trip!(
        data, Statns, Statvfs, Dirent, Xattr, Partition, LvmPv, LvmVg, LvmLv, Utsname, Version,
        Isoinfo, Mdstat, Btrfssubvolume, Btrfsqgroup, Application2, TskDirent, YaraDetection
    );
});
