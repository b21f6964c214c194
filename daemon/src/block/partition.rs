//! Partition tables and partitions.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::{Partition, PartitionActions};
use protocol::{Context, Device, Error, Result};

use super::parted::{self, Listing};
use super::table::mbr::Role;
use super::table::{Disk, Mbr, Table, no_mbr};
use super::{ioctl, parted::change};
use crate::{Daemon, udev};

/// Kinds of partition tables: what callers may say, and parted's word for it.
const KINDS: [(&str, &str); 13] = [
    ("gpt", "gpt"),
    ("efi", "gpt"),
    ("msdos", "msdos"),
    ("mbr", "msdos"),
    ("aix", "aix"),
    ("amiga", "amiga"),
    ("rdb", "amiga"),
    ("bsd", "bsd"),
    ("dasd", "dasd"),
    ("dvh", "dvh"),
    ("mac", "mac"),
    ("pc98", "pc98"),
    ("sun", "sun"),
];

/// `part_disk` leaves this many sectors free at either end: enough for a GPT,
/// and aligned well enough for most disks.
const MARGIN: &str = "128s";

impl PartitionActions for Daemon {
    fn part_init(&mut self, device: Device, parttype: &str) -> Result<()> {
        change(&device, ["mklabel", table_kind(parttype)?])
    }

    fn part_add(
        &mut self,
        device: Device,
        prlogex: &str,
        startsect: i64,
        endsect: i64,
    ) -> Result<()> {
        let role = match prlogex {
            "primary" | "p" => "primary",
            "logical" | "l" => "logical",
            "extended" | "e" => "extended",
            other => {
                return Err(Error::new(format!(
                    "unknown partition type: {other}: \
                     this should be \"primary\", \"logical\" or \"extended\""
                )));
            }
        };
        if startsect < 0 {
            return Err(Error::new("startsect cannot be negative"));
        }
        let (start, end) = (format!("{startsect}s"), format!("{endsect}s"));
        change(&device, ["mkpart", role, &start, &end])
    }

    fn part_disk(&mut self, device: Device, parttype: &str) -> Result<()> {
        let kind = table_kind(parttype)?;
        // A GPT takes the word for the partition's name.
        let name = if kind == "gpt" { "p1" } else { "primary" };
        let end = format!("-{MARGIN}");
        change(&device, ["mklabel", kind, "mkpart", name, MARGIN, &end])
    }

    fn part_set_bootable(&mut self, device: Device, partnum: i32, bootable: bool) -> Result<()> {
        let number = part_number(partnum)?.to_string();
        let state = if bootable { "on" } else { "off" };
        change(&device, ["set", &number, "boot", state])
    }

    fn part_set_name(&mut self, device: Device, partnum: i32, name: &[u8]) -> Result<()> {
        let number = part_number(partnum)?;
        let name = std::str::from_utf8(name).map_err(|_| {
            Error::with_errno(Errno::EINVAL, "the name of a partition must be UTF-8")
        })?;
        let disk = self.disk(&device, OFlag::O_RDWR)?;
        match Table::read(&disk).context(&device)? {
            Some(Table::Gpt(mut gpt)) => {
                gpt.set_name(number, name).context(&device)?;
                gpt.write(&disk, &device)?;
                changed(disk);
                Ok(())
            }
            _ => {
                drop(disk);
                change(&device, ["name", &number.to_string(), name])
            }
        }
    }

    fn part_list(&mut self, device: Device) -> Result<Vec<Partition>> {
        let disk = self.disk(&device, OFlag::O_RDONLY)?;
        let (unit, extents) = match Table::read(&disk).context(&device)? {
            Some(table) => (disk.sector(), table.extents()),
            None => (1, Listing::read(&device)?.extents().collect()),
        };
        let mut partitions = Vec::with_capacity(extents.len());
        for extent in extents {
            let bytes = |count: u64| i64::try_from(count.checked_mul(unit)?).ok();
            let place = || {
                let number = i32::try_from(extent.number).ok()?;
                let start = bytes(extent.start)?;
                let size = bytes(extent.sectors)?;
                let end = start.checked_add(size)?.checked_sub(1)?;
                Some(Partition {
                    part_num: number,
                    part_start: start,
                    part_end: end,
                    part_size: size,
                })
            };
            partitions.push(place().ok_or_else(|| {
                Error::with_errno(
                    Errno::EOVERFLOW,
                    format!("{device}: partition {} is impossibly large", extent.number),
                )
            })?);
        }
        Ok(partitions)
    }

    fn part_get_parttype(&mut self, device: Device) -> Result<String> {
        self.table_kind_of(&device)
    }

    fn part_del(&mut self, device: Device, partnum: i32) -> Result<()> {
        change(&device, ["rm", &part_number(partnum)?.to_string()])
    }

    fn part_get_bootable(&mut self, device: Device, partnum: i32) -> Result<bool> {
        let number = part_number(partnum)?;
        match self.table(&device)? {
            Some(table) => table.is_bootable(number),
            None => Listing::read(&device)?
                .is_bootable(number)
                .ok_or_else(|| Error::new(format!("partition number {number} not found"))),
        }
    }

