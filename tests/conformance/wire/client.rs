//! The generated client.

use std::io::{self, Cursor, Read, Write};

use codegen::emit::fixtures::{fixtures, hexadecimal};
use codegen::model::ParamType;
use protocol::client::Client;

use crate::{END, LAUNCH, actions, call, message, model, streams};

/// A channel whose other end has one reply ready for whatever is written.
pub(crate) struct Canned {
    written: Vec<u8>,
    number: u32,
    body: Vec<u8>,
    after: &'static [u8],
    reply: Option<Cursor<Vec<u8>>>,
    launched: bool,
}

impl Read for Canned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.launched {
            self.launched = true;
            return LAUNCH.as_slice().read(buffer);
        }
        let reply = self.reply.get_or_insert_with(|| {
            let serial = self
                .written
                .get(20..24)
                .and_then(|word| word.try_into().ok())
                .map(u32::from_be_bytes);
            let mut reply = message(
                self.number,
                serial.expect("a call has a serial"),
                true,
                0,
                0,
                &self.body,
            );
            reply.extend(self.after);
            Cursor::new(reply)
        });
        reply.read(buffer)
    }
}

impl Write for Canned {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.written.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_client_writes_calls_and_reads_replies() {
    let model = model();
    let actions = actions(&model);
    let mut count = 0;
    for fixture in fixtures(&model) {
        let action = actions[fixture.action.as_str()];
        let what = format!("{} ({:?})", fixture.action, fixture.variant);
        let mut client = Client::launch(Canned {
            written: Vec::new(),
            number: fixture.number,
            body: fixture.reply_body(),
            after: if streams(action, ParamType::FileOut) {
                &END
            } else {
                &[]
            },
            reply: None,
            launched: false,
        })
        .expect("the client starts");
        let result = call(&mut client, &fixture).unwrap_or_else(|error| panic!("{what}: {error}"));
        let expected = fixture
            .result
            .as_ref()
            .map_or_else(String::new, |(_, value)| value.dump());
        assert_eq!(result, expected, "{what}: the reply");

        let written = client.into_stream().written;
        let serial = u32::from_be_bytes(written[20..24].try_into().expect("a call has a serial"));
        let mut expected = message(
            fixture.number,
            serial,
            false,
            fixture.bits,
            0,
            &fixture.call_body(),
        );
        if streams(action, ParamType::FileIn) {
            expected.extend(END);
        }
        assert_eq!(
            hexadecimal(&written),
            hexadecimal(&expected),
            "{what}: the call"
        );
        count += 1;
    }
    assert_eq!(count, actions.len() * 3);
}
