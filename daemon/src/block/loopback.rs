//! Files as block devices.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use protocol::{Context, Error, Result};

use super::ioctl;

const CONTROL: &str = "/dev/loop-control";

/// How often another free device is looked for, if somebody was faster.
const ATTEMPTS: usize = 16;

/// A file behind a loop device, as long as this is there or the device is mounted.
#[derive(Debug)]
pub(crate) struct Loop {
    path: PathBuf,
    _device: File,
}

impl Loop {
    /// Makes a device of an open file. A program that is told to would find out the file's name,
    /// and open what has that name by then.
    ///
    /// # Errors
    ///
    /// When the kernel has no loop devices, or does not take the file.
    pub(crate) fn new(file: &File) -> Result<Self> {
        let control = File::open(CONTROL).context(CONTROL)?;
        for _ in 0..ATTEMPTS {
            let number = ioctl::free_loop(&control).context(CONTROL)?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let mut options = File::options();
            let device = options.read(true).write(true).open(&path);
            let device = device.context(path.display())?;
            match ioctl::set_loop_file(&device, file) {
                Err(Errno::EBUSY) => {}
                done => {
                    done.context(path.display())?;
                    return Ok(Self {
                        path,
                        _device: device,
                    });
                }
            }
        }
        Err(Error::os(Errno::EBUSY, CONTROL))
    }

    /// The device.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
