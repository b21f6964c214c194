//! GUID partition tables: a header and an array of entries, and a second copy
//! of both at the end of the disk.

use nix::errno::Errno;
use protocol::{Context, Device, Error, Result};

use super::{Disk, Extent, Guid, finish, not_found, put, u16_at, u32_at, u64_at};

const SIGNATURE: &[u8] = b"EFI PART";
const MIN_HEADER: usize = 92;
const MIN_ENTRY: usize = 128;
/// Far more than any real table has: 128 entries of 128 bytes.
const MAX_ENTRIES: usize = 4096;
const MAX_TABLE: usize = 1 << 20;

// In the header.
const HEADER_LEN_AT: usize = 12;
const HEADER_CRC_AT: usize = 16;
const MY_LBA_AT: usize = 24;
const OTHER_LBA_AT: usize = 32;
const FIRST_USABLE_AT: usize = 40;
const LAST_USABLE_AT: usize = 48;
const DISK_GUID_AT: usize = 56;
const ENTRIES_LBA_AT: usize = 72;
const ENTRY_COUNT_AT: usize = 80;
const ENTRY_LEN_AT: usize = 84;
const ENTRIES_CRC_AT: usize = 88;

// In an entry.
const TYPE_AT: usize = 0;
const GUID_AT: usize = 16;
const START_AT: usize = 32;
const END_AT: usize = 40;
const ATTRIBUTES_AT: usize = 48;
const NAME_AT: usize = 56;
const NAME_UNITS: usize = 36;

/// An old BIOS may boot it.
const LEGACY_BOOTABLE: u64 = 1 << 2;
/// Types of partitions to boot from: the EFI system partition, and the one that
/// extends it.
const BOOT_TYPES: [&str; 2] = [
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "BC13C2FF-59E6-4262-A352-B275FD6F7172",
];

/// The table, as one of its copies has it.
#[derive(Debug)]
pub(crate) struct Gpt {
    /// The header's sector.
    header: Vec<u8>,
    entries: Vec<u8>,
    entry_len: usize,
}

impl Gpt {
    /// Reads the first copy, or the second if that is damaged; `None` if both are.
    pub(super) fn read(disk: &Disk) -> Result<Option<Self>> {
        if let Some(table) = Self::read_copy(disk, 1)? {
            return Ok(Some(table));
        }
        Self::read_copy(disk, disk.sectors.saturating_sub(1))
    }

