//! Handlers of `idl/filesystem/mount.idl`.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, readlink};
use nix::mount::{MntFlags, MsFlags, mount};
use nix::sys::stat::{SFlag, fstat};
use protocol::api::{
    DirectoriesActions, InternalMountable, Mount9pOptions, MountActions, RemountOptions,
    UmountOptions,
};
use protocol::{Context, Device, DeviceOrPath, Error, GuestPath, Mountable, Result};

use super::remounting::Change;
use super::{mapper, shares, volumes};
use crate::block::loopback::Loop;
use crate::command::Command;
use crate::daemon::Daemon;
use crate::guest::{descriptor_path, file_type};
use crate::mounts::{self, Mount};
use crate::scratch::MountPoint;
use crate::udev;

/// How `internal_parse_mountable` numbers the kinds.
const KIND_DEVICE: i32 = 1;
const KIND_BTRFS_VOLUME: i32 = 2;

const NONE: Option<&str> = None;

impl MountActions for Daemon {
    fn mount(&mut self, mountable: Mountable, mountpoint: &[u8]) -> Result<()> {
        self.mount_on(&mountable, mountpoint, b"", "")
    }

    fn mount_ro(&mut self, mountable: Mountable, mountpoint: &[u8]) -> Result<()> {
        self.mount_on(&mountable, mountpoint, b"ro", "")
    }

    fn mount_options(
        &mut self,
        options: &[u8],
        mountable: Mountable,
        mountpoint: &[u8],
    ) -> Result<()> {
        self.mount_on(&mountable, mountpoint, options, "")
    }

    fn mount_vfs(
        &mut self,
        options: &[u8],
        vfstype: &str,
        mountable: Mountable,
        mountpoint: &[u8],
    ) -> Result<()> {
        self.mount_on(&mountable, mountpoint, options, vfstype)
    }

    fn mount_loop(&mut self, file: GuestPath, mountpoint: GuestPath) -> Result<()> {
        // Opened here, so that it is a regular file of the guest that gets the loop device.
        let image = match self.guest.open_regular(&file, OFlag::O_RDWR) {
            Err(error) if matches!(error.errno(), Some(Errno::EROFS | Errno::ETXTBSY)) => {
                self.guest.open_regular(&file, OFlag::O_RDONLY)?
            }
            other => other?,
        };
        let target = self.mountpoint(&mountpoint)?;
        Loop::new(&image)
            .and_then(|device| {
                let attached = attach(Command::new("mount"), device.path(), &target, &mountpoint);
                // Closed here, for which udev looks at it again; and as long as udev does that,
                // unmounting would not give the file back.
                drop(device);
                udev::settle();
                attached
            })
            .with_context(|| format!("{file} on {mountpoint}"))
    }

    fn umount(&mut self, pathordevice: DeviceOrPath, options: UmountOptions) -> Result<()> {
        let mounted = match &pathordevice {
            DeviceOrPath::Device(device) => self.mount_of(device)?,
            DeviceOrPath::Path(path) => self.guest.mounted_at(path)?,
        };
        let mounted = mounted.ok_or_else(|| {
            Error::with_errno(Errno::EINVAL, format!("{pathordevice}: not mounted"))
        })?;
        // The kernel would unmount what is on top.
        if self.guest.is_covered(&mounted)? {
            return Err(Error::invalid(format!(
                "{pathordevice}: another filesystem is mounted over it"
            )));
        }
        let mut flags = MntFlags::empty();
        flags.set(MntFlags::MNT_FORCE, options.force == Some(true));
        flags.set(MntFlags::MNT_DETACH, options.lazyunmount == Some(true));
        self.guest.unmount(&mounted, flags).context(pathordevice)
    }

    fn umount_all(&mut self) -> Result<()> {
        if self.guest.is_own_root() {
            return Err(Error::not_supported(
                "the root is the system's own, whose filesystems stay mounted",
            ));
        }
        self.unmount_all()
    }

