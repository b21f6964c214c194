//! Archives and compressed files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use protocol::api::{
    ArchivesActions, CompressDeviceOutOptions, CompressOutOptions, CpioOutOptions,
    MksquashfsOptions, TarInOptions, TarOutOptions,
};
use protocol::{Context, Device, Error, FileIn, FileOut, FileSender, GuestPath, Result, Sent};

use crate::Daemon;
use crate::archive::{
    self, Compressed, Decompressed, Excludes, ExtractOptions, PackOptions, Reader, Wanted, cpio,
    initrd,
};
use crate::command::{Child, Command};
use crate::guest::View;

impl ArchivesActions for Daemon {
    fn tar_in(
        &mut self,
        tarfile: &mut FileIn<'_>,
        directory: GuestPath,
        options: TarInOptions<'_>,
    ) -> Result<()> {
        let extract = ExtractOptions {
            attributes: Wanted {
                xattrs: options.xattrs.unwrap_or_default(),
                selinux: options.selinux.unwrap_or_default(),
                acls: options.acls.unwrap_or_default(),
            },
            keep_directory_links: options.keepdirlink.unwrap_or_default(),
        };
        // Before anything that an error could be blamed on.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        drop(self.guest.open(&directory, flags)?);
        self.unpack(tarfile, &directory, options.compress, extract)
            .context(&directory)
    }

    fn tar_out(
        &mut self,
        directory: &[u8],
        tarfile: FileOut<'_>,
        options: TarOutOptions<'_>,
    ) -> Result<Sent> {
        let directory = self.plain_directory(directory)?;
        let patterns = options.excludes.unwrap_or_default();
        let pack = PackOptions {
            numeric_owner: options.numericowner.unwrap_or_default(),
            excludes: Excludes::new("tar-out", &patterns)?,
            attributes: Wanted {
                xattrs: options.xattrs.unwrap_or_default(),
                selinux: options.selinux.unwrap_or_default(),
                acls: options.acls.unwrap_or_default(),
            },
        };
        self.pack(&directory, tarfile, options.compress, &pack)
    }

    fn tgz_in(&mut self, tarball: &mut FileIn<'_>, directory: GuestPath) -> Result<()> {
        let options = TarInOptions {
            compress: Some("gzip"),
            ..TarInOptions::default()
        };
        self.tar_in(tarball, directory, options)
    }

    fn tgz_out(&mut self, directory: GuestPath, tarball: FileOut<'_>) -> Result<Sent> {
        self.pack(&directory, tarball, Some("gzip"), &PackOptions::default())
    }

    fn initrd_list(&mut self, path: GuestPath) -> Result<Vec<Vec<u8>>> {
        let file = self.guest.open_regular(&path, OFlag::O_RDONLY)?;
        initrd::list(file).context(&path)
    }

    fn initrd_cat(&mut self, initrdpath: GuestPath, filename: &[u8]) -> Result<Vec<u8>> {
        let file = self.guest.open_regular(&initrdpath, OFlag::O_RDONLY)?;
        initrd::contents(file, filename)
            .with_context(|| format!("{initrdpath}:{}", String::from_utf8_lossy(filename)))?
            .ok_or_else(|| initrd::missing(&initrdpath.to_string(), filename))
    }

    fn txz_in(&mut self, tarball: &mut FileIn<'_>, directory: GuestPath) -> Result<()> {
        let options = TarInOptions {
            compress: Some("xz"),
            ..TarInOptions::default()
        };
        self.tar_in(tarball, directory, options)
    }

    fn txz_out(&mut self, directory: GuestPath, tarball: FileOut<'_>) -> Result<Sent> {
        self.pack(&directory, tarball, Some("xz"), &PackOptions::default())
    }

    fn compress_out(
        &mut self,
        ctype: &str,
        file: GuestPath,
        zfile: FileOut<'_>,
        options: CompressOutOptions,
    ) -> Result<Sent> {
        let command = compressor(ctype, options.level)?;
        let file = self.guest.open_regular(&file, OFlag::O_RDONLY)?;
        send_output(command.stdin_file(file), zfile)
    }

    fn compress_device_out(
        &mut self,
        ctype: &str,
        device: Device,
        zdevice: FileOut<'_>,
        options: CompressDeviceOutOptions,
    ) -> Result<Sent> {
        let command = compressor(ctype, options.level)?;
        let device = self.devices.open(&device, OFlag::O_RDONLY)?;
        send_output(command.stdin_file(device), zdevice)
    }

    fn cpio_out(
        &mut self,
        directory: &[u8],
        cpiofile: FileOut<'_>,
        options: CpioOutOptions<'_>,
    ) -> Result<Sent> {
        let directory = self.plain_directory(directory)?;
        let top = super::open_directory(&self.guest, &directory).map_err(tell_stat)?;
        let format = cpio::Format::from_word(options.format.unwrap_or("newc"))?;
        let mut out = cpiofile.start()?;
        cpio::pack(&top, format, &mut out).context(&directory)?;
        out.finish()
    }

