//! The matrix itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::answer::Answer;
use super::guest::{MOUNTABLES, NAMES, PATHS};
use super::images::Root;
use super::positions::{Kind, Position, positions};
use super::world::{Setting, World};

/// How often a call is made again whose answers differ.
const TRIES: usize = 3;

/// The same guest twice: with and without a canary outside.
pub(crate) struct Pair {
    setting: Setting,
    worlds: [World; 2],
}

impl Pair {
    pub(crate) fn new(root: Root, decoy: bool, stock: bool) -> Self {
        let setting = Setting {
            root,
            canary: true,
            decoy,
            stock,
        };
        Self {
            setting,
            worlds: Self::worlds(setting),
        }
    }

    fn worlds(setting: Setting) -> [World; 2] {
        [true, false].map(|canary| World::new(Setting { canary, ..setting }))
    }

    pub(crate) fn worlds_mut(&mut self) -> &mut [World; 2] {
        &mut self.worlds
    }

    /// Makes a call with this name in both worlds; returns what is wrong.
    pub(crate) fn attack(&mut self, position: &Position, hostile: &str) -> Vec<String> {
        let mut tries = 0..TRIES;
        loop {
            let (mut wrong, [with, without]) = self.attempt(position, hostile);
            if !wrong.is_empty() || with == without {
                return wrong;
            }
            // What goes on in the background can be further in one world.
            if tries.next().is_none() {
                let shown = |text: &str| text.chars().take(300).collect::<String>();
                wrong.push(format!(
                    "told that the canary exists: with it {}, without it {}",
                    shown(&with),
                    shown(&without)
                ));
                return wrong;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What is wrong, and the two answers as far as they must be the same.
    fn attempt(&mut self, position: &Position, hostile: &str) -> (Vec<String>, [String; 2]) {
        let given = position.given(hostile);
        let action = position.action.name.as_str();
        let mut wrong = Vec::new();
        let mut usable = true;
        let answers = self.worlds.each_mut().map(|world| {
            let answer = world.call(action, &given);
            wrong.extend(world.judge(&answer));
            usable &= !matches!(answer, Answer::Broken(_));
            let (brought, tidy) = world.tidy();
            wrong.extend(brought);
            usable &= tidy;
            answer.comparable(action)
        });
        if !usable {
            self.worlds = Self::worlds(self.setting);
        }
        (wrong, answers)
    }

    /// Makes all calls of a position; returns what is wrong.
    pub(crate) fn attack_all(&mut self, position: &Position) -> Vec<String> {
        let names = match position.kind {
            Kind::Path | Kind::Paths => PATHS,
            Kind::Names => NAMES,
            Kind::Mountable => MOUNTABLES,
        };
        let mut wrong = Vec::new();
        for name in names {
            let found = self.attack(position, name);
            wrong.extend(found.into_iter().map(|what| format!("{name}: {what}")));
        }
        for world in &mut self.worlds {
            wrong.extend(world.audit());
        }
        wrong
    }
}

/// Fails with all that was found.
pub(crate) fn report(found: &BTreeMap<String, Vec<String>>) {
    let mut text = String::new();
    for (position, wrong) in found {
        for wrong in wrong {
            let _ = writeln!(text, "{position} {wrong}");
        }
    }
    assert!(text.is_empty(), "\n{text}");
}

/// The positions of some areas; `ESCAPE` in the environment selects by name.
pub(crate) fn selected(in_area: impl Fn(&str) -> bool) -> Vec<Position> {
    let filter = std::env::var("ESCAPE").unwrap_or_default();
    let mut all = positions();
    let mut names = all.iter().map(Position::to_string);
    assert!(
        names.any(|name| name.contains(&filter)),
        "no position has '{filter}' in its name"
    );
    drop(names);
    all.retain(|position| in_area(position.area) && position.to_string().contains(&filter));
    all
}

fn matrix(decoy: bool, in_area: impl Fn(&str) -> bool) {
    let mut found = BTreeMap::new();
    let mut by_root: BTreeMap<Root, Vec<Position>> = BTreeMap::new();
    for position in selected(in_area) {
        let root = Root::of_feature(position.action.feature.as_deref());
        by_root.entry(root).or_default().push(position);
    }
    let times = std::env::var_os("ESCAPE_TIMES").is_some();
    for (root, positions) in by_root {
        let mut pair = Pair::new(root, decoy, false);
        for position in positions {
            let start = std::time::Instant::now();
            let wrong = pair.attack_all(&position);
            if times {
                eprintln!("{:>6} ms {position}", start.elapsed().as_millis());
            }
            if !wrong.is_empty() {
                found.insert(position.to_string(), wrong);
            }
        }
    }
    report(&found);
}

#[test]
fn files_stay_inside() {
    matrix(false, |area| area == "file");
}

#[test]
fn files_stay_inside_with_a_decoy() {
    matrix(true, |area| area == "file");
}

#[test]
fn all_other_areas_stay_inside() {
    matrix(false, |area| area != "file");
}

#[test]
fn all_other_areas_stay_inside_with_a_decoy() {
    matrix(true, |area| area != "file");
}
