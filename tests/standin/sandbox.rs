//! The private root in which the daemon runs.
//!
//! It is a tmpfs with this machine's programs and libraries read-only, and a
//! `/dev`, `/sys` and `/proc` that know the sandbox's disks and no others.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::unistd::{chdir, pivot_root};

use crate::disk::{Attached, LOOP_MAJOR};
use crate::udevadm;

/// The daemon's path inside.
pub(crate) const DAEMON: &str = "/standin/guestfsd";

/// Where `STANDIN_SHARE` is seen inside.
const SHARE: &str = "/standin/share";

/// A directory that every machine has, to mount the new root on.
const ROOT: &str = "/mnt";

/// What is shared with this machine, read-only, as far as it exists.
const SHARED: &[&str] = &[
    "usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32",
];
/// What is there, empty.
const EMPTY: &[&str] = &[
    "dev",
    "opt",
    "proc",
    "root",
    "run/lock",
    "run/standin",
    "standin",
    "sys",
    "sysroot",
    "tmp",
    "var/cache",
    "var/lib",
    "var/log",
    "var/tmp",
];
/// The parts of `/sys` that are this machine's own.
const SYSFS: &[&str] = &["devices/virtual/block", "fs", "kernel", "module"];
/// The loop devices that `mount -o loop` may be given, besides the disks: more than all sandboxes
/// that run at the same time use. The disks of the others are among them.
const LOOPS: u64 = 1024;
/// What there is in place of `/proc/swaps`: with this machine's, which may have these names as well,
/// programs would take the sandbox's disks for what it swaps to.
const SWAPS: &str = "/run/standin/swaps";
/// What LVM is told: otherwise it looks for volumes at whatever has a node, and opens it.
const LVM: &str = "\
devices {
    filter = [ \"a|^/dev/sd|\", \"r|.*|\" ]
    global_filter = [ \"a|^/dev/sd|\", \"r|.*|\" ]
}
";

const NO_FS: Option<&str> = None;

/// Moves the process into a new root with these disks.
pub(crate) fn enter(disks: &[Attached], daemon: &Path, cmdline: &OsStr) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NO_FS, "/", NO_FS, private, NO_FS)?;
    umask(Mode::empty());
    // Both may lie below what is about to be covered. They are opened by name
    // and only now, because mounts of another namespace cannot be bound.
    let daemon = fs::File::open(daemon).with_context(|| daemon.display().to_string())?;
    let this = fs::File::open(std::env::current_exe()?).context("this program")?;
    let shared = std::env::var_os("STANDIN_SHARE").map(|name| {
        fs::File::open(&name).with_context(|| PathBuf::from(&name).display().to_string())
    });
    let root = Path::new(ROOT);
    tmpfs(root)?;
    for name in EMPTY {
        directory(&root.join(name))?;
    }
    for name in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(name), PermissionsExt::from_mode(0o1777))?;
    }
    share(root)?;
    hide_from_lvm(root)?;
    bind_file(&daemon, &root.join(&DAEMON[1..]))?;
    if let Some(shared) = shared {
        let target = root.join(&SHARE[1..]);
        directory(&target)?;
        bind_over(&shared?, &target)?;
        read_only(&target)?;
    }
    bind_over(&this, &root.join("usr/bin/udevadm")).context("udevadm (is udev installed?)")?;
    devices(&root.join("dev"), disks)?;
    sysfs(&root.join("sys"))?;
    let map = map(disks, root)?;
    fs::write(root.join(&udevadm::MAP[1..]), map)?;
    fs::write(root.join(&udevadm::PARTITIONS[1..]), "")?;
    fs::write(
        root.join(&SWAPS[1..]),
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
    )?;
    let mut line = fs::File::create(root.join("run/standin/cmdline"))?;
    line.write_all(cmdline.as_bytes())?;
    line.write_all(b"\n")?;

    let old = MsFlags::empty();
    mount(Some("proc"), &root.join("proc"), Some("proc"), old, NO_FS).context("proc")?;
    chdir(root)?;
    // The old root ends up on top of the new one, and is dropped from there.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")?;
    for (file, over) in [
        ("/run/standin/cmdline", "/proc/cmdline"),
        (udevadm::PARTITIONS, "/proc/partitions"),
        (SWAPS, "/proc/swaps"),
    ] {
        bind(Path::new(file), Path::new(over))?;
    }
    // Settings of the kernel itself are this machine's.
    for name in ["/proc/sys/kernel", "/proc/sysrq-trigger"] {
        if Path::new(name).exists() {
            bind(Path::new(name), Path::new(name))?;
            read_only(Path::new(name))?;
        }
    }
    udevadm::mirror()?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// The shared directories; a link (as `/bin` is one to `usr/bin`) stays a link.
fn share(root: &Path) -> Result<()> {
    for name in SHARED {
        let source = Path::new("/").join(name);
        let target = root.join(name);
        if let Ok(link) = fs::read_link(&source) {
            symlink(link, &target)?;
        } else if source.is_dir() {
            directory(&target)?;
            bind(&source, &target)?;
            read_only(&target)?;
        }
    }
    Ok(())
}

