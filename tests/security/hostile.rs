//! A guest that does all it can to lead the daemon astray, and a canary that
//! must neither be seen nor change.
//!
//! Tests hand [`Hostile::attack`] a table of calls, one for each path that an
//! action takes; every call is made with every hostile path.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use conformance::{ClientError, Direct, DiskSpec};

/// In the content of everything that must stay hidden.
const CANARY: &str = "CANARY";

/// The owner of everything that must stay hidden, and the last digits of its
/// sizes and times: a number that no other file has.
const OWNER: u32 = 918_273;

/// A call with a hostile path; gives everything that the daemon let out.
pub(crate) type Attack = (&'static str, fn(&mut Direct, &str) -> String);

/// What the daemon let out, for [`Attack`].
pub(crate) fn told<T: Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Io(error)) => panic!("the daemon hangs, or has ended: {error}"),
        Err(ClientError::Protocol(problem)) => panic!("the daemon lost step: {problem}"),
        result => format!("{result:?}"),
    }
}

/// The same for a file that the daemon sent.
pub(crate) fn sent(call: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>) -> String {
    let mut file = Vec::new();
    let result = call(&mut file);
    format!("{} {file:?}", told(result))
}

/// A guest with hostile directories; `/dev/sdb` is the disk of another guest.
pub(crate) struct Hostile {
    direct: Direct,
    before: BTreeMap<PathBuf, String>,
    disk: Vec<u8>,
    node: (i32, i32),
}

impl Hostile {
    /// Plants the canary outside of the guest. With `decoy`, the guest has a
    /// directory of the same name, so that confined links lead somewhere.
    pub(crate) fn new(decoy: bool) -> Self {
        let disk: Vec<u8> = CANARY.bytes().cycle().take(1 << 20).collect();
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let image = scratch.path().join("other.img");
        fs::write(&image, &disk).expect("another guest's disk");
        let mut direct = Direct::start(&[
            DiskSpec::Formatted("ext4", 64 << 20),
            DiskSpec::Image(image.clone()),
        ]);
        // The daemon has it open; the name need not stay.
        drop(scratch);
        direct.mount("/dev/sda", "/").expect("mount");
        if decoy {
            for directory in ["/outside", "/outside/dir"] {
                direct.mkdir(directory).expect("mkdir");
            }
            for file in ["/outside/file", "/outside/dir/inside"] {
                direct.internal_write(file, b"decoy\n").expect("write");
            }
        }
        let outside = direct.root().join("outside");
        plant(&outside);
        let device = fs::metadata(direct.root().join("dev/sdb")).expect("the other disk");
        let (major, minor) = (device.rdev() >> 8 & 0xfff, device.rdev() & 0xff);
        let node = (
            i32::try_from(major).expect("major"),
            i32::try_from(minor).expect("minor"),
        );
        let before = snapshot(&outside);
        assert!(before.len() > 4, "no canary: {before:?}");
        Self {
            direct,
            before,
            disk,
            node,
        }
    }

    /// Makes every call with every hostile path, each in a fresh directory.
    pub(crate) fn attack(mut self, attacks: &[Attack]) {
        for (number, (name, call)) in attacks.iter().enumerate() {
            let directory = format!("/{number}");
            let paths = self.fill(&directory);
            for path in paths {
                let told = call(&mut self.direct, &path);
                for secret in [CANARY.to_owned(), OWNER.to_string(), listed(CANARY)] {
                    assert!(
                        !told.contains(&secret),
                        "{name} {path} let out {secret}: {told}"
                    );
                }
            }
            let after = snapshot(&self.direct.root().join("outside"));
            assert_eq!(self.before, after, "{name} changed what is outside");
        }
        self.direct.sync().expect("sync");
        let other = fs::read(self.direct.root().join("dev/sdb")).expect("the other disk");
        assert!(other == self.disk, "another guest's disk has changed");
    }

    /// Fills a directory with links, pipes and nodes; gives the paths to try.
    fn fill(&mut self, directory: &str) -> Vec<String> {
        let direct = &mut self.direct;
        direct.mkdir(directory).expect("mkdir");
        let up = "../".repeat(12);
        let links = [
            ("absolute", "/outside".to_owned()),
            ("up", format!("{up}outside")),
            ("absolute-file", "/outside/file".to_owned()),
            ("up-file", format!("{up}outside/file")),
            ("new", format!("{up}outside/new")),
            ("chain", "up".to_owned()),
            ("proc", "/proc/self/root/outside".to_owned()),
            ("loop", "loop".to_owned()),
        ];
        for (name, target) in &links {
            let path = format!("{directory}/{name}");
            direct.ln_s(target.as_str(), &path).expect("ln_s");
        }
        let (major, minor) = self.node;
        let at = |name: &str| format!("{directory}/{name}");
        direct.mkfifo(0o666, &at("fifo")).expect("mkfifo");
        let node = direct.mknod_b(0o666, major, minor, &at("disk"));
        node.expect("mknod_b");
        direct.mknod_c(0o666, 1, 5, &at("zero")).expect("mknod_c");
        direct.mknod(0o140_666, 0, 0, &at("socket")).expect("mknod");
        direct.ln_s("disk", &at("to-disk")).expect("ln_s");
        direct.ln_s("fifo", &at("to-fifo")).expect("ln_s");
        let below = [
            "absolute",
            "absolute/file",
            "absolute/dir",
            "absolute/dir/inside",
            "up",
            "up/file",
            "up/dir",
            "up/new",
            "absolute-file",
            "up-file",
            "new",
            "chain/file",
            "proc/file",
            "loop",
            "loop/file",
            "fifo",
            "to-fifo",
            "disk",
            "to-disk",
            "zero",
            "socket",
        ];
        let mut paths: Vec<String> = below.iter().map(|name| at(name)).collect();
        paths.extend(["/../../outside/file", "/../outside", "/outside/dir/.."].map(str::to_owned));
        paths
    }
}

/// What must stay hidden and unchanged.
fn plant(outside: &Path) {
    for directory in [
        outside.to_owned(),
        outside.join("dir"),
        outside.join("empty"),
    ] {
        fs::create_dir(&directory).expect("mkdir");
    }
    for name in ["file", "dir/inside", "dir/CANARY-name"] {
        let mut content = CANARY.repeat(3);
        content.push('\n');
        let path = outside.join(name);
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        std::os::unix::fs::chown(&path, Some(OWNER), Some(OWNER)).expect("chown");
    }
    for name in ["", "dir", "empty"] {
        let path = outside.join(name);
        std::os::unix::fs::chown(&path, Some(OWNER), Some(OWNER)).expect("chown");
    }
}

/// Everything below a directory, with all that a call could have changed.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).expect("the canary");
        let content = if meta.is_dir() {
            for entry in fs::read_dir(&path).expect("the canary's directory") {
                waiting.push(entry.expect("entry").path());
            }
            String::new()
        } else {
            format!("{:?}", fs::read(&path))
        };
        let state = format!(
            "{:o} {} {} {} {} {:?} {content}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.size(),
            meta.modified(),
        );
        let name = path.strip_prefix(directory).expect("below").to_owned();
        found.insert(name, state);
    }
    found
}

/// The bytes as `Debug` shows them.
fn listed(text: &str) -> String {
    let list = format!("{:?}", text.as_bytes());
    list.trim_matches(['[', ']']).to_owned()
}