    fn read_copy(disk: &Disk, lba: u64) -> Result<Option<Self>> {
        if lba == 0 || lba >= disk.sectors {
            return Ok(None);
        }
        let header = disk.read(lba, usize::try_from(disk.sector).unwrap_or(512))?;
        let Some((entries_lba, len, entry_len)) = check_header(&header, lba) else {
            return Ok(None);
        };
        if entries_lba >= disk.sectors
            || u64::try_from(len).unwrap_or(u64::MAX) > (disk.sectors - entries_lba) * disk.sector
        {
            return Ok(None);
        }
        let entries = disk.read(entries_lba, len)?;
        if u32_at(&header, ENTRIES_CRC_AT) != Some(crc32fast::hash(&entries)) {
            return Ok(None);
        }
        Ok(Some(Self {
            header,
            entries,
            entry_len,
        }))
    }

    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        let entries = self.entries.chunks_exact(self.entry_len);
        (1..).zip(entries).filter_map(|(number, entry)| {
            let entry = Entry(entry);
            let (start, end) = (entry.start(), entry.end());
            (entry.kind() != Guid::NONE && end >= start).then(|| Extent {
                number,
                start,
                sectors: (end - start).saturating_add(1),
            })
        })
    }

    /// The partition with a number.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn entry(&self, number: u32) -> Result<Entry<'_>> {
        let found = self.range(number).and_then(|range| self.entries.get(range));
        found
            .map(Entry)
            .filter(|entry| entry.kind() != Guid::NONE)
            .ok_or_else(|| not_found(number))
    }

    pub(super) fn is_bootable(&self, number: u32) -> Result<bool> {
        let entry = self.entry(number)?;
        let kind = entry.kind().to_string();
        Ok(BOOT_TYPES.contains(&kind.as_str()) || entry.attributes() & LEGACY_BOOTABLE != 0)
    }

    /// The disk's GUID.
    pub(crate) fn disk_guid(&self) -> Guid {
        guid_at(&self.header, DISK_GUID_AT)
    }

    /// Sets the disk's GUID; [`Gpt::write`] puts it on the disk.
    pub(crate) fn set_disk_guid(&mut self, guid: Guid) {
        put(&mut self.header, DISK_GUID_AT, &guid.0);
    }

    /// Sets the type of a partition.
    ///
    /// # Errors
    ///
    /// If there is no such partition; EINVAL for the GUID of no type.
    pub(crate) fn set_kind(&mut self, number: u32, kind: Guid) -> Result<()> {
        if kind == Guid::NONE {
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!("{kind}: this type would delete the partition"),
            ));
        }
        self.put(number, TYPE_AT, &kind.0)
    }

    /// Sets the GUID of a partition.
    ///
    /// # Errors
    ///
    /// If there is no such partition.
    pub(crate) fn set_guid(&mut self, number: u32, guid: Guid) -> Result<()> {
        self.put(number, GUID_AT, &guid.0)
    }

    /// Sets the attribute bits of a partition.
    ///
    /// # Errors
    ///
    /// If there is no such partition.
    pub(crate) fn set_attributes(&mut self, number: u32, attributes: u64) -> Result<()> {
        self.put(number, ATTRIBUTES_AT, &attributes.to_le_bytes())
    }

    /// Sets the name of a partition, as much of it as there is room for.
    ///
    /// # Errors
    ///
    /// If there is no such partition.
    pub(crate) fn set_name(&mut self, number: u32, name: &str) -> Result<()> {
        let mut units = [0; NAME_UNITS];
        let mut used = 0;
        for c in name.chars() {
            let mut pair = [0; 2];
            let encoded = c.encode_utf16(&mut pair);
            let Some(place) = units.get_mut(used..used + encoded.len()) else {
                break;
            };
            place.copy_from_slice(encoded);
            used += encoded.len();
        }
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        self.put(number, NAME_AT, &bytes)
    }

    fn put(&mut self, number: u32, at: usize, value: &[u8]) -> Result<()> {
        self.entry(number)?;
        if let Some(entry) = self
            .range(number)
            .and_then(|range| self.entries.get_mut(range))
        {
            put(entry, at, value);
        }
        Ok(())
    }

    fn range(&self, number: u32) -> Option<std::ops::Range<usize>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let start = index.checked_mul(self.entry_len)?;
        Some(start..start.checked_add(self.entry_len)?)
    }

    /// Writes both copies to the disk, the second one first: one of them is
    /// whole at any time.
    ///
    /// # Errors
    ///
    /// EINVAL if there is no safe place for a copy; the errno of writing.
    pub(crate) fn write(mut self, disk: &Disk, device: &Device) -> Result<()> {
        let crc = crc32fast::hash(&self.entries);
        put(&mut self.header, ENTRIES_CRC_AT, &crc.to_le_bytes());
        let my = u64_at(&self.header, MY_LBA_AT).unwrap_or_default();
        let other = u64_at(&self.header, OTHER_LBA_AT).unwrap_or_default();
        let second = my.max(other);
        let first_usable = u64_at(&self.header, FIRST_USABLE_AT).unwrap_or_default();
        let last_usable = u64_at(&self.header, LAST_USABLE_AT).unwrap_or(u64::MAX);
        let sectors = u64::try_from(self.entries.len())
            .unwrap_or(u64::MAX)
            .div_ceil(disk.sector);
        let first_at = match my {
            1 => u64_at(&self.header, ENTRIES_LBA_AT).unwrap_or(2),
            _ => 2,
        };
        if first_at.saturating_add(sectors) > first_usable {
            return Err(misplaced(device));
        }
        // A disk that was cut off has lost its second copy.
        if second < disk.sectors {
            // Where its entries are may differ from the usual.
            let at = match Self::read_copy(disk, second)? {
                Some(copy) => u64_at(&copy.header, ENTRIES_LBA_AT),
                None => second.checked_sub(sectors),
            };
            let at = at
                .filter(|&at| at > last_usable && at.saturating_add(sectors) <= second)
                .ok_or_else(|| misplaced(device))?;
            self.write_copy(disk, second, 1, at).context(device)?;
        }
        self.write_copy(disk, 1, second, first_at).context(device)?;
        finish(disk, device)
    }

    fn write_copy(
        &self,
        disk: &Disk,
        my: u64,
        other: u64,
        entries_lba: u64,
    ) -> std::io::Result<()> {
        let mut header = self.header.clone();
        put(&mut header, MY_LBA_AT, &my.to_le_bytes());
        put(&mut header, OTHER_LBA_AT, &other.to_le_bytes());
        put(&mut header, ENTRIES_LBA_AT, &entries_lba.to_le_bytes());
        let crc = header_crc(&header).unwrap_or_default();
        put(&mut header, HEADER_CRC_AT, &crc.to_le_bytes());
        disk.write(entries_lba, &self.entries)?;
        disk.write(my, &header)?;
        // The next copy is begun only when this one is on the disk.
        disk.sync()
    }
}

