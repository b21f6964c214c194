//! Copying between the library and the guest.

mod base64_text;

use std::fs::File;
use std::io::{Seek, SeekFrom};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::{DebugActions, TransferActions};
use protocol::{Context, DeviceOrPath, Error, FileIn, FileOut, GuestPath, Progress, Result, Sent};

use super::{NEW_FILE, seek, write_out};
use crate::Daemon;
use base64_text::{Decoder, Encoder};

/// How much is read at a time where the data is not just passed on.
const BLOCK: usize = 128 << 10;

impl TransferActions for Daemon {
    fn upload(
        &mut self,
        filename: &mut FileIn<'_>,
        remotefilename: DeviceOrPath,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let file = self.open_for_upload(&remotefilename, OFlag::O_TRUNC)?;
        filename
            .copy_to(&file, Some(progress))
            .context(&remotefilename)?;
        write_out(&file, &remotefilename)
    }

    fn download(
        &mut self,
        remotefilename: DeviceOrPath,
        filename: FileOut<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Sent> {
        let mut file = self.open_for_download(&remotefilename)?;
        let total = match &remotefilename {
            DeviceOrPath::Path(_) => file.metadata().context(&remotefilename)?.len(),
            DeviceOrPath::Device(_) => {
                let end = file.seek(SeekFrom::End(0)).context(&remotefilename)?;
                file.rewind().context(&remotefilename)?;
                end
            }
        };
        let mut out = filename.start()?;
        out.copy_with(&file, None, |sent| progress.update(sent, total))
            .context(&remotefilename)?;
        out.finish()
    }

    fn base64_in(&mut self, base64file: &mut FileIn<'_>, filename: GuestPath) -> Result<()> {
        let file = self
            .guest
            .create(&filename, OFlag::O_WRONLY | OFlag::O_TRUNC, NEW_FILE)?;
        let mut decoder = Decoder::new(file);
        while let Some(block) = base64file.next_block()? {
            decoder.feed(block).context(&filename)?;
        }
        decoder.finish().context(&filename)
    }

    fn base64_out(&mut self, filename: GuestPath, base64file: FileOut<'_>) -> Result<Sent> {
        let file = open_data(self, &filename).context("stat")?;
        let mut out = base64file.start()?;
        let mut encoder = Encoder::new(&mut out);
        let mut block = vec![0; BLOCK];
        loop {
            let read = read_block(&file, &mut block).context(&filename)?;
            if read == 0 {
                break;
            }
            encoder.feed(block.get(..read).unwrap_or_default())?;
        }
        encoder.finish()?;
        out.finish()
    }

    fn upload_offset(
        &mut self,
        filename: &mut FileIn<'_>,
        remotefilename: DeviceOrPath,
        offset: i64,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        let offset = not_negative(offset, "offset in file", &remotefilename)?;
        let mut file = self.open_for_upload(&remotefilename, OFlag::empty())?;
        seek(&mut file, offset, &remotefilename)?;
        filename
            .copy_to(&file, Some(progress))
            .context(&remotefilename)?;
        write_out(&file, &remotefilename)
    }

    fn download_offset(
        &mut self,
        remotefilename: DeviceOrPath,
        filename: FileOut<'_>,
        offset: i64,
        size: i64,
        progress: &mut Progress<'_>,
    ) -> Result<Sent> {
        let offset = not_negative(offset, "offset in file", &remotefilename)?;
        let size = not_negative(size, "size", &remotefilename)?;
        let mut file = self.open_for_download(&remotefilename)?;
        seek(&mut file, offset, &remotefilename)?;
        let mut out = filename.start()?;
        out.copy_with(&file, Some(size), |sent| progress.update(sent, size))
            .context(&remotefilename)?;
        out.finish()
    }

    fn internal_upload(
        &mut self,
        filename: &mut FileIn<'_>,
        tmpname: &[u8],
        mode: i32,
    ) -> Result<()> {
        self.debug_upload(filename, tmpname, mode)
    }
}

impl Daemon {
    fn open_for_upload(&self, to: &DeviceOrPath, flags: OFlag) -> Result<File> {
        let flags = flags | OFlag::O_WRONLY;
        match to {
            DeviceOrPath::Device(device) => self.devices.open(device, flags),
            DeviceOrPath::Path(path) => self.guest.create(path, flags, NEW_FILE),
        }
    }

    fn open_for_download(&self, from: &DeviceOrPath) -> Result<File> {
        match from {
            DeviceOrPath::Device(device) => self.devices.open(device, OFlag::O_RDONLY),
            DeviceOrPath::Path(path) => open_data(self, path),
        }
    }
}

/// Opens a regular file for reading. Callers know the words that refuse a
/// directory.
fn open_data(daemon: &Daemon, path: &GuestPath) -> Result<File> {
    daemon
        .guest
        .open_regular(path, OFlag::O_RDONLY)
        .map_err(|error| match error.errno() {
            Some(Errno::EISDIR) => {
                Error::with_errno(Errno::EISDIR, format!("{path}: is a directory"))
            }
            _ => error,
        })
}

fn read_block(file: &File, block: &mut [u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::read(file, block) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

fn not_negative(number: i64, what: &str, subject: &DeviceOrPath) -> Result<u64> {
    u64::try_from(number)
        .map_err(|_| Error::with_errno(Errno::EINVAL, format!("{subject}: {what} is negative")))
}