    fn mounts(&mut self) -> Result<Vec<Mountable>> {
        Ok(self
            .mounted()?
            .into_iter()
            .map(|(mountable, _)| mountable)
            .collect())
    }

    fn mountpoints(&mut self) -> Result<Vec<(Mountable, Vec<u8>)>> {
        self.mounted()
    }

    fn mkmountpoint(&mut self, exemptpath: &[u8]) -> Result<()> {
        self.mkdir(GuestPath::new(exemptpath)?)
    }

    fn rmmountpoint(&mut self, exemptpath: &[u8]) -> Result<()> {
        self.rmdir(GuestPath::new(exemptpath)?)
    }

    fn remount(&mut self, mountpoint: GuestPath, options: RemountOptions) -> Result<()> {
        let read_only = match options.rw {
            Some(writable) => !writable,
            None => return Err(Error::invalid("parameter 'rw' must be specified")),
        };
        let mounted = self.guest.mounted_at(&mountpoint)?.ok_or_else(|| {
            Error::with_errno(Errno::EINVAL, format!("{mountpoint}: not mounted"))
        })?;
        let mut change = Change::keeping(&mounted);
        change.set_read_only(read_only);
        change
            .apply(&self.guest.handle(&mountpoint)?)
            .context(mountpoint)
    }

    fn list_9p(&mut self) -> Result<Vec<Vec<u8>>> {
        shares::tags()
    }

    fn mount_9p(
        &mut self,
        mounttag: &[u8],
        mountpoint: &[u8],
        options: Mount9pOptions<'_>,
    ) -> Result<()> {
        let mountpoint = GuestPath::new(mountpoint)?;
        // One that is missing is reported as such here, unlike by the other mounts.
        self.guest.stat(&mountpoint)?;
        let target = self.mountpoint(&mountpoint)?;
        shares::load_driver();
        let tag = OsStr::from_bytes(mounttag);
        let mut all = b"trans=virtio".to_vec();
        if let Some(options) = options.options.filter(|options| !options.is_empty()) {
            all.push(b',');
            all.extend_from_slice(options);
        }
        let command = Command::new("mount")
            .args(["-t", "9p", "-o"])
            .arg(OsStr::from_bytes(&all));
        attach(command, Path::new(tag), &target, &mountpoint)
            .with_context(|| format!("{} on {mountpoint}", tag.display()))
    }

    fn internal_parse_mountable(&mut self, mountable: Mountable) -> Result<InternalMountable> {
        Ok(InternalMountable {
            im_type: match mountable.volume() {
                None => KIND_DEVICE,
                Some(_) => KIND_BTRFS_VOLUME,
            },
            im_device: mountable.device().name().as_bytes().to_vec(),
            im_volume: mountable.volume().unwrap_or_default().to_vec(),
        })
    }
}

impl Daemon {
    fn mount_on(
        &self,
        mountable: &Mountable,
        mountpoint: &[u8],
        options: &[u8],
        vfstype: &str,
    ) -> Result<()> {
        // Callers have always been allowed to leave the first slash out.
        let mountpoint = GuestPath::root().join(mountpoint);
        let target = self.mountpoint(&mountpoint)?;
        let mut all = volumes::mount_word(mountable)?;
        if !options.is_empty() {
            if !all.is_empty() {
                all.push(b',');
            }
            all.extend_from_slice(options);
        }
        if let Some(change) = Change::parse(&all) {
            return change.apply(&target).context(mountpoint);
        }
        let mut command = Command::new("mount").status_in_error();
        if !all.is_empty() {
            command = command.arg("-o").arg(OsStr::from_bytes(&all));
        }
        if !vfstype.is_empty() {
            command = command.arg("-t").arg(vfstype);
        }
        attach(command, mountable.device().path(), &target, &mountpoint)
    }

