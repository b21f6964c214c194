//! Handlers of `idl/filesystem/btrfs.idl`.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use protocol::api::{
    BtrfsActions, BtrfsFilesystemDefragmentOptions, BtrfsFilesystemResizeOptions, BtrfsFsckOptions,
    BtrfsImageOptions,
};
use protocol::{Context, Device, Error, GuestPath, Result};

use super::ioctl::{self, Label};
use crate::command::{Command, STDERR_LIMIT};
use crate::daemon::Daemon;
use crate::guest::{View, file_type};
use crate::logging;

/// The exit status of `btrfs rescue super-recover` after it has restored a superblock.
const RECOVERED: i32 = 2;

/// Begins the line between a filesystem's label and its devices.
const TOTAL: &str = "\n\tTotal devices ";

impl BtrfsActions for Daemon {
    fn btrfs_filesystem_resize(
        &mut self,
        mountpoint: GuestPath,
        options: BtrfsFilesystemResizeOptions,
    ) -> Result<()> {
        let size = match options.size {
            None => "max".to_owned(),
            Some(size @ 1..) => size.to_string(),
            Some(_) => return Err(Error::invalid("size is zero or negative")),
        };
        let command = Command::new("btrfs").args(["filesystem", "resize", &size]);
        self.on_mounted(command, &mountpoint).map(drop)
    }

    fn btrfs_filesystem_sync(&mut self, fs: GuestPath) -> Result<()> {
        let command = Command::new("btrfs").args(["filesystem", "sync"]);
        self.on_mounted(command, &fs).map(drop)
    }

    fn btrfs_filesystem_defragment(
        &mut self,
        path: GuestPath,
        options: BtrfsFilesystemDefragmentOptions<'_>,
    ) -> Result<()> {
        let mut command = Command::new("btrfs").args(["filesystem", "defragment", "-r"]);
        if options.flush == Some(true) {
            command = command.arg("-f");
        }
        command = match options.compress {
            None => command,
            Some("zlib") => command.arg("-czlib"),
            Some("lzo") => command.arg("-clzo"),
            Some(other) => return Err(Error::invalid(format!("unknown compress method: {other}"))),
        };
        // The program walks through a directory by names.
        let handle = self.guest.handle(&path)?;
        if file_type(&fstat(&handle).context(&path)?) == SFlag::S_IFDIR {
            let view = View::writable(&handle).context(&path)?;
            let command = command.in_view(&view, &path).arg(".");
            return command.run().context(path).map(drop);
        }
        let file = self.guest.open_regular(&path, OFlag::O_RDONLY)?;
        command.fd_arg(&file, &path).run().context(path).map(drop)
    }

    fn btrfs_filesystem_show(&mut self, device: Device) -> Result<Vec<Device>> {
        let out = Command::new("btrfs")
            .args(["filesystem", "show"])
            .arg(device.path())
            .run()
            .context(&device)?
            .stdout;
        devices_of(&String::from_utf8_lossy(&out)).context(&device)
    }

    fn btrfs_device_add(&mut self, devices: Vec<Device>, fs: GuestPath) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let command = Command::new("btrfs")
            .args(["device", "add", "--force"])
            .args(devices.iter().map(Device::path));
        self.on_mounted(command, &fs).map(drop)
    }

    fn btrfs_device_delete(&mut self, devices: Vec<Device>, fs: GuestPath) -> Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        let command = Command::new("btrfs")
            .args(["device", "delete"])
            .args(devices.iter().map(Device::path));
        self.on_mounted(command, &fs).map(drop)
    }

    fn btrfs_replace(
        &mut self,
        srcdev: Device,
        targetdev: Device,
        mntpoint: GuestPath,
    ) -> Result<()> {
        let command = Command::new("btrfs")
            .args(["replace", "start", "-B", "-f"])
            .args([srcdev.path(), targetdev.path()]);
        self.on_mounted(command, &mntpoint).map(drop)
    }

    fn btrfs_set_seeding(&mut self, device: Device, seeding: bool) -> Result<()> {
        self.btrfstune_seeding(device, seeding)
    }

    fn btrfs_fsck(&mut self, device: Device, options: BtrfsFsckOptions) -> Result<()> {
        let mut command = Command::new("btrfs").arg("check");
        if let Some(number) = options.superblock {
            if number < 0 {
                return Err(Error::invalid("super block offset must be >= 0"));
            }
            command = command.arg("--super").arg(number.to_string());
        }
        if options.repair == Some(true) {
            command = command.arg("--repair");
        }
        command
            .arg(device.path())
            .stdout_beginning(STDERR_LIMIT)
            .run()
            .context(device)
            .map(drop)
    }

    fn btrfs_image(
        &mut self,
        source: Vec<Device>,
        image: GuestPath,
        options: BtrfsImageOptions,
    ) -> Result<()> {
        if source.is_empty() {
            return Err(Error::invalid("list of sources must be non-empty"));
        }
        let file = self.guest.create(
            &image,
            OFlag::O_RDWR | OFlag::O_TRUNC,
            Mode::from_bits_truncate(0o644),
        )?;
        let mut command = Command::new("btrfs-image");
        if let Some(level @ 0..) = options.compresslevel {
            command = command.arg("-c").arg(level.to_string());
        }
        let made = command
            .args(source.iter().map(Device::path))
            .fd_arg(&file, &image)
            .run();
        // The program would remove what it could not write, but has no name for it.
        if made.is_err()
            && let Err(error) = self.remove(&file.into(), &image)
        {
            logging::warning(format_args!("btrfs_image: {error}"));
        }
        made.context(image).map(drop)
    }

    fn btrfs_rescue_chunk_recover(&mut self, device: Device) -> Result<()> {
        Command::new("btrfs")
            .args(["rescue", "chunk-recover", "-y"])
            .arg(device.path())
            .stdout_beginning(STDERR_LIMIT)
            .run()
            .context(device)
            .map(drop)
    }

    fn btrfs_rescue_super_recover(&mut self, device: Device) -> Result<()> {
        let output = Command::new("btrfs")
            .args(["rescue", "super-recover", "-y"])
            .arg(device.path())
            .stdout_beginning(STDERR_LIMIT)
            .output()?;
        match output.code {
            0 | RECOVERED => Ok(()),
            _ => Err(output.failure("btrfs rescue").about(device)),
        }
    }

    fn btrfstune_seeding(&mut self, device: Device, seeding: bool) -> Result<()> {
        if seeding {
            tune(&device, &["-S", "1"])
        } else {
            // It wants to be told that this is meant.
            tune(&device, &["-S", "0", "-f"])
        }
    }

    fn btrfstune_enable_extended_inode_refs(&mut self, device: Device) -> Result<()> {
        tune(&device, &["-r"])
    }

    fn btrfstune_enable_skinny_metadata_extent_refs(&mut self, device: Device) -> Result<()> {
        tune(&device, &["-x"])
    }
}

