//! A daemon with a hostile guest, and all that it must not touch.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conformance::{Direct, DiskSpec};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use tempfile::TempDir;
use testkit::Remote;

use super::answer::{Answer, Received};
use super::canary::{difference, leaked, plant, snapshot};
use super::given::{Given, Value};
use super::guest::{Fixture, State, clear, states};
use super::images::{Root, Templates};
use super::values::{before, samples};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(100);

/// Which guest, and what is around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The filesystem of the guest's root.
    pub(crate) root: Root,
    /// There is something outside to be found.
    pub(crate) canary: bool,
    /// The guest has a directory of the canary's name.
    pub(crate) decoy: bool,
    /// It is served by the stock daemon.
    pub(crate) stock: bool,
}

/// The stock daemon, if a lane has unpacked it.
pub(crate) fn stock_daemon() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let daemon = root.join("target/lanes/stock/usr/sbin/guestfsd");
    daemon.exists().then_some(daemon)
}

/// Ends a call that takes too long, by hanging up.
struct Watchdog {
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Watchdog {
    fn new(stream: UnixStream) -> Self {
        let deadline = Arc::new(Mutex::new(None::<Instant>));
        let watched = Arc::downgrade(&deadline);
        std::thread::spawn(move || {
            while let Some(deadline) = watched.upgrade() {
                let late = deadline.lock().expect("deadline");
                if late.is_some_and(|late| Instant::now() > late) {
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                }
                drop(late);
                drop(deadline);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        Self { deadline }
    }

    fn set(&self, deadline: Option<Instant>) {
        *self.deadline.lock().expect("deadline") = deadline;
    }
}

/// A running daemon with its guest.
pub(crate) struct World {
    setting: Setting,
    direct: Direct,
    watchdog: Watchdog,
    /// The daemon's own root.
    root: PathBuf,
    fixture: Fixture,
    outside: BTreeMap<PathBuf, String>,
    around: BTreeMap<PathBuf, String>,
    guest: BTreeMap<PathBuf, State>,
    mounts: String,
    /// Those that see the daemon's mounts, from the beginning.
    processes: BTreeMap<u32, String>,
    disk: Vec<u8>,
    /// Another computer, once there was a call for one.
    remote: Option<Remote>,
    /// Goes last: the images.
    images: TempDir,
}

/// Directories of the sandbox that are this machine's, or the guest, or change by themselves.
const NOT_AROUND: &[&str] = &[
    "usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "proc", "sys", "sysroot",
    "outside", "run",
];

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        let templates = Templates::get();
        let images = tempfile::tempdir().expect("a scratch directory");
        let image = |name: &str| images.path().join(name);
        setting.root.format(&image("root.img"));
        let disk = match setting.canary {
            true => templates.canary.clone(),
            false => vec![0; templates.canary.len()],
        };
        for (name, content) in [
            ("other.img", &templates.honest),
            ("sample.img", &templates.honest),
            ("canary.img", &disk),
        ] {
            fs::write(image(name), content).expect("image");
        }
        let scratch = match setting.root {
            Root::Ext4 => 1 << 20,
            Root::Btrfs | Root::Xfs => setting.root.size() << 20,
        };
        let disks = [
            DiskSpec::Image(image("root.img")),
            DiskSpec::Image(image("canary.img")),
            DiskSpec::Blank(scratch),
            DiskSpec::Image(image("other.img")),
            DiskSpec::Image(image("sample.img")),
        ];
        let daemon = stock_daemon().filter(|_| setting.stock);
        let daemon = daemon.map(|path| path.display().to_string());
        let variables: Vec<_> = daemon
            .iter()
            .map(|path| ("GUESTFSD_BIN", path.as_str()))
            .collect();
        let mut direct = Direct::with_environment(&disks, &[], &variables);
        direct.mount("/dev/sda", "/").expect("mount");
        direct.mkdir("/other").expect("mkdir");
        direct.mount("/dev/sdd", "/other").expect("mount");
        let stream = direct.stream().try_clone().expect("the channel");
        let root = direct.root();
        let rdev = fs::metadata(root.join("dev/sdb")).expect("sdb").rdev();
        let fixture = Fixture {
            decoy: setting.decoy,
            disk: rdev,
            image: templates.honest.clone(),
        };
        clear(&root.join("sysroot")).expect("an empty guest");
        fixture.build(&root.join("sysroot")).expect("the guest");
        if setting.canary {
            plant(&root.join("outside"), &templates.canary);
        }
        let mut world = Self {
            setting,
            direct,
            watchdog: Watchdog::new(stream),
            outside: snapshot(&root.join("outside")),
            around: BTreeMap::new(),
            guest: states(&root.join("sysroot")),
            mounts: String::new(),
            processes: BTreeMap::new(),
            disk,
            remote: None,
            root,
            fixture,
            images,
        };
        assert_eq!(world.outside.is_empty(), !setting.canary);
        world.mounts = world.mounted();
        world.processes = world.processes();
        world.around = world.surroundings();
        world
    }

    /// The root of the guest's files.
    pub(crate) fn guest(&self) -> PathBuf {
        self.root.join("sysroot")
    }

    pub(crate) fn fixture(&self) -> &Fixture {
        &self.fixture
    }

    /// Makes the call that must come first, if there is one, and then the call.
    pub(crate) fn call(&mut self, action: &str, given: &Given) -> Answer {
        if let Some(first) = before(action) {
            let answer = self.call(&first.name, &samples(first, false));
            assert!(answer.succeeded(), "{}: {answer:?}", first.name);
        }
        let mut given = given.clone();
        if given.has("remote") {
            let remote = self.remote.get_or_insert_with(|| {
                let remote = Remote::start(self.images.path()).expect("rsync");
                fs::write(remote.at("file"), "from elsewhere\n").expect("write");
                remote
            });
            given.set("remote", Value::bytes(remote.url("/")));
        }
        self.watchdog.set(Some(Instant::now() + PATIENCE));
        let mut sent = Received::default();
        let result = super::call(&mut self.direct, action, &given, &mut sent);
        self.watchdog.set(None);
        let result = result.unwrap_or_else(|| panic!("there is no call of '{action}'"));
        Answer::new(action, result, &sent)
    }

    /// What is wrong with an answer, and outside of the guest, right after a call.
    pub(crate) fn judge(&mut self, answer: &Answer) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Answer::Broken(why) = answer {
            wrong.push(format!("hangs, or has ended: {why}"));
        }
        let text = answer.text();
        if let Some(secret) = leaked(&text) {
            let text: String = text.chars().take(300).collect();
            wrong.push(format!("let out {secret}: {text}"));
        }
        let outside = snapshot(&self.root.join("outside"));
        if outside != self.outside {
            let changes = difference(&self.outside, &outside).join("; ");
            wrong.push(format!("read or changed what is outside: {changes}"));
            self.outside = outside;
        }
        wrong
    }

    /// What a call has brought into the guest from outside; then makes the
    /// guest anew if anything is different. The second is whether the world
    /// can still be used.
    pub(crate) fn tidy(&mut self) -> (Vec<String>, bool) {
        let mut wrong = Vec::new();
        let root = self.guest();
        let now = states(&root);
        for (name, state) in &now {
            if self.guest.get(name) == Some(state) {
                continue;
            }
            if let Some(secret) = leaked(&state.text).or_else(|| leaked(&name.to_string_lossy())) {
                wrong.push(format!("{secret} is now in the guest: {}", name.display()));
            }
        }
        let (wrongly_mounted, usable) = self.unmount();
        wrong.extend(wrongly_mounted);
        if !usable {
            return (wrong, false);
        }
        if now != self.guest {
            if self.fixture.rebuild(&root).is_err() {
                return (wrong, false);
            }
            self.guest = states(&root);
        }
        (wrong, true)
    }

    /// Unmounts what has been mounted; tells of what is not in the guest. The
    /// second is whether all is mounted that was.
    fn unmount(&mut self) -> (Vec<String>, bool) {
        let mut wrong = Vec::new();
        let now = self.mounted();
        if now == self.mounts {
            return (wrong, true);
        }
        for line in now.lines().rev() {
            if self.mounts.lines().any(|old| old == line) {
                continue;
            }
            let place = line.split(' ').nth(4).unwrap_or_default();
            if place != "/sysroot" && !place.starts_with("/sysroot/") {
                wrong.push(format!("mounted something outside: {line}"));
            }
            let flags = MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW;
            // What is still there is noticed below.
            let _ = self.inside(|| umount2(place, flags));
        }
        (wrong, self.mounted() == self.mounts)
    }

    /// Does something to the daemon's mounts.
    pub(crate) fn inside(&self, act: impl FnOnce() -> nix::Result<()> + Send) -> nix::Result<()> {
        let process = self.root.parent().expect("the daemon's process");
        let namespace = fs::File::open(process.join("ns/mnt")).expect("the daemon's mounts");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // Only a thread with a root of its own may change to other mounts.
                unshare(CloneFlags::CLONE_FS)?;
                setns(&namespace, CloneFlags::CLONE_NEWNS)?;
                act()
            });
            thread.join().expect("a thread of the test")
        })
    }

    /// The daemon's mounts as the kernel lists them.
    fn mounted(&self) -> String {
        let process = self.root.parent().expect("the daemon's process");
        fs::read_to_string(process.join("mountinfo")).unwrap_or_default()
    }

    /// What is wrong everywhere else: takes longer, so for after many calls.
    pub(crate) fn audit(&mut self) -> Vec<String> {
        let mut wrong = self.remains();
        let around = self.surroundings();
        if around != self.around {
            let changes = difference(&self.around, &around).join("; ");
            wrong.push(format!("changed the appliance: {changes}"));
            self.around = around;
        }
        let mut disk = Vec::new();
        let mut other = fs::File::open(self.root.join("dev/sdb")).expect("sdb");
        other.rewind().expect("sdb");
        other.read_to_end(&mut disk).expect("sdb");
        if disk != self.disk {
            wrong.push("changed another guest's disk".to_owned());
            self.disk = disk;
        }
        for (name, state) in self.remote.iter().flat_map(|remote| states(&remote.at(""))) {
            if let Some(secret) = leaked(&state.text).or_else(|| leaked(&name.to_string_lossy())) {
                wrong.push(format!("{secret} was sent away: {}", name.display()));
            }
        }
        let mut start = vec![0; 64 << 10];
        let mut scratch = fs::File::open(self.root.join("dev/sdc")).expect("sdc");
        scratch.read_exact(&mut start).expect("sdc");
        if let Some(secret) = leaked(&String::from_utf8_lossy(&start)) {
            wrong.push(format!("{secret} is now on another disk"));
        }
        wrong
    }

    /// The processes that see the daemon's mounts, whoever their parent is by now.
    fn processes(&self) -> BTreeMap<u32, String> {
        let mounts = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
        let own = mounts(self.root.parent().expect("the daemon's process"));
        let mut found = BTreeMap::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let id = entry.file_name().to_string_lossy().parse();
            if let Ok(id) = id
                && mounts(&entry.path()) == own
            {
                let program = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let program = String::from_utf8_lossy(&program).replace('\0', " ");
                found.insert(id, program);
            }
        }
        found
    }

    /// When udev was last waited for: the stand-in for udevadm then writes its list of partitions.
    pub(crate) fn settled(&self) -> (i64, i64) {
        let list = fs::metadata(self.root.join("run/standin/partitions")).expect("the list");
        (list.mtime(), list.mtime_nsec())
    }

    /// What is left of a call after its answer: processes that are no workers, and open files of
    /// the guest.
    pub(crate) fn remains(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (id, program) in self.processes() {
            // It goes on by itself, as callers want it to.
            let is_scrub = program.starts_with("btrfs scrub ");
            if !is_scrub && !program.contains(" --worker ") && !self.processes.contains_key(&id) {
                found.push(format!("left a process: {program}"));
            }
        }
        let device = |directory: PathBuf| Some(fs::metadata(directory).ok()?.dev());
        let appliance = device(self.root.clone());
        // A call may have unmounted either.
        let of_guest: Vec<_> = [self.guest(), self.guest().join("other")]
            .into_iter()
            .filter_map(device)
            .filter(|of_guest| Some(*of_guest) != appliance)
            .collect();
        let process = self.root.parent().expect("the daemon's process");
        for entry in fs::read_dir(process.join("fd")).expect("descriptors") {
            let path = entry.expect("entry").path();
            if fs::metadata(&path).is_ok_and(|open| of_guest.contains(&open.dev())) {
                let name = fs::read_link(&path).unwrap_or_default();
                found.push(format!("left a file open: {}", name.display()));
            }
        }
        found
    }

    /// Takes what is now for what should be.
    pub(crate) fn accept(&mut self) {
        self.mounts = self.mounted();
        self.guest = states(&self.guest());
        self.outside = snapshot(&self.root.join("outside"));
    }

    /// Everything in the daemon's root that is nobody else's. When it was read
    /// does not count: the daemon may look at its own files.
    fn surroundings(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.root).expect("the daemon's root") {
            let name = entry.expect("entry").file_name();
            if NOT_AROUND.iter().any(|other| name == *other) {
                continue;
            }
            for (path, state) in snapshot(&self.root.join(&name)) {
                if path.starts_with("lib/btrfs") {
                    // Where btrfs keeps what it knows of scrubs.
                    continue;
                }
                let is_directory = state.starts_with("mode 4");
                let is_disk = state.starts_with("mode 6");
                let state = state.split(" read ").next().unwrap_or_default();
                // A directory's times change with a temporary file, a disk's with its content.
                let state = match state.split_once(" links ") {
                    Some((owner, _)) if is_directory || is_disk => owner,
                    _ => state,
                };
                found.insert(Path::new(&name).join(path), state.to_owned());
            }
        }
        found
    }

    pub(crate) fn setting(&self) -> Setting {
        self.setting
    }
}
