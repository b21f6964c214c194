//! qemu's monitor, for changing the hardware of a running machine.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// How long qemu may be silent.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection to the monitor, which takes one at a time.
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    pub(super) fn connect(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("monitor");
        stream.set_read_timeout(Some(LIMIT)).expect("read timeout");
        let stream = BufReader::new(stream);
        let mut monitor = Self { stream };
        // Its greeting wants to be answered.
        monitor.next();
        monitor.run("qmp_capabilities", &json!({}));
        monitor
    }

    pub(super) fn plug(&mut self, image: &Path, label: &str) {
        let file = json!({ "driver": "file", "filename": image });
        self.run(
            "blockdev-add",
            &json!({ "node-name": label, "driver": "raw", "file": file }),
        );
        self.run(
            "device_add",
            &json!({ "driver": "scsi-hd", "bus": "scsi.0", "id": label, "drive": label, "serial": label }),
        );
    }

    pub(super) fn unplug(&mut self, label: &str) {
        let mut events = self.run("device_del", &json!({ "id": label }));
        // The disk is the guest's until then.
        let gone =
            |event: &Value| event["event"] == "DEVICE_DELETED" && event["data"]["device"] == label;
        while !events.iter().any(gone) {
            events.push(self.next());
        }
        self.run("blockdev-del", &json!({ "node-name": label }));
    }

    /// Runs a command; gives back the events that came before its result.
    fn run(&mut self, command: &str, arguments: &Value) -> Vec<Value> {
        let message = json!({ "execute": command, "arguments": arguments });
        self.stream
            .get_mut()
            .write_all(message.to_string().as_bytes())
            .expect("monitor");
        let mut events = Vec::new();
        loop {
            let answer = self.next();
            assert!(answer.get("error").is_none(), "{message}: {answer}");
            if answer.get("return").is_some() {
                return events;
            }
            events.push(answer);
        }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("monitor");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("monitor: {error}: {line:?}"))
    }
}
