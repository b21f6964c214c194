//! A guest that does all it can to lead the daemon astray. Its files are made
//! from outside of the daemon, since there is no other way to make some.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// As much of a file as is looked at; the canary is at the beginning of every file that has it.
const READ_MAX: u64 = 2 << 10;

/// What a guest has besides the hostile directory.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    /// A directory of the canary's name, so that confined links lead somewhere.
    pub(crate) decoy: bool,
    /// The number of another guest's disk.
    pub(crate) disk: u64,
    /// An image of a filesystem.
    pub(crate) image: Vec<u8>,
}

/// Names that no rebuilding takes away: another filesystem is mounted there,
/// and one that every ext4 filesystem has.
const KEPT: &[&str] = &["other", "lost+found"];

/// Where links of the hostile directory lead.
fn links() -> Vec<(&'static str, String)> {
    let up = "../".repeat(12);
    [
        ("abs", "/outside".to_owned()),
        ("up", format!("{up}outside")),
        ("abs-file", "/outside/file".to_owned()),
        ("up-file", format!("{up}outside/file")),
        ("abs-image", "/outside/image".to_owned()),
        ("dangling", format!("{up}outside/new")),
        ("dangling-dir", "/outside/new/below".to_owned()),
        ("chain", "chain-2".to_owned()),
        ("chain-2", "../h/chain-3".to_owned()),
        ("chain-3", "up".to_owned()),
        ("chain-file", "chain/file".to_owned()),
        ("proc", "/proc/self/root/outside".to_owned()),
        ("proc-cwd", "/proc/1/cwd/../../outside".to_owned()),
        ("loop", "loop".to_owned()),
        ("loop-1", "loop-2/x".to_owned()),
        ("loop-2", "loop-1".to_owned()),
        ("root", "/".to_owned()),
        ("above", up.clone()),
        ("etc", "/etc".to_owned()),
        ("device", "/dev/sdb".to_owned()),
        ("device-up", format!("{up}dev/sdb")),
        ("elsewhere", "/other/out".to_owned()),
        ("to-disk", "disk".to_owned()),
        ("to-fifo", "fifo".to_owned()),
        ("to-socket", "/h/socket".to_owned()),
        ("dir/up", format!("{up}outside")),
        ("dir/file", "/outside/file".to_owned()),
    ]
    .into()
}

/// The paths to try, all of which exist (or lead somewhere) in a fresh fixture.
pub(crate) const PATHS: &[&str] = &[
    "/first/file",
    "/first-up/dir/inside",
    "/h",
    "/h/abs",
    "/h/abs/",
    "/h/abs/file",
    "/h/abs/image",
    "/h/abs/dir",
    "/h/abs/dir/inside",
    "/h/abs/empty",
    "/h/abs/new",
    "/h/abs/*",
    "/h/abs/XXXXXX",
    "/h/ABS/FILE",
    "/h/up",
    "/h/up/file",
    "/h/up/dir/../dir/inside",
    "/h/up/empty",
    "/h/up/empty/new",
    "/h/*/file",
    "/h/abs-file",
    "/h/up-file",
    "/h/up-file/below",
    "/h/abs-image",
    "/h/dangling",
    "/h/dangling-dir",
    "/h/chain",
    "/h/chain/file",
    "/h/chain-file",
    "/h/proc",
    "/h/proc/file",
    "/h/proc-cwd/file",
    "/h/loop",
    "/h/loop/file",
    "/h/loop-1",
    "/h/root/outside/file",
    "/h/root/h/abs/new",
    "/h/above/outside/file",
    "/h/etc/passwd",
    "/h/device",
    "/h/device-up",
    "/h/elsewhere/file",
    "/h/fifo",
    "/h/to-fifo",
    "/h/disk",
    "/h/to-disk",
    "/h/zero",
    "/h/socket",
    "/h/to-socket",
    "/h/dir",
    "/h/dir/up/dir",
    "/h/dir/../../../outside/file",
    "/other/../../outside/file",
    "/../../outside/file",
    "/../outside",
    "/outside/dir/..",
    "/proc/self/root/outside/file",
    "/proc/self/cwd",
    "/dev/../outside/file",
    "/dev/../outside/image",
    "/dev/disk/../../outside/new",
];

/// The same for names in `/h`.
pub(crate) const NAMES: &[&str] = &[
    "abs", "up-file", "dangling", "chain", "proc", "loop", "etc", "device", "fifo", "disk",
    "to-disk", "zero", "socket", "..", ".", "dir", "new", "",
];