/// Has LVM see the sandbox's disks and no others.
fn hide_from_lvm(root: &Path) -> Result<()> {
    let configuration = root.join("etc/lvm/lvm.conf");
    if configuration.exists() {
        let own = root.join("run/standin/lvm.conf");
        fs::write(&own, LVM)?;
        bind(&own, &configuration)?;
        read_only(&configuration)?;
    }
    Ok(())
}

fn devices(dev: &Path, disks: &[Attached]) -> Result<()> {
    tmpfs(dev)?;
    let node = |name: &str, kind, mode, major, minor| -> Result<()> {
        let mode = Mode::from_bits_truncate(mode);
        mknod(&dev.join(name), kind, mode, makedev(major, minor)).with_context(|| name.to_owned())
    };
    for (name, major, minor) in [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ] {
        node(name, SFlag::S_IFCHR, 0o666, major, minor)?;
    }
    for line in fs::read_to_string("/proc/misc").unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        if let (Some(Ok(minor)), Some(name)) = (words.next().map(str::parse), words.next())
            && ["loop-control", "fuse", "btrfs-control"].contains(&name)
        {
            node(name, SFlag::S_IFCHR, 0o666, 10, minor)?;
        }
    }
    let high = disks
        .iter()
        .map(|disk| disk.number)
        .filter(|number| *number >= LOOPS);
    for number in (0..LOOPS).chain(high) {
        node(
            &format!("loop{number}"),
            SFlag::S_IFBLK,
            0o660,
            LOOP_MAJOR,
            number,
        )?;
    }
    for (name, target) in [
        ("fd", ""),
        ("stdin", "/0"),
        ("stdout", "/1"),
        ("stderr", "/2"),
    ] {
        symlink(format!("/proc/self/fd{target}"), dev.join(name))?;
    }
    for name in ["disk/by-path", "disk/guestfs", "mapper", "pts", "shm"] {
        directory(&dev.join(name))?;
    }
    Ok(())
}

fn sysfs(sys: &Path) -> Result<()> {
    tmpfs(sys)?;
    for name in SYSFS {
        let source = Path::new("/sys").join(name);
        let target = sys.join(name);
        directory(&target)?;
        if source.is_dir() {
            mount(
                Some(&source),
                &target,
                NO_FS,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                NO_FS,
            )
            .with_context(|| source.display().to_string())?;
        }
    }
    for name in ["block", "class/block", "dev/block"] {
        directory(&sys.join(name))?;
    }
    Ok(())
}

/// Names the disks, and makes their entries that never change.
fn map(disks: &[Attached], root: &Path) -> Result<String> {
    let mut map = String::new();
    for (index, disk) in disks.iter().enumerate() {
        let (name, device) = (disk_name(index), format!("loop{}", disk.number));
        let source = PathBuf::from("/sys/devices/virtual/block").join(&device);
        let shown = root.join("sys/block").join(&name);
        directory(&shown)?;
        for entry in fs::read_dir(&source).with_context(|| source.display().to_string())? {
            let entry = entry?.file_name();
            if !entry.as_bytes().starts_with(device.as_bytes()) {
                symlink(source.join(&entry), shown.join(&entry))?;
            }
        }
        // What has no device is taken for a partition or for nothing at all.
        symlink(&source, shown.join("device"))?;
        let by_path = format!("dev/disk/by-path/pci-0000:00:02.0-scsi-0:0:{index}:0");
        symlink(format!("../../{name}"), root.join(by_path))?;
        let serial = String::from_utf8_lossy(disk.serial.as_deref().unwrap_or_default());
        writeln!(map, "{name} {device} {serial}")?;
    }
    Ok(map)
}

/// `sda`, ..., `sdz`, `sdaa`, ...
fn disk_name(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    format!("sd{}", letters.iter().rev().collect::<String>())
}

fn directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| path.display().to_string())?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
    Ok(())
}

fn tmpfs(path: &Path) -> Result<()> {
    mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .with_context(|| format!("tmpfs on {}", path.display()))
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, NO_FS, MsFlags::MS_BIND, NO_FS)
        .with_context(|| format!("binding {} to {}", source.display(), target.display()))
}

fn read_only(target: &Path) -> Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NO_FS, target, NO_FS, flags, NO_FS).with_context(|| target.display().to_string())
}

/// Makes `target` and binds the open file there.
fn bind_file(file: &fs::File, target: &Path) -> Result<()> {
    fs::File::create(target).with_context(|| target.display().to_string())?;
    bind_over(file, target)
}

fn bind_over(file: &fs::File, target: &Path) -> Result<()> {
    use std::os::fd::AsRawFd;
    bind(Path::new(&crate::sys::fd_path(file.as_raw_fd())), target)
}

#[cfg(test)]
mod tests {
    use super::disk_name;

    #[test]
    fn disks_are_named_as_the_kernel_names_them() {
        let names: Vec<_> = [0, 25, 26, 27, 701, 702].map(disk_name).into();
        assert_eq!(names, ["sda", "sdz", "sdaa", "sdab", "sdzz", "sdaaa"]);
    }
}