    fn part_get_mbr_id(&mut self, device: Device, partnum: i32) -> Result<i32> {
        let number = part_number(partnum)?;
        let mbr = self.mbr(&device)?;
        let kind = mbr.entry(number).context(&device)?.kind();
        Ok(i32::from(kind))
    }

    fn part_set_mbr_id(&mut self, device: Device, partnum: i32, idbyte: i32) -> Result<()> {
        let number = part_number(partnum)?;
        let kind = u8::try_from(idbyte).map_err(|_| {
            Error::with_errno(
                Errno::EINVAL,
                format!("{idbyte}: the type of a partition is a number from 0 to 255"),
            )
        })?;
        let disk = self.disk(&device, OFlag::O_RDWR)?;
        let Some(Table::Mbr(mbr)) = Table::read(&disk).context(&device)? else {
            return Err(no_mbr(&device));
        };
        mbr.set_kind(&disk, &device, number, kind)?;
        changed(disk);
        Ok(())
    }

    fn part_get_name(&mut self, device: Device, partnum: i32) -> Result<Vec<u8>> {
        let Some(Table::Gpt(gpt)) = self.table(&device)? else {
            // A disk without any table fails in its own way.
            self.table_kind_of(&device)?;
            return Err(Error::with_errno(
                Errno::EINVAL,
                "part-get-name can only be used on GUID Partition Tables",
            ));
        };
        let number = u32::try_from(partnum).unwrap_or_default();
        Ok(gpt.entry(number)?.name().into_bytes())
    }

    fn part_get_mbr_part_type(&mut self, device: Device, partnum: i32) -> Result<String> {
        let number = part_number(partnum)?;
        let role = match self.table(&device)? {
            Some(Table::Mbr(mbr)) => mbr.entry(number).context(&device)?.role(),
            Some(Table::Gpt(gpt)) => gpt.entry(number).map(|_| Role::Primary)?,
            None => {
                let listing = Listing::read(&device)?;
                let known = listing.is_bootable(number).is_some();
                known
                    .then_some(Role::Primary)
                    .ok_or_else(|| Error::new(format!("partition number {number} not found")))?
            }
        };
        Ok(match role {
            Role::Primary => "primary",
            Role::Extended => "extended",
            Role::Logical => "logical",
        }
        .to_owned())
    }

    fn part_resize(&mut self, device: Device, partnum: i32, endsect: i64) -> Result<()> {
        let number = part_number(partnum)?.to_string();
        change(&device, ["resizepart", &number, &format!("{endsect}s")])
    }
}

impl Daemon {
    /// Opens a disk to look at its partition table, or change it.
    pub(super) fn disk(&self, device: &Device, flags: OFlag) -> Result<Disk> {
        if flags.contains(OFlag::O_RDWR) {
            // udev may be busy with the disk, and would see half of a change.
            udev::settle();
        }
        Disk::new(self.devices.open(device, flags)?).context(device)
    }

    /// The partition table of a disk, if it is of a kind that is read in process.
    pub(super) fn table(&self, device: &Device) -> Result<Option<Table>> {
        let disk = self.disk(device, OFlag::O_RDONLY)?;
        Table::read(&disk).context(device)
    }

    /// The kind of partition table that a disk has.
    ///
    /// # Errors
    ///
    /// If it has none.
    pub(super) fn table_kind_of(&self, device: &Device) -> Result<String> {
        let disk = self.disk(device, OFlag::O_RDONLY)?;
        if let Some(table) = Table::read(&disk).context(device)? {
            return Ok(table.kind().to_owned());
        }
        let kind = parted::Listing::read(device)?.kind;
        if kind != "loop" {
            return Ok(kind);
        }
        // mkfs.fat writes a table around its filesystem that parted does not see.
        if super::table::mbr::is_around_fat(&disk).context(device)? {
            return Ok("msdos".to_owned());
        }
        Err(Error::new(format!("{device}: not a partitioned device")))
    }

    fn mbr(&self, device: &Device) -> Result<Mbr> {
        match self.table(device)? {
            Some(Table::Mbr(mbr)) => Ok(mbr),
            _ => Err(no_mbr(device)),
        }
    }
}

/// The number of a partition.
///
/// # Errors
///
/// If it is less than one.
pub(super) fn part_number(number: i32) -> Result<u32> {
    u32::try_from(number)
        .ok()
        .filter(|&number| number >= 1)
        .ok_or_else(|| Error::new("partition number must be >= 1"))
}

/// Tells the kernel and udev of a table that was changed in place.
pub(super) fn changed(disk: Disk) {
    // The partitions' places are as before, so it does not matter if one is in
    // use and the kernel keeps what it knows.
    if let Err(error) = ioctl::reread_partitions(disk.file()) {
        crate::logging::debug(format_args!("BLKRRPART: {error}"));
    }
    drop(disk);
    udev::settle();
}

fn table_kind(word: &str) -> Result<&'static str> {
    let known = KINDS.iter().find(|(name, _)| *name == word);
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        Error::new("unknown partition type: common choices are \"gpt\" and \"msdos\"")
    })
}
