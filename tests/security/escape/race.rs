//! Directories and files that become links, nodes and pipes while a call runs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, mknod};

use codegen::model::ParamType;

use super::answer::Answer;
use super::given::{Given, Value};
use super::matrix::{report, selected};
use super::positions::{Kind, Position};
use super::world::{Root, Setting, World};

/// How long the calls of one position may take, once each path was tried; `ESCAPE_MILLISECONDS`
/// says otherwise.
const TIME: Duration = Duration::from_millis(150);

/// Where it happens, in the guest.
const PLACE: &str = "race";

/// A file that becomes a pipe.
const FIFO: (&str, &str) = ("g", "fifo");

/// Their programs open what they have found to be a file, and wait if that is a pipe by then.
/// Nothing gets out by that, and nobody else is there to change a guest while a call runs; so they
/// are spared.
const WAITS: [&str; 4] = ["mksquashfs", "rsync", "rsync_in", "rsync_out"];

/// What changes places: first what is harmless.
const PAIRS: &[(&str, &str)] = &[
    ("d", "abs"),
    ("e", "up"),
    ("f", "disk"),
    FIFO,
    ("deep/d", "deep/abs"),
    ("deep/f", "deep/link"),
];

/// The paths to try.
const PATHS: &[&str] = &[
    "/race/d/file",
    "/race/d",
    "/race/e/dir/inside",
    "/race/deep",
    "/race/f",
    "/race/d/new",
    "/race/g",
    "/race/deep/f",
    "/race/e/dir",
];

/// The same for lists of names: the directory and the name.
const NAMES: &[(&str, &str)] = &[
    ("/race", "d"),
    ("/race", "f"),
    ("/race", "g"),
    ("/race/d", "file"),
    ("/race/e", "dir"),
];

/// Exchanges the pairs, again and again, except while somebody has the lock.
struct Racer {
    pause: Arc<Mutex<()>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    /// Returns when the first exchange was made.
    fn start(guest: &Path, action: &str) -> Self {
        let (pause, stop) = <(Arc<Mutex<()>>, Arc<AtomicBool>)>::default();
        let (paused, stopped) = (Arc::clone(&pause), Arc::clone(&stop));
        let root = File::open(guest).expect("the guest");
        let spared = WAITS.contains(&action).then_some(&FIFO);
        let (begun, first) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                for pair @ (one, other) in PAIRS {
                    if spared == Some(pair) {
                        continue;
                    }
                    let _held = paused.lock().expect("pause");
                    let [one, other] = [one, other].map(|name| format!("{PLACE}/{name}"));
                    let flags = RenameFlags::RENAME_EXCHANGE;
                    // A call may have taken either away.
                    if renameat2(&root, one.as_str(), &root, other.as_str(), flags).is_ok() {
                        let _ = begun.try_send(());
                    }
                }
                std::thread::yield_now();
            }
        });
        let limit = Duration::from_secs(20);
        first.recv_timeout(limit).expect("the first exchange");
        Self {
            pause,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It holds the guest's root open. What it panicked with is shown already.
            let _ = thread.join();
        }
    }
}

/// Makes what the racer works on.
fn build(guest: &Path, disk: u64) -> io::Result<()> {
    let place = guest.join(PLACE);
    let up = "../".repeat(12);
    for name in [
        "",
        "d",
        "d/dir",
        "e",
        "e/dir",
        "deep",
        "deep/d",
        "deep/d/dir",
    ] {
        fs::create_dir(place.join(name))?;
    }
    for name in [
        "d/file",
        "d/dir/inside",
        "e/file",
        "e/dir/inside",
        "f",
        "g",
        "deep/d/file",
        "deep/f",
    ] {
        fs::write(place.join(name), "harmless\n")?;
    }
    for (name, target) in [
        ("abs", "/outside".to_owned()),
        ("up", format!("{up}outside")),
        ("deep/abs", "/outside".to_owned()),
        ("deep/link", "/outside/file".to_owned()),
    ] {
        symlink(target, place.join(name))?;
    }
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&place.join("disk"), SFlag::S_IFBLK, mode, disk)?;
    mknod(&place.join("fifo"), SFlag::S_IFIFO, mode, 0)?;
    Ok(())
}

fn time() -> Duration {
    let wanted = std::env::var("ESCAPE_MILLISECONDS").ok();
    wanted.map_or(TIME, |wanted| {
        Duration::from_millis(wanted.parse().expect("a number"))
    })
}

/// What a call of this round is made with, and what that is for people.
fn values(position: &Position, round: usize) -> (String, Given) {
    if position.kind != Kind::Names {
        let path = PATHS[round % PATHS.len()];
        return (path.to_owned(), position.given(path));
    }
    let (directory, name) = NAMES[round % NAMES.len()];
    let mut given = position.given(name);
    for param in &position.action.params {
        if param.ty == ParamType::Pathname {
            given.set(&param.name, Value::bytes(directory));
        }
    }
    (format!("{directory} {name}"), given)
}

/// The second is whether the world can still be used.
fn race(position: &Position, world: &mut World) -> (Vec<String>, bool) {
    let mut wrong = Vec::new();
    let mut usable = true;
    let (guest, disk) = (world.guest(), world.fixture().disk);
    build(&guest, disk).expect("a fresh guest");
    let racer = Racer::start(&guest, &position.action.name);
    let start = Instant::now();
    for round in 0.. {
        if !usable || (round >= PATHS.len() && start.elapsed() > time()) {
            break;
        }
        let (path, given) = values(position, round);
        let answer = world.call(&position.action.name, &given);
        let _held = racer.pause.lock().expect("pause");
        wrong.extend(world.judge(&answer));
        usable = !matches!(answer, Answer::Broken(_));
        let (brought, tidy) = world.tidy();
        usable &= tidy;
        wrong.extend(brought);
        usable = usable && build(&guest, disk).is_ok();
        if !wrong.is_empty() {
            wrong.insert(0, format!("{path}, in round {round}:"));
            break;
        }
    }
    drop(racer);
    if usable {
        let (brought, tidy) = world.tidy();
        wrong.extend(brought);
        usable = tidy;
    }
    wrong.extend(world.audit());
    (wrong, usable)
}

fn races(in_area: impl Fn(&str) -> bool) {
    let mut found = BTreeMap::new();
    let mut by_root: BTreeMap<Root, Vec<Position>> = BTreeMap::new();
    for position in selected(in_area) {
        if position.kind != Kind::Mountable {
            let root = Root::of_feature(position.action.feature.as_deref());
            by_root.entry(root).or_default().push(position);
        }
    }
    for (root, positions) in by_root {
        let setting = Setting {
            root,
            canary: true,
            decoy: true,
            stock: false,
        };
        let mut world = World::new(setting);
        for position in positions {
            let (wrong, usable) = race(&position, &mut world);
            if !usable {
                world = World::new(setting);
            }
            if !wrong.is_empty() {
                found.insert(position.to_string(), wrong);
            }
        }
    }
    report(&found);
}

#[test]
fn files_stay_inside_while_directories_change() {
    races(|area| area == "file");
}

#[test]
fn all_other_areas_stay_inside_while_directories_change() {
    races(|area| area != "file");
}
