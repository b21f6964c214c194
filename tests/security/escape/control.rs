//! That the matrix can fail, and that it reaches what it is for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use rustix::fs::{XattrFlags, lsetxattr};

use conformance::skipped;

use super::given::Value;
use super::guest::{Fixture, clear};
use super::images::Root;
use super::matrix::{Pair, selected};
use super::positions::{Kind, Position, model, positions};
use super::values::{filtered, samples};
use super::world::{Setting, World, stock_daemon};

/// A path, what must be noticed of calls with it, and their names and parameters.
type Noticed = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Calls that do reach the canary.
const NOTICED: &[Noticed] = &[
    (
        "/other/leak/file",
        "let out CANARY",
        &[
            ("pread", "path"),
            ("lgetxattrs", "path"),
            ("grep", "path"),
            ("download", "remotefilename"),
            ("compress_out", "file"),
        ],
    ),
    ("/other/leak/file", "let out 918273", &[("statns", "path")]),
    (
        "/other/leak/file",
        "let out 735193",
        &[("filesize", "file"), ("wc_c", "path")],
    ),
    (
        "/other/leak/file",
        "let out Q0FO",
        &[("base64_out", "filename")],
    ),
    ("/other/leak/file", "let out", &[("hexdump", "path")]),
    (
        "/other/leak/file",
        "told that",
        &[("exists", "path"), ("is_file", "path")],
    ),
    (
        "/other/leak/file",
        "read or changed",
        &[("checksum", "path")],
    ),
    ("/other/leak/dir", "let out CANARY", &[("ls0", "dir")]),
    (
        "/other/leak",
        "let out",
        &[
            ("tar_out", "directory"),
            ("tgz_out", "directory"),
            ("txz_out", "directory"),
            ("cpio_out", "directory"),
            ("mksquashfs", "path"),
        ],
    ),
    (
        "/other/leak/file",
        "CANARY is now in the guest",
        &[("cp", "src")],
    ),
    (
        "/other/leak/image",
        "CANARY is now in the guest",
        &[("mount_loop", "file")],
    ),
    (
        "/other/leak/new",
        "changed what is outside",
        &[("mkdir", "path")],
    ),
    (
        "/other/leak/file",
        "changed what is outside",
        &[("chmod", "path"), ("truncate", "path")],
    ),
    (
        "/other/leak/file",
        "is now on another disk",
        &[("copy_file_to_device", "src")],
    ),
    (
        "/dev/sdb",
        "let out CANARY",
        &[("download", "remotefilename")],
    ),
    (
        "/dev/sdb",
        "changed another guest's disk",
        &[("upload", "remotefilename")],
    ),
];

/// With a way out that no daemon can close: a directory of the guest that is
/// the canary's own.
#[test]
fn a_way_out_is_noticed() {
    let each = |row: &'static Noticed| row.2.iter().map(move |call| (row.0, row.1, call));
    for (hostile, expected, (action, parameter)) in NOTICED.iter().flat_map(each) {
        let mut pair = Pair::new(Root::Ext4, false, false);
        for world in pair.worlds_mut() {
            fs::create_dir(world.guest().join("other/leak")).expect("mkdir");
            if world.setting().canary {
                let (from, to) = ("/outside", "/sysroot/other/leak");
                let none = None::<&str>;
                let bound = world.inside(|| mount(Some(from), to, none, MsFlags::MS_BIND, none));
                bound.expect("a bind mount");
            }
            world.accept();
        }
        let position = position(action, parameter);
        let mut wrong = pair.attack(&position, hostile);
        for world in pair.worlds_mut() {
            wrong.extend(world.audit());
        }
        assert!(
            wrong.iter().any(|wrong| wrong.contains(expected)),
            "{position} with {hostile} was not noticed: {wrong:#?}"
        );
    }
}

fn position(action: &str, parameter: &str) -> Position {
    let mut all = positions().into_iter();
    let found = all.find(|position| {
        (position.action.name.as_str(), position.parameter) == (action, parameter)
    });
    found.unwrap_or_else(|| panic!("{action} has no '{parameter}'"))
}