/// The same for devices and btrfs subvolumes.
pub(crate) const MOUNTABLES: &[&str] = &[
    "/dev/../outside/file",
    "/dev/../outside/image",
    "/dev/disk/../../outside/new",
    "/dev/sdz",
    "btrfsvol:/dev/sda/../../outside",
    "btrfsvol:/dev/sda/..",
    "btrfsvol:/dev/sda/h/abs",
    "btrfsvol:/dev/sda/x,device=/outside/image",
    "btrfsvol:/dev/../outside/image/x",
    "/h/disk",
    "/h/abs/image",
    "/outside/image",
];

impl Fixture {
    /// Makes the guest's files in an empty root.
    pub(crate) fn build(&self, root: &Path) -> io::Result<()> {
        let directory = |name: &str| fs::create_dir(root.join(name));
        let file = |name: &str, content: &[u8]| fs::write(root.join(name), content);
        for name in ["dir", "dir/empty", "h", "h/dir", "h/dir/below"] {
            directory(name)?;
        }
        file("own", b"own content\nof two lines\n")?;
        file("dir/file", b"own content\n")?;
        file("labels", b"/.* a:b:own:s0\n")?;
        file("image", &self.image)?;
        file("h/dir/below/plain", b"plain\n")?;
        symlink("own", root.join("link"))?;
        if self.decoy {
            for name in ["outside", "outside/dir", "outside/empty"] {
                directory(name)?;
            }
            file("outside/file", b"decoy\n")?;
            file("outside/dir/inside", b"decoy\n")?;
            file("outside/image", &self.image)?;
        }
        symlink("/outside", root.join("first"))?;
        symlink("../../outside", root.join("first-up"))?;
        for (name, target) in links() {
            symlink(target, root.join("h").join(name))?;
        }
        for (name, kind, number) in [
            ("fifo", SFlag::S_IFIFO, 0),
            ("socket", SFlag::S_IFSOCK, 0),
            ("zero", SFlag::S_IFCHR, makedev(1, 5)),
            ("disk", SFlag::S_IFBLK, self.disk),
            ("dir/disk", SFlag::S_IFBLK, self.disk),
            ("dir/fifo", SFlag::S_IFIFO, 0),
        ] {
            let path = root.join("h").join(name);
            mknod(&path, kind, Mode::from_bits_truncate(0o666), number)?;
        }
        Ok(())
    }

    /// Makes them again, whatever has become of them.
    pub(crate) fn rebuild(&self, root: &Path) -> io::Result<()> {
        clear(root)?;
        self.build(root)
    }
}

/// Removes everything but what is mounted.
pub(crate) fn clear(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What a file was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Differs between files, and after every change.
    identity: (u64, i64, i64),
    /// What it shows of itself.
    pub(crate) text: String,
}

/// Everything below a directory; opens nothing but directories and regular files.
pub(crate) fn states(root: &Path) -> BTreeMap<PathBuf, State> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        let mut text = format!(
            "mode {:o} owner {} {} size {} changed {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.size(),
            meta.mtime(),
        );
        if meta.is_dir() {
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                waiting.push(entry.path());
            }
        } else if meta.is_file() {
            text.push(' ');
            text.push_str(&String::from_utf8_lossy(&content(&path)));
        }
        if !meta.file_type().is_socket() {
            text.push_str(&attributes(&path));
        }
        let name = path.strip_prefix(root).expect("below").to_owned();
        let identity = (meta.ino(), meta.ctime(), meta.ctime_nsec());
        found.insert(name, State { identity, text });
    }
    found
}

fn content(path: &Path) -> Vec<u8> {
    let mut content = Vec::new();
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOATIME;
    let file = File::options().read(true).custom_flags(flags).open(path);
    if let Ok(file) = file {
        // What cannot be read lets nothing out.
        let _ = file.take(READ_MAX).read_to_end(&mut content);
    }
    content
}

/// Extended attributes; those that the daemon cannot have copied from outside are passed over.
fn attributes(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut text = String::new();
    for name in names[..length].split(|&byte| byte == 0) {
        if name.is_empty() {
            continue;
        }
        let mut value = vec![0; 1024];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap_or(0);
        text.push(' ');
        text.push_str(&String::from_utf8_lossy(name));
        text.push('=');
        text.push_str(&String::from_utf8_lossy(&value[..length]));
    }
    text
}
