//! Copying and moving.

mod data;
mod metadata;
mod moving;
mod rsync;
mod targets;
mod tree;

use std::fs::File;
use std::io::{Seek, SeekFrom};

use nix::errno::Errno;
use nix::fcntl::{OFlag, renameat};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};
use protocol::api::{
    CopyActions, CopyDeviceToDeviceOptions, CopyDeviceToFileOptions, CopyFileToDeviceOptions,
    CopyFileToFileOptions, RsyncInOptions, RsyncOptions, RsyncOutOptions,
};
use protocol::{Context, Device, DeviceOrPath, Error, GuestPath, Progress, Result};

use super::{NEW_FILE, seek, write_out};
use crate::Daemon;
use crate::guest::file_type;
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

/// What becomes of a target that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replaced,
    /// All of the source is appended, which may not be the target itself: there
    /// would be no end.
    AllAppended,
    PartAppended,
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
    fn cp(&mut self, src: GuestPath, dest: GuestPath, progress: &mut Progress<'_>) -> Result<()> {
        progress.pulse_while(|| tree::copy(&self.guest, &src, &dest, How::File))
    }

    fn cp_a(&mut self, src: GuestPath, dest: GuestPath, progress: &mut Progress<'_>) -> Result<()> {
        progress.pulse_while(|| tree::copy(&self.guest, &src, &dest, How::Archive))
    }

    fn mv(&mut self, src: GuestPath, dest: GuestPath, progress: &mut Progress<'_>) -> Result<()> {
        moving::move_to(&self.guest, &src, &dest, progress)
    }

    fn dd(&mut self, src: DeviceOrPath, dest: DeviceOrPath) -> Result<()> {
        let from = self.open_source(&src)?;
        let to = self.open_target(&dest, &from, Existing::Replaced)?;
        data::copy(&from, &src, &to, &dest, &Range::default(), |_| {})?;
        write_out(&to, &dest)
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
        let to = self.open_target(&dest, &from, Existing::Replaced)?;
        let range = Range {
            size: Some(size),
            ..Range::default()
        };
        data::copy(&from, &src, &to, &dest, &range, |done| {
            progress.update(done, size);
        })?;
        write_out(&to, &dest)
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
        let subject = || format!("{oldpath}: {newpath}");
        let old = self.guest.parent(&oldpath)?;
        let new = self.guest.parent(&newpath)?;
        // The slash, which says that it is a directory, is not in its name.
        if newpath.as_bytes().ends_with(b"/")
            && new.name != "."
            && let Ok(stat) = old.stat()
            && file_type(&stat) != SFlag::S_IFDIR
        {
            return Err(Errno::ENOTDIR).with_context(subject);
        }
        renameat(
            &old.dir,
            old.name.as_os_str(),
            &new.dir,
            new.name.as_os_str(),
        )
        .with_context(subject)
    }

    fn cp_r(&mut self, src: GuestPath, dest: GuestPath, progress: &mut Progress<'_>) -> Result<()> {
        progress.pulse_while(|| tree::copy(&self.guest, &src, &dest, How::Recursive))
    }
}

impl Daemon {
    fn open_source(&self, path: &DeviceOrPath) -> Result<File> {
        match path {
            DeviceOrPath::Device(device) => self.devices.open(device, OFlag::O_RDONLY),
            DeviceOrPath::Path(path) => self.guest.open_regular(path, OFlag::O_RDONLY),
        }
    }

    /// Opens a target: a device from its start, a file where it is to go on.
    fn open_target(&self, dest: &DeviceOrPath, from: &File, existing: Existing) -> Result<File> {
        let path = match dest {
            DeviceOrPath::Device(device) => return self.devices.open(device, OFlag::O_WRONLY),
            DeviceOrPath::Path(path) => path,
        };
        let mut to = self.guest.create(path, OFlag::O_WRONLY, NEW_FILE)?;
        if existing != Existing::PartAppended && is_same(from, &to).context(path)? {
            let message = format!("{path}: the file would be copied onto itself");
            return Err(Error::with_errno(Errno::EINVAL, message));
        }
        if existing == Existing::Replaced {
            ftruncate(&to, 0).context(path)?;
        } else {
            to.seek(SeekFrom::End(0)).context(path)?;
        }
        Ok(to)
    }

    fn copy_part(
        &self,
        src: &DeviceOrPath,
        dest: &DeviceOrPath,
        part: Part,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let range = Range::new(part.from, part.to, part.size)?.sparse(part.sparse);
        let existing = match (part.append == Some(true), range.size) {
            (false, _) => Existing::Replaced,
            (true, None) => Existing::AllAppended,
            (true, Some(_)) => Existing::PartAppended,
        };
        if existing != Existing::Replaced && matches!(dest, DeviceOrPath::Device(_)) {
            let message = "the append flag cannot be set for this call";
            return Err(Error::with_errno(Errno::EINVAL, message));
        }
        let mut from = self.open_source(src)?;
        seek(&mut from, range.from, src)?;
        let is_new = matches!(dest, DeviceOrPath::Path(path) if self.guest.stat(path).is_err());
        let mut to = self.open_target(dest, &from, existing)?;
        let before = to.stream_position().context(dest)?;
        let result = match existing {
            Existing::Replaced => seek(&mut to, range.to, dest),
            Existing::AllAppended | Existing::PartAppended => Ok(()),
        };
        let result = result.and_then(|()| match range.size {
            Some(size) => data::copy(&from, src, &to, dest, &range, |done| {
                progress.update(done, size);
            }),
            None => progress.pulse_while(|| data::copy(&from, src, &to, dest, &range, |_| {})),
        });
        let result = result.and_then(|()| write_out(&to, dest));
        // Half a copy is worth nothing, but what it was appended to is.
        if result.is_err()
            && let DeviceOrPath::Path(path) = dest
        {
            let is_all_ours = is_new || existing == Existing::Replaced;
            if is_all_ours && matches!(src, DeviceOrPath::Path(_)) {
                self.remove_file(path);
            } else if existing != Existing::Replaced {
                let _ = to.set_len(before);
            }
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

fn is_same(a: &File, b: &File) -> nix::Result<bool> {
    let (a, b) = (fstat(a)?, fstat(b)?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn not_negative(number: i64, what: &str) -> Result<u64> {
    u64::try_from(number)
        .map_err(|_| Error::with_errno(Errno::EINVAL, format!("{what} is negative")))
}
