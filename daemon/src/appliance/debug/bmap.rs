//! `debug bmap`: reading a file, directory or device so that whoever watches
//! the disk from outside sees which blocks it has.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use nix::dir::Dir;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use protocol::{Context, GuestPath, Result};

use super::commands::{ok, shown, usage};
use crate::Daemon;

/// What the next `bmap` will read.
#[derive(Debug, Default)]
pub(crate) struct State {
    subject: Option<Subject>,
}

#[derive(Debug)]
enum Subject {
    File(File),
    Dir(Dir),
}

const BLOCK: usize = 64 << 10;

/// `bmap_file PATH`: a file or directory in the guest.
pub(super) fn file(daemon: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    daemon.debug.subject = None;
    let [path] = args else {
        return Err(usage("bmap-file: missing path"));
    };
    daemon.guest.require_root()?;
    let path = GuestPath::new(*path)?;
    let file = daemon.guest.open(&path, OFlag::O_RDONLY)?;
    let subject = if file.metadata().context(&path)?.is_dir() {
        Subject::Dir(daemon.guest.directory(&path)?)
    } else {
        advise(&file);
        Subject::File(file)
    };
    daemon.debug.subject = Some(subject);
    ok()
}

/// `bmap_device DEVICE`
pub(super) fn device(daemon: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    daemon.debug.subject = None;
    let [name] = args else {
        return Err(usage("bmap-device: missing device"));
    };
    let device = daemon.devices.translate(&shown(name))?;
    let file = daemon.devices.open(&device, OFlag::O_RDONLY)?;
    advise(&file);
    daemon.debug.subject = Some(Subject::File(file));
    ok()
}

/// `bmap`: reads what was prepared, from the disk and not from memory.
pub(super) fn read(daemon: &mut Daemon, args: &[&[u8]]) -> Result<Vec<u8>> {
    if !args.is_empty() {
        return Err(usage("bmap: extra parameters on command line"));
    }
    daemon.drop_kernel_caches(3)?;
    match daemon.debug.subject.take() {
        None => {}
        Some(Subject::Dir(mut dir)) => {
            for entry in dir.iter() {
                entry.context("bmap")?;
            }
        }
        Some(Subject::File(mut file)) => {
            file.seek(SeekFrom::Start(0)).context("bmap")?;
            let mut block = vec![0; BLOCK];
            while file.read(&mut block).context("bmap")? > 0 {}
        }
    }
    ok()
}

/// Reading ahead would show blocks that are not the file's. It is only advice,
/// so a file that does not take it is read all the same.
fn advise(file: &File) {
    for advice in [
        PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL,
        PosixFadviseAdvice::POSIX_FADV_NOREUSE,
        PosixFadviseAdvice::POSIX_FADV_DONTNEED,
    ] {
        let _ = posix_fadvise(file, 0, 0, advice);
    }
}
