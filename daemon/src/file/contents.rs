//! Reading, writing and sizing files.

use std::fs::File;
use std::io::Write;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, posix_fallocate};
use nix::sys::stat::{SFlag, UtimensatFlags, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::sys::uio::{pread, pwrite};
use nix::unistd::ftruncate;
use protocol::api::ContentsActions;
use protocol::wire::MESSAGE_MAX;
use protocol::{Context, Device, Error, GuestPath, Progress, Result};

use super::NEW_FILE;
use crate::guest::file_type;
use crate::{Daemon, udev};

/// How much to write at a time.
const BLOCK: usize = 256 * 1024;

impl ContentsActions for Daemon {
    fn touch(&mut self, path: GuestPath) -> Result<()> {
        let place = self.guest.parent(&path)?;
        match place.stat() {
            Ok(stat) if file_type(&stat) == SFlag::S_IFREG => {}
            Ok(_) => {
                return Err(Error::with_errno(
                    Errno::EINVAL,
                    format!("{path}: touch can only be used on regular files"),
                ));
            }
            Err(Errno::ENOENT) if path.as_bytes().ends_with(b"/") => {
                return Err(Error::os(Errno::EISDIR, &path));
            }
            Err(Errno::ENOENT) => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
                openat(&place.dir, place.name.as_os_str(), flags, NEW_FILE).context(&path)?;
                return Ok(());
            }
            Err(errno) => return Err(Error::os(errno, &path)),
        }
        utimensat(
            &place.dir,
            place.name.as_os_str(),
            &TimeSpec::UTIME_NOW,
            &TimeSpec::UTIME_NOW,
            UtimensatFlags::NoFollowSymlink,
        )
        .context(&path)
    }

    fn write_file(&mut self, path: GuestPath, content: &[u8], size: i32) -> Result<()> {
        let size = usize::try_from(size)
            .map_err(|_| Error::with_errno(Errno::EINVAL, "size cannot be negative"))?;
        let content = match size {
            0 => content,
            _ => content.get(..size).ok_or_else(|| {
                Error::with_errno(
                    Errno::EINVAL,
                    "size parameter is larger than string content",
                )
            })?,
        };
        self.internal_write(path, content)
    }

    fn fallocate(&mut self, path: GuestPath, len: i32) -> Result<()> {
        if len < 0 {
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!("{len}: length is < 0"),
            ));
        }
        self.fallocate64(path, i64::from(len))
    }

    fn truncate(&mut self, path: GuestPath) -> Result<()> {
        self.truncate_size(path, 0)
    }

    fn truncate_size(&mut self, path: GuestPath, size: i64) -> Result<()> {
        let file = self.guest.open_regular(&path, OFlag::O_WRONLY)?;
        ftruncate(&file, size).context(&path)
    }

    fn pread(&mut self, path: GuestPath, count: i32, offset: i64) -> Result<Vec<u8>> {
        let count = read_size(count, offset, &path)?;
        let file = self.guest.open_regular(&path, OFlag::O_RDONLY)?;
        read_at(&file, count, offset).context(&path)
    }

    fn fill(
        &mut self,
        c: i32,
        len: i32,
        path: GuestPath,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let byte = u8::try_from(c).map_err(|_| {
            Error::with_errno(
                Errno::EINVAL,
                format!("{c}: byte number must be in range 0..255"),
            )
        })?;
        let len = fill_length(len)?;
        let mut file = self.guest.create(&path, OFlag::O_WRONLY, NEW_FILE)?;
        write_repeated(&mut file, &[byte], len, progress).context(&path)
    }

    fn fill_pattern(
        &mut self,
        pattern: &[u8],
        len: i32,
        path: GuestPath,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        if pattern.is_empty() {
            return Err(Error::with_errno(
                Errno::EINVAL,
                "pattern string must be non-empty",
            ));
        }
        let len = fill_length(len)?;
        let mut file = self.guest.create(&path, OFlag::O_WRONLY, NEW_FILE)?;
        write_repeated(&mut file, pattern, len, progress).context(&path)
    }

    fn internal_write(&mut self, path: GuestPath, content: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC;
        let mut file = self.guest.create(&path, flags, NEW_FILE)?;
        file.write_all(content).context(&path)
    }

    fn pwrite(&mut self, path: GuestPath, content: &[u8], offset: i64) -> Result<i32> {
        require_offset(offset)?;
        let file = self.guest.open_regular(&path, OFlag::O_WRONLY)?;
        write_at(&file, content, offset).context(&path)
    }

    fn fallocate64(&mut self, path: GuestPath, len: i64) -> Result<()> {
        if len < 0 {
            return Err(Error::os(Errno::EINVAL, &path));
        }
        let flags = OFlag::O_WRONLY | OFlag::O_TRUNC;
        let file = self.guest.create(&path, flags, NEW_FILE)?;
        posix_fallocate(&file, 0, len).context(&path)
    }

    fn pwrite_device(&mut self, device: Device, content: &[u8], offset: i64) -> Result<i32> {
        require_offset(offset)?;
        let file = self.devices.open(&device, OFlag::O_WRONLY)?;
        let written = write_at(&file, content, offset).context(&device)?;
        // The kernel writes it when the device is closed, and then tells nobody of failures.
        file.sync_data().context(&device)?;
        // Closing it makes udev look at the device again, which would hold it open.
        drop(file);
        udev::settle();
        Ok(written)
    }

    fn pread_device(&mut self, device: Device, count: i32, offset: i64) -> Result<Vec<u8>> {
        let count = read_size(count, offset, &device)?;
        let file = self.devices.open(&device, OFlag::O_RDONLY)?;
        read_at(&file, count, offset).context(&device)
    }

    fn internal_write_append(&mut self, path: GuestPath, content: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND;
        let mut file = self.guest.create(&path, flags, NEW_FILE)?;
        file.write_all(content).context(&path)
    }

    fn fill_dir(&mut self, dir: GuestPath, nr: i32) -> Result<()> {
        if nr <= 0 {
            return Ok(());
        }
        let directory = self
            .guest
            .open(&dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        for number in 0..nr {
            let name = format!("{number:08}");
            match mknodat(&directory, name.as_str(), SFlag::S_IFREG, NEW_FILE, 0) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Error::os(errno, dir.join(name.as_bytes()))),
            }
        }
        Ok(())
    }
}

