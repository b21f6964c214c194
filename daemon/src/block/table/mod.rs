//! Partition tables, read and changed in process.
//!
//! Only the two kinds that nearly every disk has are known here. Whatever is
//! not clearly one of them (another kind, a filesystem, two kinds at once) is
//! left to `parted`, so that both agree on what a disk holds.
//!
//! What is on the disk was written by the guest: every length and position is
//! checked, and nothing loops or allocates without a bound.

pub(crate) mod gpt;
pub(crate) mod guid;
pub(crate) mod mbr;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use protocol::{Context, Device, Error, Result};

pub(crate) use gpt::Gpt;
pub(crate) use guid::Guid;
pub(crate) use mbr::Mbr;

use super::ioctl;

/// How much of the start of a disk is looked at to tell what it holds: all of
/// the usual GPT.
const HEAD: usize = 32 << 10;

/// A disk whose partition table is read or changed.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    sector: u64,
    sectors: u64,
}

impl Disk {
    /// A disk that is open.
    ///
    /// # Errors
    ///
    /// The errno of the system calls that find its size.
    pub(crate) fn new(file: File) -> Result<Self> {
        let sector = u64::from(ioctl::sector_size(&file)?).max(512);
        let size = ioctl::size(&file)?;
        Ok(Self {
            file,
            sector,
            sectors: size / sector,
        })
    }

    #[cfg(test)]
    fn of_file(file: File, sector: u64) -> Self {
        let size = file.metadata().map_or(0, |meta| meta.len());
        Self {
            file,
            sector,
            sectors: size / sector,
        }
    }

    /// The open device.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes in a sector, the unit in which tables count.
    pub(crate) fn sector(&self) -> u64 {
        self.sector
    }

    fn read(&self, lba: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, self.offset(lba)?)?;
        Ok(bytes)
    }

    fn write(&self, lba: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.offset(lba)?)
    }

    fn offset(&self, lba: u64) -> io::Result<u64> {
        lba.checked_mul(self.sector)
            .filter(|_| lba < self.sectors)
            .ok_or_else(|| Errno::ENXIO.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// A partition as a place on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its number.
    pub(crate) number: u32,
    /// Its first sector.
    pub(crate) start: u64,
    /// How many sectors it has; at least one.
    pub(crate) sectors: u64,
}

/// A partition table of a known kind.
#[derive(Debug)]
pub(crate) enum Table {
    /// A table of the PC's BIOS.
    Mbr(Mbr),
    /// A GUID partition table.
    Gpt(Gpt),
}

impl Table {
    /// Reads the table of a disk; `None` if what the disk holds is not clearly
    /// one of the two kinds.
    ///
    /// # Errors
    ///
    /// The errno of reading.
    pub(crate) fn read(disk: &Disk) -> Result<Option<Self>> {
        let len = u64::try_from(HEAD)
            .unwrap_or(u64::MAX)
            .min(disk.sectors * disk.sector);
        if len < 512 {
            return Ok(None);
        }
        let head = disk.read(0, usize::try_from(len).unwrap_or(HEAD))?;
        let Some(boot) = head.get(..512) else {
            return Ok(None);
        };
        if mbr::is_protective(boot) {
            return Ok(Gpt::read(disk)?.map(Self::Gpt));
        }
        if mbr::is_foreign(&head, disk.sector) {
            return Ok(None);
        }
        Ok(Mbr::read(disk, boot)?.map(Self::Mbr))
    }

    /// Its name among those that `part_init` takes.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Mbr(_) => "msdos",
            Self::Gpt(_) => "gpt",
        }
    }

    /// The partitions, in their order on the disk.
    pub(crate) fn extents(&self) -> Vec<Extent> {
        let mut extents: Vec<Extent> = match self {
            Self::Mbr(mbr) => mbr.extents().collect(),
            Self::Gpt(gpt) => gpt.extents().collect(),
        };
        // An extended partition comes before one that begins where it does.
        extents.sort_by_key(|extent| (extent.start, extent.number));
        extents
    }

    /// Whether a partition is one to boot from.
    ///
    /// # Errors
    ///
    /// If there is no such partition.
    pub(crate) fn is_bootable(&self, number: u32) -> Result<bool> {
        match self {
            Self::Mbr(mbr) => mbr.entry(number).map(mbr::Entry::is_bootable),
            Self::Gpt(gpt) => gpt.is_bootable(number),
        }
    }

    /// The GPT.
    ///
    /// # Errors
    ///
    /// EINVAL if it is something else.
    pub(crate) fn into_gpt(self, device: &Device) -> Result<Gpt> {
        match self {
            Self::Gpt(gpt) => Ok(gpt),
            Self::Mbr(_) => Err(no_gpt(device)),
        }
    }
}

/// The error of asking for what only a GPT has.
pub(crate) fn no_gpt(device: &Device) -> Error {
    Error::with_errno(
        Errno::EINVAL,
        format!("{device}: the disk has no GUID partition table"),
    )
}

/// The error of asking for what only an MBR has.
pub(crate) fn no_mbr(device: &Device) -> Error {
    Error::with_errno(
        Errno::EINVAL,
        format!("{device}: the disk has no MBR partition table"),
    )
}

fn not_found(number: u32) -> Error {
    Error::new(format!("partition number {number} not found"))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes
        .get_mut(at..)
        .and_then(|rest| rest.get_mut(..value.len()))
    {
        place.copy_from_slice(value);
    }
}

/// Flushes a changed table.
fn finish(disk: &Disk, device: &Device) -> Result<()> {
    disk.sync().context(device)
}
