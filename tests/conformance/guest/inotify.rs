//! What guestfish cannot say about `idl/guest/inotify.idl`.

use conformance::Direct;

/// `IN_CREATE`.
const CREATED: i32 = 0x100;

/// `IN_Q_OVERFLOW`.
const OVERFLOW: u32 = 0x4000;

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

/// More events than the kernel keeps by itself. A limit below that would be everybody's for a
/// moment, and other tests run on this machine at the same time.
#[test]
fn a_limit_of_events_is_that_handle_s_alone() {
    let setting = || {
        let text = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        text.trim().parse::<i32>().unwrap()
    };
    let usual = setting();
    let events = usual + 10;
    let mut direct = Direct::mounted();
    let root = direct.root().join("sysroot");
    // The kernel makes one of two equal events, so that there are two names.
    let files = [root.join("a"), root.join("b")];
    let mut overflows = |limit: i32| {
        direct.inotify_init(limit).unwrap();
        assert_eq!(setting(), usual);
        direct.inotify_add_watch("/", CREATED).unwrap();
        for (_, file) in (0..events).zip(files.iter().cycle()) {
            std::fs::File::create(file).unwrap();
            std::fs::remove_file(file).unwrap();
        }
        let mut masks = Vec::new();
        for _ in 0..CALLS {
            let read = direct.inotify_read().unwrap();
            masks.extend(read.iter().map(|event| event.in_mask));
        }
        let lost = masks.contains(&OVERFLOW);
        assert!(lost || masks.len() as i32 == events, "{}", masks.len());
        lost
    };
    assert!(!overflows(events));
    assert!(overflows(0));
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