fn require_offset(offset: i64) -> Result<()> {
    if offset < 0 {
        return Err(Error::with_errno(Errno::EINVAL, "offset is negative"));
    }
    Ok(())
}

fn read_size(count: i32, offset: i64, subject: &impl std::fmt::Display) -> Result<usize> {
    let size = usize::try_from(count)
        .map_err(|_| Error::with_errno(Errno::EINVAL, "count is negative"))?;
    require_offset(offset)?;
    // The reply has more in it than what was read.
    if size >= MESSAGE_MAX {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("{subject}: count is too large for the protocol, use smaller reads"),
        ));
    }
    Ok(size)
}

fn fill_length(len: i32) -> Result<usize> {
    usize::try_from(len)
        .map_err(|_| Error::with_errno(Errno::EINVAL, format!("{len}: length is < 0")))
}

fn read_at(file: &File, count: usize, offset: i64) -> nix::Result<Vec<u8>> {
    let mut content = vec![0; count];
    let read = pread(file, &mut content, offset)?;
    content.truncate(read);
    Ok(content)
}

fn write_at(file: &File, content: &[u8], offset: i64) -> nix::Result<i32> {
    let written = pwrite(file, content, offset)?;
    i32::try_from(written).map_err(|_| Errno::EOVERFLOW)
}

/// Writes `len` bytes of `pattern` after `pattern`.
fn write_repeated(
    file: &mut File,
    pattern: &[u8],
    len: usize,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let times = (BLOCK / pattern.len().max(1)).clamp(1, len.max(1));
    let block = pattern.repeat(times);
    let mut done = 0;
    while done < len {
        let part = block.len().min(len - done);
        file.write_all(block.get(..part).unwrap_or_default())?;
        done += part;
        progress.update(done as u64, len as u64);
    }
    Ok(())
}
