//! Copying and moving.

mod data;
mod metadata;
mod moving;
mod rsync;
mod tree;

use std::fmt;
use std::fs::File;
use std::io::{Seek, SeekFrom};

use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::api::{
    CopyActions, CopyDeviceToDeviceOptions, CopyDeviceToFileOptions, CopyFileToDeviceOptions,
    CopyFileToFileOptions, RsyncInOptions, RsyncOptions, RsyncOutOptions,
};
use protocol::{Context, Device, DeviceOrPath, Error, GuestPath, Progress, Result};

use crate::Daemon;
use data::Range;
use rsync::End;
use tree::How;

/// The options that the copying calls have in common, as the caller gave them.
struct Part {
    from: Option<i64>,
    to: Option<i64>,
    size: Option<i64>,
    sparse: Option<bool>,
    append: Option<bool>,
}

macro_rules! part_from {
    ($($options:ty),+ $(,)?) => {
        $(impl From<$options> for Part {
            fn from(options: $options) -> Self {
                Self {
                    from: options.srcoffset,
                    to: options.destoffset,
                    size: options.size,
                    sparse: options.sparse,
                    append: options.append,
                }
            }
        })+
    };
}

part_from!(
    CopyDeviceToDeviceOptions,
    CopyDeviceToFileOptions,
    CopyFileToDeviceOptions,
    CopyFileToFileOptions,
);

impl CopyActions for Daemon {
    fn cp(&mut self, src: GuestPath, dest: GuestPath) -> Result<()> {
        tree::copy(&self.guest, &src, &dest, How::File)
    }

    fn cp_a(&mut self, src: GuestPath, dest: GuestPath) -> Result<()> {
        tree::copy(&self.guest, &src, &dest, How::Archive)
    }

    fn mv(&mut self, src: GuestPath, dest: GuestPath) -> Result<()> {
        moving::move_to(&self.guest, &src, &dest)
    }

    fn dd(&mut self, src: DeviceOrPath, dest: DeviceOrPath) -> Result<()> {
        let from = self.open_source(&src)?;
        let to = self.open_target(&dest, OFlag::O_TRUNC)?;
        data::copy(&from, &src, &to, &dest, &Range::default(), |_| {})
    }

    fn copy_size(
        &mut self,
        src: DeviceOrPath,
        dest: DeviceOrPath,
        size: i64,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let size = not_negative(size, "size")?;
        let from = self.open_source(&src)?;
        let to = self.open_target(&dest, OFlag::O_TRUNC)?;
        let range = Range {
            size: Some(size),
            ..Range::default()
        };
        data::copy(&from, &src, &to, &dest, &range, |done| {
            progress.update(done, size);
        })
    }

    fn copy_device_to_device(
        &mut self,
        src: Device,
        dest: Device,
        options: CopyDeviceToDeviceOptions,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let (src, dest) = (DeviceOrPath::Device(src), DeviceOrPath::Device(dest));
        self.copy_part(&src, &dest, options.into(), progress)
    }

    fn copy_device_to_file(
        &mut self,
        src: Device,
        dest: GuestPath,
        options: CopyDeviceToFileOptions,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let (src, dest) = (DeviceOrPath::Device(src), DeviceOrPath::Path(dest));
        self.copy_part(&src, &dest, options.into(), progress)
    }

    fn copy_file_to_device(
        &mut self,
        src: GuestPath,
        dest: Device,
        options: CopyFileToDeviceOptions,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let (src, dest) = (DeviceOrPath::Path(src), DeviceOrPath::Device(dest));
        self.copy_part(&src, &dest, options.into(), progress)
    }

    fn copy_file_to_file(
        &mut self,
        src: GuestPath,
        dest: GuestPath,
        options: CopyFileToFileOptions,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let (src, dest) = (DeviceOrPath::Path(src), DeviceOrPath::Path(dest));
        self.copy_part(&src, &dest, options.into(), progress)
    }

    fn rsync(&mut self, src: GuestPath, dest: GuestPath, options: RsyncOptions) -> Result<()> {
        let how = rsync::How::new(options.archive, options.deletedest);
        rsync::copy(&self.guest, &End::Guest(&src), &End::Guest(&dest), &how)
    }