impl Daemon {
    /// Runs a program on a directory of the guest, which is its last argument, and gives what it
    /// prints.
    pub(super) fn on_mounted(&self, command: Command, path: &GuestPath) -> Result<Vec<u8>> {
        let top = self.top(path)?;
        Ok(command.cwd(&top).arg(".").run().context(path)?.stdout)
    }

    /// Removes an open file, which `path` led to.
    fn remove(&self, file: &OwnedFd, path: &GuestPath) -> Result<()> {
        let place = self.guest.parent(&self.guest.path_of(file, path)?)?;
        let name = place.name.as_os_str();
        unlinkat(&place.dir, name, UnlinkatFlags::NoRemoveDir).context(path)
    }

    /// A directory of the guest, as a working directory for programs.
    pub(super) fn top(&self, path: &GuestPath) -> Result<File> {
        self.guest.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
    }

    /// The label of the btrfs filesystem on a device.
    pub(super) fn btrfs_label(&self, device: &Device) -> Result<Vec<u8>> {
        /// In the first superblock.
        const PLACE: u64 = (64 << 10) + 0x12b;
        let label = match self.top_of(device)? {
            // The device need not have it yet.
            Some(top) => ioctl::label(&top).context(device)?,
            None => {
                let mut label: Label = [0; size_of::<Label>()];
                let file = self.devices.open(device, OFlag::O_RDONLY)?;
                file.read_exact_at(&mut label, PLACE).context(device)?;
                label
            }
        };
        Ok(label.into_iter().take_while(|&byte| byte != 0).collect())
    }
}

fn tune(device: &Device, options: &[&str]) -> Result<()> {
    Command::new("btrfstune")
        .args(options.iter().copied())
        .arg(device.path())
        .run()
        .context(device)
        .map(drop)
}

/// The devices in what `btrfs filesystem show` prints. They come after the label, which may have
/// any lines inside.
fn devices_of(text: &str) -> Result<Vec<Device>> {
    let (_, devices) = text.rsplit_once(TOTAL).unwrap_or_default();
    let mut found = Vec::new();
    for line in devices.lines().map(str::trim) {
        if line.starts_with("*** Some devices missing") {
            return Err(Error::with_errno(Errno::ENODEV, "missing devices"));
        }
        if line.starts_with("devid ")
            && let Some((_, rest)) = line.split_once(" path ")
        {
            // A missing device has a remark after its path.
            if rest.ends_with(" MISSING") {
                return Err(Error::with_errno(Errno::ENODEV, "missing devices"));
            }
            found.push(Device::new(rest.split(' ').next().unwrap_or(rest)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn devices_of_a_filesystem() {
        let text = "Label: none  uuid: 99a1b6ba-de46-4a93-8f91-7d7685970a6c\n\
            \tTotal devices 2 FS bytes used 1.12MiB\n\
            \tdevid    1 size 10.00GiB used 2.00GiB path /dev/sda\n\
            \tdevid    2 size 10.00GiB used 2.00GiB path /dev/sdb\n\n";
        let devices = devices_of(text).unwrap();
        assert_eq!(devices, [Device::new("/dev/sda"), Device::new("/dev/sdb")]);
        let missing = format!("{text}\t*** Some devices missing\n");
        let error = devices_of(&missing).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENODEV));
        let missing = format!("{text}\tdevid 3 size 0 used 0 path <missing disk> MISSING\n");
        assert!(devices_of(&missing).is_err());
    }

    #[test]
    fn devices_in_the_words_of_all_versions() {
        let both = [Device::new("/dev/sdb"), Device::new("/dev/sdc")];
        // The label of the second pretends to be a line with a device.
        for what in ["show", "show-names"] {
            for captured in outputs("btrfs-progs", what) {
                let found = devices_of(&captured.text()).expect("devices");
                assert_eq!(found, both, "{what}: {}", captured.version);
            }
        }
        for captured in outputs("btrfs-progs", "show-missing") {
            let error = devices_of(&captured.text()).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::ENODEV), "{}", captured.version);
        }
    }
}
