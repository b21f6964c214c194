//! Disk images as loop devices.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::sys;

/// The major number of loop devices.
pub(crate) const LOOP_MAJOR: u64 = 7;

/// A disk that the launch asked for.
#[derive(Debug, Default)]
pub(crate) struct Spec {
    pub(crate) path: PathBuf,
    pub(crate) readonly: bool,
    /// Writes go to a copy that nobody sees.
    pub(crate) snapshot: bool,
    /// The label given to `add-drive`.
    pub(crate) serial: Option<Vec<u8>>,
    pub(crate) block_size: Option<u32>,
}

/// A disk behind a loop device; detached when it and all other users of the
/// device are gone.
#[derive(Debug)]
pub(crate) struct Attached {
    /// The N of `/dev/loopN`.
    pub(crate) number: u64,
    pub(crate) serial: Option<Vec<u8>>,
    device: Option<File>,
    /// The image, as the kernel names it.
    backing: Option<String>,
}

impl Attached {
    /// Attaches the disk.
    pub(crate) fn new(spec: &Spec) -> Result<Self> {
        let subject = || spec.path.display().to_string();
        let kind = std::fs::metadata(&spec.path)
            .with_context(subject)?
            .file_type();
        // The one way in which a test could reach this machine's own disks.
        ensure!(
            !kind.is_block_device(),
            "{}: is a block device, not an image",
            subject()
        );
        let image = File::open(&spec.path).with_context(subject)?;
        let file = if spec.snapshot || is_qcow2(&image).with_context(subject)? {
            private_copy(&spec.path)?
        } else {
            OpenOptions::new()
                .read(true)
                .write(!spec.readonly)
                .open(&spec.path)
                .with_context(subject)?
        };
        let (number, device) = attach(&file, spec).with_context(subject)?;
        Ok(Self {
            number,
            serial: spec.serial.clone(),
            device: Some(device),
            backing: backing(number),
        })
    }

    /// Lets go of the device, so that it detaches when the sandbox ends.
    pub(crate) fn release(&mut self) {
        self.device = None;
    }

    /// Waits until the kernel has detached the device, and so until everything
    /// written through a filesystem on it is in the image. By then it may be another's.
    pub(crate) fn wait_detached(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.backing.is_some()
            && backing(self.number) == self.backing
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The image behind a loop device, whether it still has a name or not.
fn backing(number: u64) -> Option<String> {
    let name = format!("/sys/block/loop{number}/loop/backing_file");
    let name = std::fs::read_to_string(name).ok()?;
    let name = name.trim_end_matches('\n');
    Some(name.trim_end_matches(" (deleted)").to_owned())
}

/// Whether the image is an overlay, which the library makes for read-only disks.
fn is_qcow2(image: &File) -> std::io::Result<bool> {
    let mut magic = Vec::with_capacity(4);
    image.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"QFI\xfb")
}

/// The image's contents as a raw file without a name.
fn private_copy(image: &Path) -> Result<File> {
    let copy = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_TMPFILE.bits())
        .open("/var/tmp")
        .context("/var/tmp")?;
    // qemu-img is given the descriptor by name, so it must survive the exec.
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let output = Command::new("qemu-img")
        .args(["convert", "-O", "raw"])
        .arg(image)
        .arg(sys::fd_path(copy.as_raw_fd()))
        .stdin(Stdio::null())
        .output()
        .context("qemu-img")?;
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    if !output.status.success() {
        bail!(
            "qemu-img: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(copy)
}

fn attach(file: &File, spec: &Spec) -> Result<(u64, File)> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .context("/dev/loop-control")?;
    loop {
        let number = sys::free_loop(&control).context("no free loop device")?;
        let node = PathBuf::from(format!("/dev/loop{number}"));
        if !node.exists() {
            let mode = Mode::from_bits_truncate(0o660);
            match mknod(&node, SFlag::S_IFBLK, mode, makedev(LOOP_MAJOR, number)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error).with_context(|| node.display().to_string()),
            }
        }
        let device = OpenOptions::new()
            .read(true)
            .write(!spec.readonly)
            .open(&node)
            .with_context(|| node.display().to_string())?;
        match sys::configure_loop(&device, file, spec.readonly, spec.block_size.unwrap_or(0)) {
            Ok(()) => return Ok((number, device)),
            // Somebody else was given the same number and was faster.
            Err(Errno::EBUSY) => {}
            Err(error) => return Err(error).with_context(|| node.display().to_string()),
        }
    }
}