/// Where the stock daemon hands names to programs.
const STOCK: &[(&str, &str, &str)] = &[
    ("du", "path", "/h/abs/dir"),
    ("copy_size", "src", "/h/abs-file"),
    ("dd", "src", "/h/abs/file"),
    ("cp", "src", "/h/abs/file"),
    ("cp_a", "src", "/h/abs/dir"),
    ("rsync", "src", "/h/abs/"),
    ("download", "remotefilename", "/h/disk"),
    ("mkswap_file", "path", "/h/abs/file"),
    ("mv", "src", "/h/abs/file"),
];

/// The matrix on a daemon that is not ours. Skipped where no lane has unpacked it.
#[test]
fn the_stock_daemon_is_led_out() {
    if stock_daemon().is_none() {
        skipped("there is no stock daemon: cargo xtask test direct takes it out of its appliance");
        return;
    }
    let mut pair = Pair::new(Root::Ext4, false, true);
    for (action, parameter, hostile) in STOCK {
        let wrong = pair.attack(&position(action, parameter), hostile);
        assert!(!wrong.is_empty(), "{action}: nothing was noticed");
    }
}

/// Honest paths, one of which each action must be able to do something with.
const HONEST: &[&str] = &[
    "/own",
    "/dir",
    "/dir/empty",
    "/link",
    "/new",
    "/",
    "/other",
    "/XXXXXX",
    "/own.gz",
    "/image",
    "/initrd",
    "/iso",
    "/labels",
    "/elf",
    "/subvol",
];

/// Actions that do nothing in a sandbox with an honest path either, and why.
const UNREACHED: &[(&str, &str)] = &[
    ("mount_9p", "nothing is shared with this machine"),
    ("swapon_file", "this machine would begin to use the file"),
    ("swapoff_file", "no file is in use"),
    ("btrfs_scrub_cancel", "no scrub runs"),
    ("btrfs_scrub_resume", "no scrub was cancelled"),
    ("btrfs_balance_cancel", "no balance runs"),
    ("btrfs_balance_pause", "no balance runs"),
    ("btrfs_balance_resume", "no balance was paused"),
];

