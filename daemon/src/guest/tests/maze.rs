//! Random trees, in which both resolvers must go the same ways.

use std::fs;
use std::os::unix::fs::symlink;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use testkit::Numbers;

use super::{Tree, path};

/// A path of a few components, most of which exist in the maze.
fn some_path(numbers: &mut Numbers, absolute: bool) -> String {
    const PARTS: [&str; 9] = ["a", "b", "c", "d", "..", ".", "", "f", "new"];
    let count = 1 + numbers.below(5);
    let parts: Vec<_> = (0..count).map(|_| numbers.pick(&PARTS)).collect();
    let path = parts.join("/");
    match (absolute, path.as_str()) {
        (true, _) => format!("/{path}"),
        // A link to nothing cannot be made.
        (false, "") => ".".to_owned(),
        (false, _) => path.trim_start_matches('/').to_owned(),
    }
}

/// A tree of directories, files and links in all directions.
fn maze(seed: u64) -> Tree {
    let tree = Tree::new();
    let mut numbers = Numbers::new(seed);
    for dir in ["", "a/", "b/", "a/c/"] {
        let _ = fs::create_dir(tree.at(dir));
        for name in ["a", "b", "c", "d", "f"] {
            let place = tree.at(&format!("{dir}{name}"));
            let _ = match numbers.below(5) {
                0 => fs::create_dir(place),
                1 => fs::write(place, name),
                _ => {
                    let absolute = numbers.below(2) == 0;
                    symlink(some_path(&mut numbers, absolute), place)
                }
            };
        }
    }
    tree
}

/// All that is in a directory: names, kinds and links' targets.
fn listing(dir: &std::path::Path, prefix: &str, out: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        let target = fs::read_link(entry.path()).unwrap_or_default();
        out.push(format!("{name} {kind:?} {}", target.display()));
        if kind.is_dir() {
            listing(&entry.path(), &name, out);
        }
    }
}

#[test]
fn both_resolvers_go_the_same_ways_and_none_leads_out() {
    for seed in 1..=25 {
        // One tree for each, since files are made in them.
        let trees = [maze(seed), maze(seed)];
        let [guest, _] = trees[0].guests();
        let [_, emulated] = trees[1].guests();
        let mut numbers = Numbers::new(seed + 1000);
        for _ in 0..60 {
            let name = path(&some_path(&mut numbers, true));
            let made = [&guest, &emulated].map(|guest| {
                let file = guest.create(&name, OFlag::O_WRONLY, Mode::S_IRWXU);
                file.map(drop).map_err(|error| error.errno())
            });
            assert_eq!(made[0], made[1], "making {name}, seed {seed}");
            let found = [&guest, &emulated].map(|guest| {
                let found = guest.resolve(&name).map_err(|error| error.errno());
                let place = guest.parent(&name).map_err(|error| error.errno());
                (found, place.map(|place| place.name))
            });
            assert_eq!(found[0], found[1], "finding {name}, seed {seed}");
        }
        for tree in &trees {
            let mut all = Vec::new();
            listing(&tree.outside(), "", &mut all);
            let outside = all.iter().filter(|line| !line.starts_with("/root"));
            assert_eq!(outside.count(), 1, "only the secret: {all:?}");
        }
        let [mut one, mut other] = [Vec::new(), Vec::new()];
        listing(&trees[0].at(""), "", &mut one);
        listing(&trees[1].at(""), "", &mut other);
        assert_eq!(one, other, "seed {seed}");
    }
}
