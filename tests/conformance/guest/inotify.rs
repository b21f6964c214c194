//! What guestfish cannot say about `idl/guest/inotify.idl`.

use conformance::Direct;

/// `IN_CREATE`.
const CREATED: i32 = 0x100;

/// Names so long that a message cannot hold all of them.
const NAMES: usize = 9000;

/// How many times a list is asked for at most, until it is empty.
const CALLS: usize = 10;

fn name(number: usize) -> String {
    format!("{number:0>250}")
}

/// Makes files with long names while a new handle watches their directory.
fn many(direct: &mut Direct) {
    direct.inotify_init(0).unwrap();
    direct.inotify_add_watch("/", CREATED).unwrap();
    for number in 0..NAMES {
        direct.mkfifo(0o600, &format!("/{}", name(number))).unwrap();
    }
}

/// Asks for what happened in many calls; gives back how much was in each reply. Together, each
/// file must be there once.
fn lens_of_replies(ask: impl Fn(&mut Direct) -> Vec<Vec<u8>>) -> Vec<usize> {
    let mut direct = Direct::mounted();
    many(&mut direct);
    let mut lens = Vec::new();
    let mut names = Vec::new();
    for _ in 0..CALLS {
        let mut found = ask(&mut direct);
        lens.push(found.len());
        names.append(&mut found);
    }
    let expected = (0..NAMES).map(|number| name(number).into_bytes());
    assert!(names.into_iter().eq(expected));
    assert_eq!(lens.last(), Some(&0));
    lens
}

#[test]
fn what_does_not_fit_into_a_reply_is_in_the_next() {
    let lens = lens_of_replies(|direct| {
        let events = direct.inotify_read().unwrap();
        events.into_iter().map(|event| event.in_name).collect()
    });
    assert!(lens.len() > 2 && lens[1] > 0, "one reply had all: {lens:?}");
}

#[test]
fn names_that_do_not_fit_into_a_reply_are_in_the_next() {
    let lens = lens_of_replies(|direct| direct.inotify_files().unwrap());
    assert!(lens[1] > 0, "one reply had all: {lens:?}");
}

#[test]
fn a_name_with_a_newline_is_one_name() {
    let mut direct = Direct::mounted();
    direct.inotify_init(0).unwrap();
    direct.inotify_add_watch("/", CREATED).unwrap();
    direct.touch("/b\na").unwrap();
    direct.touch("/\u{e9}").unwrap();
    assert_eq!(
        direct.inotify_files().unwrap(),
        [&b"b\na"[..], "\u{e9}".as_bytes()]
    );
}

#[test]
fn a_limit_of_events_is_that_handle_s_alone() {
    let setting = || std::fs::read("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let before = setting();
    let mut direct = Direct::mounted();
    direct.inotify_init(2).unwrap();
    assert_eq!(setting(), before);
    direct.inotify_init(0).unwrap();
    direct.inotify_add_watch("/", CREATED).unwrap();
    for file in ["/1", "/2", "/3", "/4"] {
        direct.touch(file).unwrap();
    }
    assert_eq!(direct.inotify_read().unwrap().len(), 4);
}

#[test]
fn a_link_out_of_the_guest_is_watched_inside() {
    let mut direct = Direct::mounted();
    direct.ln_s("/tmp", "/link").unwrap();
    direct.inotify_init(0).unwrap();
    let error = direct.inotify_add_watch("/link", CREATED).unwrap_err();
    assert_eq!(error.errno(), "ENOENT");
    direct.mkdir("/tmp").unwrap();
    direct.inotify_add_watch("/link", CREATED).unwrap();
    direct.touch("/tmp/inside").unwrap();
    assert_eq!(direct.inotify_files().unwrap(), [b"inside"]);
}