    fn mksquashfs(
        &mut self,
        path: GuestPath,
        filename: FileOut<'_>,
        options: MksquashfsOptions<'_>,
    ) -> Result<Sent> {
        let excludes = options.excludes.unwrap_or_default();
        archive::check_patterns("mksquashfs", &excludes)?;
        let top = View::new(&super::open_directory(&self.guest, &path)?).context(&path)?;
        let image = scratch_file()?;
        let mut command = Command::new("mksquashfs").in_view(&top, &path).arg(".");
        let target = command.fd(&image, "the image");
        command = command.arg(target);
        command = command.args(["-noappend", "-no-recovery", "-no-progress", "-wildcards"]);
        if let Some(compress) = options.compress {
            command = command.args(["-comp", compress]);
        }
        if !excludes.is_empty() {
            command = command
                .arg("-e")
                .args(excludes.iter().map(|pattern| OsStr::from_bytes(pattern)));
        }
        command.run().context(&path)?;
        // The caller may look for mounts as soon as it has the image.
        drop(top);
        let mut out = filename.start()?;
        out.copy_from(&image, None).context(&path)?;
        out.finish()
    }
}

impl Daemon {
    /// The directory of an action that takes it as a plain string. An empty one
    /// has always been the root.
    fn plain_directory(&self, directory: &[u8]) -> Result<GuestPath> {
        self.guest.require_root()?;
        if directory.is_empty() {
            return Ok(GuestPath::root());
        }
        GuestPath::new(directory)
    }

    fn unpack(
        &self,
        file: &mut FileIn<'_>,
        directory: &GuestPath,
        compress: Option<&str>,
        options: ExtractOptions,
    ) -> Result<()> {
        let Some(compress) = compress else {
            let mut reader = Reader::new(file);
            archive::extract(&self.guest, directory, options, &mut reader)?;
            // Archives are filled up, with zeroes or with whatever there was.
            let file = reader.into_input();
            while file.next_block()?.is_some() {}
            return Ok(());
        };
        let input = Decompressed::new(file, archive::program(compress)?)?;
        let mut reader = Reader::new(input);
        let result = archive::extract(&self.guest, directory, options, &mut reader);
        let input = reader.into_input();
        match result {
            Ok(()) => input.finish(),
            Err(error) => Err(input.failure(error)),
        }
    }

    fn pack(
        &self,
        directory: &GuestPath,
        file: FileOut<'_>,
        compress: Option<&str>,
        options: &PackOptions,
    ) -> Result<Sent> {
        let program = compress.map(archive::program).transpose()?;
        let top = super::open_directory(&self.guest, directory).map_err(tell_stat)?;
        let child = program
            .map(|program| Command::new(program).arg("-c").spawn())
            .transpose()?;
        let mut out = file.start()?;
        match child {
            None => archive::pack(&top, options, &mut out).context(directory)?,
            Some(child) => {
                let mut compressed = Compressed::new(child, &mut out);
                archive::pack(&top, options, &mut compressed).context(directory)?;
                compressed.finish()?;
            }
        }
        out.finish()
    }
}

/// Callers know this word before the error of a path that is not there.
fn tell_stat(error: Error) -> Error {
    match error.errno() {
        Some(Errno::ENOTDIR) | None => error,
        Some(errno) => Error::with_errno(errno, format!("stat: {}", error.message())),
    }
}

/// The program of a compression type, which reads its stdin.
fn compressor(ctype: &str, level: Option<i32>) -> Result<Command> {
    let levels = match ctype {
        "compress" => None,
        "gzip" | "bzip2" | "lzop" => Some(1..=9),
        "xz" => Some(0..=9),
        _ => return Err(archive::unknown_type(ctype)),
    };
    archive::require(ctype)?;
    let command = Command::new(ctype).arg("-c");
    // Callers in some languages say "the default" in this way.
    let Some(level) = level.filter(|&level| level != -1) else {
        return Ok(command);
    };
    match levels {
        None => Err(Error::with_errno(
            Errno::EINVAL,
            format!("{ctype}: cannot use optional level parameter with this compression type"),
        )),
        Some(levels) if levels.contains(&level) => Ok(command.arg(format!("-{level}"))),
        Some(levels) => Err(Error::with_errno(
            Errno::EINVAL,
            format!(
                "{ctype}: incorrect value for level parameter: {level} is not from {} to {}",
                levels.start(),
                levels.end()
            ),
        )),
    }
}

/// Sends what a program prints.
///
/// # Errors
///
/// What the program says if it fails; when the library has cancelled.
pub(crate) fn send_output(command: Command, file: FileOut<'_>) -> Result<Sent> {
    let child = command.spawn()?;
    let mut out = file.start()?;
    pass_on(child, &mut out)?;
    out.finish()
}

/// Sends what a program writes, to its end.
///
/// # Errors
///
/// What it said when it failed, and those of sending.
pub(crate) fn pass_on(mut child: Child, out: &mut FileSender<'_>) -> Result<()> {
    let mut block = vec![0; 256 << 10];
    loop {
        let read = child.read(&mut block)?;
        if read == 0 {
            break;
        }
        out.send(block.get(..read).unwrap_or_default())?;
    }
    child.finish()
}

/// A file without a name, where the appliance has room.
fn scratch_file() -> Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    open("/var/tmp", flags, Mode::S_IRUSR | Mode::S_IWUSR)
        .map(File::from)
        .context("/var/tmp")
}