    /// A handle of a directory of the guest to mount on.
    fn mountpoint(&self, path: &GuestPath) -> Result<OwnedFd> {
        let not_a_directory = |errno| {
            Error::with_errno(
                errno,
                format!("mount: {path}: mount point is not a directory"),
            )
        };
        let handle = self
            .guest
            .handle(path)
            .map_err(|error| match error.errno() {
                Some(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => not_a_directory(errno),
                _ => error,
            })?;
        if file_type(&fstat(&handle).context(path)?) != SFlag::S_IFDIR {
            return Err(not_a_directory(Errno::ENOTDIR));
        }
        Ok(handle)
    }

    /// The mount of a device in the guest; the latest if there are several.
    pub(super) fn mount_of(&self, device: &Device) -> Result<Option<Mount>> {
        let number = std::fs::metadata(device.path()).context(device)?.rdev();
        let is_of_device = |mount: &Mount| source_number(mount) == Some(number);
        Ok(self.guest.mounts()?.into_iter().rfind(is_of_device))
    }

    /// The directory where a device is mounted in the guest, unless another is mounted over it.
    pub(super) fn top_of(&self, device: &Device) -> Result<Option<File>> {
        match self.mount_of(device)? {
            Some(mount) if !self.guest.is_covered(&mount)? => {
                self.top(&self.guest.place_of(&mount)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What is mounted in the guest, and where.
    fn mounted(&self) -> Result<Vec<(Mountable, Vec<u8>)>> {
        let mounts = self.guest.mounts()?;
        let shown = mounts.into_iter().map(|mount| {
            let source = Device::new(String::from_utf8_lossy(&mount.source));
            let device = mapper::logical_volume(&source).unwrap_or(source);
            let place = self.guest.place_of(&mount).into_bytes();
            (Mountable::from(device), place)
        });
        Ok(shown.collect())
    }
}

/// Lets `mount` mount `source` where no guest has a say, and puts it on `target` then.
///
/// Given the target, the program would find out its name and mount there, which is elsewhere if the
/// guest has made a link of a directory meanwhile.
fn attach(
    mount_program: Command,
    source: &Path,
    target: &OwnedFd,
    mountpoint: &GuestPath,
) -> Result<()> {
    let point = MountPoint::new()?;
    let mounted = mount_program.operands([source, point.path()]).run();
    // The program speaks of where it mounts, the caller of where it is to be.
    let here = point.path().to_string_lossy();
    mounted.map_err(|error| error.replacing(&here, &mountpoint.to_string()))?;
    let place = descriptor_path(target);
    let below = readlink(&place).context(mountpoint)?;
    if is_same_filesystem(point.path(), Path::new(&below))? {
        // As the kernel says it of a filesystem that is to go on itself, whichever part of it.
        let said = format!("{} already mounted", source.display());
        return Err(Error::new(&*said)
            .repeating(&said)
            .about(mountpoint)
            .about("mount"));
    }
    let flags = MsFlags::MS_BIND;
    mount(Some(point.path()), &place, NONE, flags, NONE).context(mountpoint)
}

/// Whether the same filesystem is mounted at both places. Its files do not tell: each subvolume of
/// btrfs has a device number of its own.
fn is_same_filesystem(one: &Path, other: &Path) -> Result<bool> {
    let mounts = mounts::below(Path::new("/"))?;
    let at = |place: &Path| mounts.iter().rfind(|mount| mount.mountpoint == place);
    Ok(match (at(one), at(other)) {
        (Some(one), Some(other)) => one.device_number == other.device_number,
        _ => false,
    })
}

/// The number of the device that is mounted. Not that of the files on it: btrfs has its own there.
fn source_number(mount: &Mount) -> Option<u64> {
    let source = Path::new(OsStr::from_bytes(&mount.source));
    if !source.is_absolute() {
        return None;
    }
    std::fs::metadata(source).ok().map(|meta| meta.rdev())
}
