//! A daemon that sends anything: the client returns, and allocates no more
//! than a message may have.

#![no_main]

use std::io::{self, Read, Write};

use libfuzzer_sys::fuzz_target;
use protocol::client::Client;
use protocol::wire::LAUNCH_FLAG;

/// Answers with fixed bytes, and takes everything.
struct Canned<'a>(&'a [u8]);

impl Read for Canned<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Canned<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = LAUNCH_FLAG.to_be_bytes().to_vec();
    bytes.extend_from_slice(data);
    let mut client = Client::launch(Canned(&bytes)).expect("the flag is there");
    let _ = client.mountpoints();
    let _ = client.download("/x", &mut io::sink());
    let _ = client.lvs_full();
});