/// Where the entries are, how many bytes in all and how many each; `None` if
/// the header is damaged or belongs elsewhere.
fn check_header(header: &[u8], lba: u64) -> Option<(u64, usize, usize)> {
    let sound = header.starts_with(SIGNATURE)
        && u64_at(header, MY_LBA_AT)? == lba
        && u32_at(header, HEADER_CRC_AT)? == header_crc(header)?;
    let entry_len = usize::try_from(u32_at(header, ENTRY_LEN_AT)?).ok()?;
    let count = usize::try_from(u32_at(header, ENTRY_COUNT_AT)?).ok()?;
    let len = count.checked_mul(entry_len)?;
    let bounded = (MIN_ENTRY..=MAX_TABLE).contains(&entry_len)
        && (1..=MAX_ENTRIES).contains(&count)
        && len <= MAX_TABLE;
    let entries_lba = u64_at(header, ENTRIES_LBA_AT)?;
    (sound && bounded && entries_lba >= 2).then_some((entries_lba, len, entry_len))
}

fn header_crc(header: &[u8]) -> Option<u32> {
    let len = usize::try_from(u32_at(header, HEADER_LEN_AT)?).ok()?;
    let mut covered = header.get(..len).filter(|_| len >= MIN_HEADER)?.to_vec();
    put(&mut covered, HEADER_CRC_AT, &[0; 4]);
    Some(crc32fast::hash(&covered))
}

fn misplaced(device: &Device) -> Error {
    Error::with_errno(
        Errno::EINVAL,
        format!("{device}: the partition table has no room for both of its copies"),
    )
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
    Guid(bytes.copied().unwrap_or_default())
}

/// An entry in use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a>(&'a [u8]);

impl Entry<'_> {
    /// Its type.
    pub(crate) fn kind(&self) -> Guid {
        guid_at(self.0, TYPE_AT)
    }

    /// Its own GUID.
    pub(crate) fn guid(&self) -> Guid {
        guid_at(self.0, GUID_AT)
    }

    /// Its attribute bits.
    pub(crate) fn attributes(&self) -> u64 {
        u64_at(self.0, ATTRIBUTES_AT).unwrap_or_default()
    }

    /// Its name.
    pub(crate) fn name(&self) -> String {
        let units = (0..NAME_UNITS).map_while(|n| u16_at(self.0, NAME_AT + 2 * n));
        char::decode_utf16(units.take_while(|&unit| unit != 0))
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    }

    fn start(&self) -> u64 {
        u64_at(self.0, START_AT).unwrap_or_default()
    }

    fn end(&self) -> u64 {
        u64_at(self.0, END_AT).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
