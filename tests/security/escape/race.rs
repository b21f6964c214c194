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
use super::images::Root;
use super::matrix::{report, selected};
use super::positions::{Kind, Position};
use super::world::{Setting, World};

/// How long the calls of one position may take, once each path was tried; `ESCAPE_MILLISECONDS`
/// says otherwise.
const TIME: Duration = Duration::from_millis(150);

/// Calls of a round at most. To make the guest anew after them takes longer than they do.
const CALLS: usize = 10;

/// Where it happens, in the guest.
const PLACE: &str = "race";

/// Two names that change places: first what is harmless.
type Pair = (&'static str, &'static str);

/// A file that becomes a pipe.
const FIFO: Pair = ("g", "fifo");

/// Their programs open what they have found to be a file, and wait if that is a pipe by then.
/// Nothing gets out by that, and nobody else is there to change a guest while a call runs; so they
/// are spared.
const WAITS: [&str; 4] = ["mksquashfs", "rsync", "rsync_in", "rsync_out"];

/// All of them.
const PAIRS: &[Pair] = &[
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

/// Those of the pairs that a call with this path meets with: the fewer there are, the more often
/// each changes while the call runs.
fn met(path: &str, action: &str) -> Vec<Pair> {
    let path = path.trim_start_matches('/').strip_prefix(PLACE);
    let path = path.unwrap_or_default().trim_start_matches('/');
    let met = |(one, _): &&Pair| {
        let (one, path) = (Path::new(one), Path::new(path));
        path.starts_with(one) || one.starts_with(path)
    };
    let spared = WAITS.contains(&action).then_some(&FIFO);
    let pairs = PAIRS.iter().filter(met);
    pairs.filter(|pair| spared != Some(pair)).copied().collect()
}

/// Exchanges pairs, again and again, except while somebody has the lock of the list.
struct Racer {
    pairs: Arc<Mutex<Vec<Pair>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    /// Returns when the first exchange was made.
    fn start(guest: &Path, pairs: Vec<Pair>) -> Self {
        let pairs = Arc::new(Mutex::new(pairs));
        let stop = Arc::<AtomicBool>::default();
        let (listed, stopped) = (Arc::clone(&pairs), Arc::clone(&stop));
        let root = File::open(guest).expect("the guest");
        let (begun, first) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let pairs = listed.lock().expect("pairs");
                for (one, other) in pairs.iter() {
                    let [one, other] = [one, other].map(|name| format!("{PLACE}/{name}"));
                    let flags = RenameFlags::RENAME_EXCHANGE;
                    // A call may have taken either away.
                    if renameat2(&root, one.as_str(), &root, other.as_str(), flags).is_ok() {
                        let _ = begun.try_send(());
                    }
                }
                drop(pairs);
                std::thread::yield_now();
            }
        });
        let limit = Duration::from_secs(20);
        first.recv_timeout(limit).expect("the first exchange");
        Self {
            pairs,
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

/// What a call of this round is made with, and the path that it means.
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
    (format!("{directory}/{name}"), given)
}

/// Makes the calls of a round; returns what is wrong, and whether the daemon can still be used.
fn calls(position: &Position, given: &Given, world: &mut World) -> (Vec<String>, bool) {
    let start = Instant::now();
    let share = time() / u32::try_from(PATHS.len()).expect("few");
    for number in 0..CALLS {
        if number > 0 && start.elapsed() > share {
            break;
        }
        let answer = world.call(&position.action.name, given);
        let wrong = world.judge(&answer);
        let usable = !matches!(answer, Answer::Broken(_));
        if !usable || !wrong.is_empty() {
            return (wrong, usable);
        }
    }
    (Vec::new(), true)
}

/// The second is whether the world can still be used.
fn race(position: &Position, world: &mut World) -> (Vec<String>, bool) {
    let mut wrong = Vec::new();
    let mut usable = true;
    let (guest, disk) = (world.guest(), world.fixture().disk);
    build(&guest, disk).expect("a fresh guest");
    let racer = Racer::start(&guest, met(PLACE, &position.action.name));
    let start = Instant::now();
    for round in 0.. {
        if !usable || (round >= PATHS.len() && start.elapsed() > time()) {
            break;
        }
        let (path, given) = values(position, round);
        *racer.pairs.lock().expect("pairs") = met(&path, &position.action.name);
        (wrong, usable) = calls(position, &given, world);
        let _held = racer.pairs.lock().expect("pairs");
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
