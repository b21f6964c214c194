//! Random and damaged messages: each gets its answer, and none ends the daemon.

use std::io::Write;
use std::time::{Duration, Instant};

use conformance::support::raw::{self, string};
use conformance::{Direct, DiskSpec};
use protocol::api;
use protocol::wire::{Header, STATUS_OK};
use protocol::xdr::Decoder;
use testkit::Numbers;

use super::SERIAL;

/// What ends or suspends the daemon, or crashes it, because that is its purpose; what waits for a
/// disk that never comes; and what reaches this machine's kernel.
const EXCLUDED: &[&str] = &[
    "debug",
    "debug_upload",
    "drop_caches",
    "internal_exit",
    "internal_hot_add_drive",
    "internal_hot_remove_drive",
    "internal_rhbz914931",
    "modprobe",
    "sleep",
];

/// What a run may take: it stops there, having tested what it could.
const BUDGET: Duration = Duration::from_secs(15);
const MESSAGES: usize = 3000;

/// What is sent; a seed is a test case.
struct Random(Numbers);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.any()
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.index(limit)
    }

    /// Something that could be an argument.
    fn argument(&mut self) -> Vec<u8> {
        const STRINGS: &[&[u8]] = &[
            b"",
            b"/",
            b"/file",
            b"/lost+found",
            b"/../../etc/passwd",
            b"relative",
            b"/dev/sda",
            b"/dev/sda1",
            b"/dev/sdb",
            b"/dev/sdzz9",
            b"btrfsvol:/dev/sdb/x",
            b"ext4",
            b"gpt",
            b"md5",
            b"-x",
            b"\xff\xfe",
            b"a\0b",
        ];
        match self.below(6) {
            0 => (self.below(3) as u32).to_be_bytes().to_vec(),
            1 => self.next().to_be_bytes()[..4].to_vec(),
            2 => self.next().to_be_bytes().to_vec(),
            _ => string(self.0.pick(STRINGS)),
        }
    }

    fn body(&mut self) -> Vec<u8> {
        let mut body: Vec<u8> = (0..self.below(6)).flat_map(|_| self.argument()).collect();
        for _ in 0..self.below(3) {
            if !body.is_empty() {
                let at = self.below(body.len());
                body[at] = self.0.byte();
            }
        }
        if self.below(8) == 0 {
            body.truncate(self.below(body.len() + 1));
        }
        body
    }

    fn header(&mut self) -> Header {
        let mut header = loop {
            let action = &api::ACTIONS[self.below(api::ACTIONS.len())];
            if !EXCLUDED.contains(&action.name) {
                break Header::call(action.number, SERIAL);
            }
        };
        match self.below(30) {
            0 => header.program ^= 1 << self.below(32),
            1 => header.version = self.next() as u32,
            2 => header.direction = self.next() as i32,
            3 => header.status = self.next() as i32,
            4 => header.procedure = 600 + self.below(1 << 20) as u32,
            5 => header.options = self.next(),
            6 => header.progress_hint = self.next(),
            _ => header.options = self.next() & 0x1f & self.next(),
        }
        header
    }
}

/// Whether the daemon gets as far as looking at the procedure.
fn looked_at(header: &Header) -> bool {
    *header
        == Header {
            options: header.options,
            progress_hint: header.progress_hint,
            ..Header::call(header.procedure, header.serial)
        }
}

fn run(seed: u64) {
    let mut random = Random(Numbers::new(seed));
    let disks = [
        DiskSpec::Formatted("ext4", 16 << 20),
        DiskSpec::Blank(16 << 20),
    ];
    let mut direct = Direct::start(&disks);
    direct.mount("/dev/sda", "/").expect("mount");
    let start = Instant::now();
    for index in 0..MESSAGES {
        if start.elapsed() > BUDGET {
            break;
        }
        let header = random.header();
        let body = random.body();
        let action = api::action(header.procedure).filter(|_| looked_at(&header));
        let mut bytes = raw::message(&header, &body);
        if action.is_some_and(|action| action.file_in) {
            for _ in 0..random.below(4) {
                let len = 1 + random.below(8192);
                bytes.extend(raw::chunk(false, &vec![random.0.byte(); len]));
            }
            bytes.extend(raw::chunk(random.below(3) == 0, &[]));
        }
        let stream = direct.stream();
        stream.write_all(&bytes).expect("send");
        let name = action.map_or("none", |action| action.name);
        let reply = raw::receive(stream);
        let got = Header::decode(&mut Decoder::new(&reply)).expect("header");
        assert_eq!(
            got,
            header.reply(got.status),
            "message {index} of seed {seed} ({name})"
        );
        if got.status == STATUS_OK && action.is_some_and(|action| action.file_out) {
            loop {
                let chunk = raw::receive(stream);
                if chunk[3] == 1 || chunk[4..8] == [0; 4] {
                    break;
                }
            }
        }
    }
    direct.ping_daemon().expect("the connection goes on");
    let exit = direct.hang_up();
    assert_eq!(exit.code, 0, "{exit:?}");
    assert!(!exit.stderr.contains("internal error"), "{exit:?}");
}

#[test]
fn noise_1() {
    run(0x9e37_79b9_7f4a_7c15);
}

#[test]
fn noise_2() {
    run(0xd1b5_4a32_d192_ed03);
}

#[test]
fn noise_3() {
    run(0x0123_4567_89ab_cdef);
}