    fn rsync_in(&mut self, remote: &[u8], dest: GuestPath, options: RsyncInOptions) -> Result<()> {
        let how = rsync::How::new(options.archive, options.deletedest);
        rsync::copy(&self.guest, &End::Remote(remote), &End::Guest(&dest), &how)
    }

    fn rsync_out(&mut self, src: GuestPath, remote: &[u8], options: RsyncOutOptions) -> Result<()> {
        let how = rsync::How::new(options.archive, options.deletedest);
        rsync::copy(&self.guest, &End::Guest(&src), &End::Remote(remote), &how)
    }

    fn rename(&mut self, oldpath: GuestPath, newpath: GuestPath) -> Result<()> {
        let subject = || format!("rename: {oldpath}: {newpath}");
        let old = self.guest.parent(&oldpath)?;
        let new = self.guest.parent(&newpath)?;
        renameat(
            &old.dir,
            old.name.as_os_str(),
            &new.dir,
            new.name.as_os_str(),
        )
        .with_context(subject)
    }

    fn cp_r(&mut self, src: GuestPath, dest: GuestPath) -> Result<()> {
        tree::copy(&self.guest, &src, &dest, How::Recursive)
    }
}

impl Daemon {
    fn open_source(&self, path: &DeviceOrPath) -> Result<File> {
        match path {
            DeviceOrPath::Device(device) => self.devices.open(device, OFlag::O_RDONLY),
            DeviceOrPath::Path(path) => self.guest.open_regular(path, OFlag::O_RDONLY),
        }
    }

    fn open_target(&self, path: &DeviceOrPath, flags: OFlag) -> Result<File> {
        match path {
            DeviceOrPath::Device(device) => self.devices.open(device, OFlag::O_WRONLY),
            DeviceOrPath::Path(path) => {
                let mode = Mode::from_bits_truncate(0o666);
                self.guest.create(path, flags | OFlag::O_WRONLY, mode)
            }
        }
    }

    fn copy_part(
        &self,
        src: &DeviceOrPath,
        dest: &DeviceOrPath,
        part: Part,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let flags = target_flags(dest, part.append)?;
        let range = Range::new(part.from, part.to, part.size)?.sparse(part.sparse);
        let mut from = self.open_source(src)?;
        seek(&mut from, range.from, src)?;
        let mut to = self.open_target(dest, flags)?;
        seek(&mut to, range.to, dest)?;
        let result = match range.size {
            Some(size) => data::copy(&from, src, &to, dest, &range, |done| {
                progress.update(done, size);
            }),
            None => {
                let _pulse = progress.pulse();
                data::copy(&from, src, &to, dest, &range, |_| {})
            }
        };
        // Half a copy of a file is worth nothing; but what was appended to is.
        if let (Err(_), DeviceOrPath::Path(_), DeviceOrPath::Path(path)) = (&result, src, dest)
            && !flags.contains(OFlag::O_APPEND)
        {
            self.remove_file(path);
        }
        result
    }

    /// Removes a file after an error, which is what the caller gets to know.
    fn remove_file(&self, path: &GuestPath) {
        if let Ok(path) = self.guest.resolve(path)
            && let Ok(place) = self.guest.parent(&path)
        {
            let _ = unlinkat(
                &place.dir,
                place.name.as_os_str(),
                UnlinkatFlags::NoRemoveDir,
            );
        }
    }
}

fn seek(file: &mut File, offset: u64, subject: &impl fmt::Display) -> Result<()> {
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))
            .context(subject)
            .context("lseek")?;
    }
    Ok(())
}

/// How to open the target; a device has no end to append to.
fn target_flags(dest: &DeviceOrPath, append: Option<bool>) -> Result<OFlag> {
    match (dest, append == Some(true)) {
        (DeviceOrPath::Device(_), true) => Err(Error::with_errno(
            Errno::EINVAL,
            "the append flag cannot be set for this call",
        )),
        (DeviceOrPath::Device(_), false) => Ok(OFlag::empty()),
        (DeviceOrPath::Path(_), true) => Ok(OFlag::O_APPEND),
        (DeviceOrPath::Path(_), false) => Ok(OFlag::O_TRUNC),
    }
}

fn not_negative(number: i64, what: &str) -> Result<u64> {
    u64::try_from(number)
        .map_err(|_| Error::with_errno(Errno::EINVAL, format!("{what} is negative")))
}
