//! Partition tables and partitions.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::{Partition, PartitionActions};
use protocol::{Context, Device, Error, List, Result};

use super::gpt::sgdisk;
use super::parted::{Listing, change, run_settled, word};
use super::table::{Extent, Role, Table, fat, no_mbr, not_found};
use crate::Daemon;
use crate::command::Command;

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

/// Types of partitions of an MBR that hold logical ones.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

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
        if let Some(table) = self.table(&device)?
            && table.kind() == "gpt"
        {
            table.gpt_entry(&device, number)?;
            return set_gpt_name(&device, number, name);
        }
        change(&device, ["name", &number.to_string(), &word(name)?])
    }

    fn part_list(&mut self, device: Device) -> Result<List<Partition>> {
        let extents = match self.table(&device)? {
            Some(table) => table.extents(),
            None => Listing::read(&device)?.extents().collect(),
        };
        let places = extents.iter().map(|extent| {
            place(extent).ok_or_else(|| {
                Error::with_errno(
                    Errno::EOVERFLOW,
                    format!("{device}: partition {} is impossibly large", extent.number),
                )
            })
        });
        places.collect()
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
                .ok_or_else(|| not_found(number)),
        }
        .context(&device)
    }

    fn part_get_mbr_id(&mut self, device: Device, partnum: i32) -> Result<i32> {
        let number = part_number(partnum)?;
        let table = self.mbr(&device)?;
        Ok(i32::from(table.mbr_entry(&device, number)?.kind))
    }

    fn part_set_mbr_id(&mut self, device: Device, partnum: i32, idbyte: i32) -> Result<()> {
        let number = part_number(partnum)?;
        let kind = u8::try_from(idbyte).map_err(|_| {
            Error::with_errno(
                Errno::EINVAL,
                format!("{idbyte}: the type of a partition is a number from 0 to 255"),
            )
        })?;
        let table = self.mbr(&device)?;
        let entry = table.mbr_entry(&device, number)?;
        if entry.role == Role::Extended && !EXTENDED.contains(&kind) && table.has_logical() {
            return Err(Error::with_errno(
                Errno::EBUSY,
                format!("{device}: partition {number} holds logical partitions"),
            ));
        }
        change_by_sfdisk(&device, "--part-type", number, &format!("{kind:x}"))
    }

    fn part_get_name(&mut self, device: Device, partnum: i32) -> Result<Vec<u8>> {
        let table = match self.table(&device)? {
            Some(table) if table.kind() == "gpt" => table,
            _ => {
                // A disk without any table fails in its own way.
                self.table_kind_of(&device)?;
                return Err(Error::with_errno(
                    Errno::EINVAL,
                    format!("{device}: part-get-name can only be used on GUID Partition Tables"),
                ));
            }
        };
        let number = part_number(partnum)?;
        Ok(table.gpt_entry(&device, number)?.name.clone())
    }

    fn part_get_mbr_part_type(&mut self, device: Device, partnum: i32) -> Result<String> {
        let number = part_number(partnum)?;
        let role = match self.table(&device)? {
            Some(table @ Table::Mbr { .. }) => table.mbr_entry(&device, number)?.role,
            Some(table @ Table::Gpt { .. }) => {
                table.gpt_entry(&device, number).map(|_| Role::Primary)?
            }
            None => Listing::read(&device)?
                .is_bootable(number)
                .map(|_| Role::Primary)
                .ok_or_else(|| not_found(number))
                .context(&device)?,
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
    /// The partition table of a disk; `None` if it is not of the two usual kinds.
    pub(super) fn table(&self, device: &Device) -> Result<Option<Table>> {
        let disk = self.devices.open(device, OFlag::O_RDONLY)?;
        Table::read(&self.workers, device, &disk).context(device)
    }

    /// The table of a disk, whose partitions may have types of an MBR.
    fn mbr(&self, device: &Device) -> Result<Table> {
        let table = match self.table(device)? {
            None => Table::without_its_gpt(device)?,
            table => table,
        };
        table.ok_or_else(|| no_mbr(device))
    }

    /// The kind of partition table that a disk has.
    ///
    /// # Errors
    ///
    /// If it has none.
    pub(super) fn table_kind_of(&self, device: &Device) -> Result<String> {
        let disk = self.devices.open(device, OFlag::O_RDONLY)?;
        if let Some(table) = Table::read(&self.workers, device, &disk).context(device)? {
            return Ok(table.kind().to_owned());
        }
        let kind = Listing::read(device)?.kind;
        if kind != "loop" {
            return Ok(kind);
        }
        if fat::has_table(&disk).context(device)? {
            return Ok("msdos".to_owned());
        }
        Err(Error::new(format!("{device}: not a partitioned device")))
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

/// Neither program can write all names: sfdisk none with characters beyond the 16 bits that a GPT
/// has for most, sgdisk none with a colon.
fn set_gpt_name(device: &Device, number: u32, name: &str) -> Result<()> {
    if name.chars().all(|c| c.len_utf16() == 1) {
        return change_by_sfdisk(device, "--part-label", number, name);
    }
    if name.contains(':') {
        return Err(Error::with_errno(
            Errno::EINVAL,
            format!("{name}: a name with both a colon and such a character cannot be written"),
        ));
    }
    sgdisk(device, "-c", &[&format!("{number}:{name}")])
}

/// Changes something in a partition's entry that leaves its place as it is.
fn change_by_sfdisk(device: &Device, what: &str, number: u32, value: &str) -> Result<()> {
    // It matters to nobody if partitions of the disk are in use.
    let command = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", what])
        .operands([device.path()])
        .arg(number.to_string())
        .arg(value);
    run_settled(command, format_args!("sfdisk: {device}"))
}

fn place(extent: &Extent) -> Option<Partition> {
    let start = i64::try_from(extent.start).ok()?;
    let size = i64::try_from(extent.size).ok()?;
    Some(Partition {
        part_num: i32::try_from(extent.number).ok()?,
        part_start: start,
        part_end: start.checked_add(size)?.checked_sub(1)?,
        part_size: size,
    })
}

fn table_kind(word: &str) -> Result<&'static str> {
    let known = KINDS.iter().find(|(name, _)| *name == word);
    known.map(|(_, kind)| *kind).ok_or_else(|| {
        Error::new("unknown partition type: common choices are \"gpt\" and \"msdos\"")
    })
}