/// Files that only some actions can do something with.
fn special(world: &World) {
    let root = world.guest();
    let file = |name: &str, content: &[u8]| fs::write(root.join(name), content).expect(name);
    file("own.gz", &filtered("gzip", &["-c"], b"own\n"));
    let mut iso = vec![0; 40 << 10];
    iso[0x8000..0x8007].copy_from_slice(b"\x01CD001\x01");
    file("iso", &iso);
    let mut elf = [0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // An executable of x86-64.
    (elf[16], elf[18]) = (2, 62);
    file("elf", &elf);
    let initrd = [("x", "own\n"), ("TRAILER!!!", "")].map(|(name, content)| {
        let header = format!("070701{:08x}{:08x}", 1, 0o100_644);
        let sizes = format!(
            "{:08x}{}{:08x}{:08x}",
            content.len(),
            "0".repeat(32),
            name.len() + 1,
            0
        );
        let mut entry = format!("{header}{}{sizes}{name}\0", "0".repeat(32)).into_bytes();
        entry.resize(entry.len().next_multiple_of(4), 0);
        entry.extend(content.as_bytes());
        entry.resize(entry.len().next_multiple_of(4), 0);
        entry
    });
    file("initrd", &initrd.concat());
    lsetxattr(root.join("own"), "trusted.own", b"x", XattrFlags::empty()).expect("xattr");
    if world.setting().root == Root::Btrfs {
        // All but the first find that there is such a thing already.
        for args in [
            &["quota", "enable", "."][..],
            &["subvolume", "create", "subvol"],
            &["qgroup", "create", "1/100", "."],
            &["qgroup", "create", "1/101", "."],
        ] {
            let mut btrfs = Command::new("btrfs");
            btrfs.args(args).current_dir(&root).output().expect("btrfs");
        }
    }
}

/// The answers, if none of the honest paths led to a success; or that udev was waited for although
/// no device changed.
fn reach(world: &mut World, position: &Position) -> Result<(), String> {
    let names = match position.kind {
        Kind::Names => &["dir"],
        _ => HONEST,
    };
    let mut answers = String::new();
    for name in names {
        special(world);
        let before = world.settled();
        let answer = world.call(&position.action.name, &position.given(name));
        if world.settled() != before && !position.needs_device() {
            return Err(format!("{name}: waits for udev"));
        }
        if !world.tidy().1 {
            *world = World::new(world.setting());
        }
        if answer.succeeded() {
            return Ok(());
        }
        let _ = write!(answers, "\n    {name}: {}", answer.text());
    }
    Err(answers)
}

/// Otherwise the values of its other parameters make no sense, and the matrix
/// would pass whatever the action did with a path.
fn every_position_is_reached(root: Root) {
    let mut world = World::new(Setting {
        root,
        canary: true,
        decoy: true,
        stock: false,
    });
    let mut answers: BTreeMap<(&str, &str), Result<(), String>> = BTreeMap::new();
    for position in selected(|_| true) {
        let feature = position.action.feature.as_deref();
        if Root::of_feature(feature) != root || position.kind == Kind::Mountable {
            continue;
        }
        let key = (position.action.name.as_str(), position.parameter);
        if !matches!(answers.get(&key), Some(Ok(()))) {
            answers.insert(key, reach(&mut world, &position));
        }
    }
    let mut wrong = String::new();
    for ((action, parameter), reached) in answers {
        let known = UNREACHED.iter().any(|row| row.0 == action);
        match reached {
            Err(answers) if !known => {
                let _ = writeln!(wrong, "{action}({parameter}) never succeeds: {answers}");
            }
            Ok(()) if known => {
                let _ = writeln!(wrong, "{action}({parameter}) succeeds");
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn waiting_for_udev_is_noticed() {
    let mut world = World::new(Setting {
        root: Root::Ext4,
        canary: false,
        decoy: false,
        stock: false,
    });
    let before = world.settled();
    let mut actions = model().modules.iter().flat_map(|module| &module.actions);
    let zero = actions.find(|action| action.name == "zero").expect("zero");
    let mut given = samples(zero, false);
    given.set("device", Value::bytes("/dev/sdc"));
    assert!(world.call("zero", &given).succeeded());
    assert_ne!(world.settled(), before);
}

#[test]
fn what_calls_leave_is_noticed() {
    let mut world = World::new(Setting {
        root: Root::Ext4,
        canary: false,
        decoy: false,
        stock: false,
    });
    assert_eq!(world.remains(), Vec::<String>::new());
    let mut actions = model().modules.iter().flat_map(|module| &module.actions);
    let debug = actions.find(|action| action.name == "debug");
    let mut given = samples(debug.expect("debug"), false);
    for (command, argument, left) in [
        ("sh", "sleep 5 </dev/null >/dev/null 2>&1 &", "sleep 5"),
        ("bmap_file", "/own", "/own"),
    ] {
        given.set("subcmd", Value::bytes(command));
        given.set("extraargs", Value::list(&[argument]));
        assert!(world.call("debug", &given).succeeded());
        let found = world.remains().pop().expect("something");
        assert!(found.contains(left), "{found}");
    }
}

#[test]
fn every_position_is_reached_on_ext4() {
    every_position_is_reached(Root::Ext4);
}

#[test]
fn every_position_is_reached_on_btrfs() {
    every_position_is_reached(Root::Btrfs);
}

#[test]
fn every_position_is_reached_on_xfs() {
    every_position_is_reached(Root::Xfs);
}

#[test]
fn clearing_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let fixture = Fixture {
        decoy: true,
        disk: 0,
        image: Vec::new(),
    };
    fixture.build(scratch.path()).expect("build");
    clear(scratch.path()).expect("clear");
    assert_eq!(fs::read_dir(scratch.path()).expect("read").count(), 0);
}
