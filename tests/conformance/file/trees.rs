//! Trees that are deeper than a path is long, or have very many entries.

use conformance::Direct;

/// Levels of one chain of directories: a link can hold its path.
const CHAIN: usize = 450;

/// So many chains have a path that is longer than the kernel's limit of 4096.
const CHAINS: usize = 5;

/// Makes a tree whose paths are too long for the kernel: chains of
/// directories, each reached through a link to the end of the one before.
fn deep_tree(direct: &mut Direct) {
    let mut above = "/deep".to_owned();
    direct.mkdir(&above).expect("mkdir");
    for number in 0..CHAINS {
        let end = format!("{above}{}", "/d".repeat(CHAIN));
        direct.mkdir_p(&end).expect("mkdir_p");
        direct.touch(&format!("{end}/file")).expect("touch");
        let link = format!("/end{number}");
        direct.ln_s(&end, &link).expect("ln_s");
        above = link;
    }
}

fn inodes(direct: &mut Direct) -> i64 {
    direct.statvfs("/").expect("statvfs").ffree
}

#[test]
fn rm_rf_removes_a_tree_of_any_depth() {
    let mut direct = Direct::mounted();
    let before = inodes(&mut direct);
    direct.mkdir("/kept").expect("mkdir");
    direct.touch("/kept/file").expect("touch");
    deep_tree(&mut direct);
    let last = format!("/end{}/{}", CHAINS - 1, "d/".repeat(5));
    direct.mkdir_p(&last).expect("mkdir_p");
    direct.ln_s("/kept", &format!("{last}/link")).expect("ln_s");
    assert!(before - inodes(&mut direct) > (CHAINS * CHAIN) as i64);
    direct.rm_rf("/deep").expect("rm_rf");
    for number in 0..CHAINS {
        direct.rm(&format!("/end{number}")).expect("rm");
    }
    assert!(direct.exists("/kept/file").expect("exists"));
    direct.rm_rf("/kept").expect("rm_rf");
    assert_eq!(inodes(&mut direct), before);
}

#[test]
fn rm_rf_removes_many_entries() {
    let mut direct = Direct::mounted();
    let before = inodes(&mut direct);
    direct.mkdir("/many").expect("mkdir");
    direct.fill_dir("/many", 9000).expect("fill_dir");
    for number in 0..500 {
        direct
            .mkdir_p(&format!("/many/sub{number}/x"))
            .expect("mkdir_p");
    }
    direct.rm_rf("/many").expect("rm_rf");
    assert_eq!(inodes(&mut direct), before);
}

#[test]
fn rm_rf_removes_what_it_can() {
    let mut direct = Direct::mounted();
    direct.mkdir_p("/d/busy").expect("mkdir_p");
    direct.mkdir_p("/d/other").expect("mkdir_p");
    direct.fill_dir("/d", 100).expect("fill_dir");
    // A mount point cannot be removed.
    direct
        .mount_options("", "/dev/sda", "/d/busy")
        .expect("mount");
    let error = direct.rm_rf("/d/busy").expect_err("a mount point");
    assert_eq!(error.errno(), "EBUSY");
}

#[test]
fn du_measures_a_tree_of_any_depth() {
    let mut direct = Direct::mounted();
    deep_tree(&mut direct);
    let whole = direct.du("/deep").expect("du");
    let directory = direct.lstatns("/deep").expect("lstatns").st_blocks / 2;
    assert_eq!(whole, directory * (CHAINS * CHAIN + 1) as i64);
}
