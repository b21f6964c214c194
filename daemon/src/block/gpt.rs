//! What only GPT partition tables have: GUIDs and attributes.

use nix::errno::Errno;
use protocol::api::GptActions;
use protocol::{Device, Error, Result};

use super::parted::run_settled;
use super::partition::part_number;
use super::table::{Table, no_gpt};
use crate::Daemon;
use crate::command::Command;

/// Bits that the specification keeps for itself.
const RESERVED: u64 = ((1 << 48) - 1) & !0b111;

/// The type of entries that are not used.
const NO_TYPE: &str = "00000000-0000-0000-0000-000000000000";

impl GptActions for Daemon {
    fn part_set_gpt_type(&mut self, device: Device, partnum: i32, guid: &str) -> Result<()> {
        let (number, guid) = (part_number(partnum)?, canonical(guid)?);
        if guid == NO_TYPE {
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!("{guid}: this type would delete the partition"),
            ));
        }
        self.change_partition(&device, number, "-t", &guid)
    }

    fn part_get_gpt_type(&mut self, device: Device, partnum: i32) -> Result<String> {
        let number = part_number(partnum)?;
        Ok(self.gpt(&device)?.gpt_entry(&device, number)?.kind.clone())
    }

    fn part_set_gpt_guid(&mut self, device: Device, partnum: i32, guid: &str) -> Result<()> {
        let (number, guid) = (part_number(partnum)?, canonical(guid)?);
        self.change_partition(&device, number, "-u", &guid)
    }

    fn part_get_gpt_guid(&mut self, device: Device, partnum: i32) -> Result<String> {
        let number = part_number(partnum)?;
        Ok(self.gpt(&device)?.gpt_entry(&device, number)?.guid.clone())
    }

    fn part_set_disk_guid(&mut self, device: Device, guid: &str) -> Result<()> {
        let guid = canonical(guid)?;
        self.gpt(&device)?;
        sgdisk(&device, "-U", &[&guid])
    }

    fn part_get_disk_guid(&mut self, device: Device) -> Result<String> {
        match self.table(&device)? {
            Some(Table::Gpt { id, .. }) => Ok(id),
            Some(Table::Mbr { id, .. }) => Ok(format!("0x{id}")),
            None => Err(no_gpt(&device)),
        }
    }

    fn part_set_disk_guid_random(&mut self, device: Device) -> Result<()> {
        self.gpt(&device)?;
        sgdisk(&device, "-U", &["R"])
    }

    fn part_expand_gpt(&mut self, device: Device) -> Result<()> {
        if let Some(Table::Mbr { .. }) = self.table(&device)? {
            return Err(no_gpt(&device));
        }
        sgdisk(&device, "-e", &[])
    }

    fn part_set_gpt_attributes(
        &mut self,
        device: Device,
        partnum: i32,
        attributes: i64,
    ) -> Result<()> {
        let number = part_number(partnum)?;
        let bits = attributes.cast_unsigned();
        if bits & RESERVED != 0 {
            return Err(Error::with_errno(
                Errno::EINVAL,
                "bits 3..47 are reserved and cannot be set",
            ));
        }
        self.change_partition(&device, number, "-A", &format!("=:{bits:016x}"))
    }

    fn part_get_gpt_attributes(&mut self, device: Device, partnum: i32) -> Result<i64> {
        let number = part_number(partnum)?;
        let gpt = self.gpt(&device)?;
        let bits = gpt.gpt_entry(&device, number)?.attributes;
        Ok(bits.cast_signed())
    }
}

impl Daemon {
    fn gpt(&self, device: &Device) -> Result<Table> {
        match self.table(device)? {
            Some(table @ Table::Gpt { .. }) => Ok(table),
            _ => Err(no_gpt(device)),
        }
    }

    /// Changes something of a partition. sgdisk would make a GPT of an MBR, and says nothing of
    /// some changes to partitions that do not exist.
    fn change_partition(
        &self,
        device: &Device,
        number: u32,
        what: &str,
        value: &str,
    ) -> Result<()> {
        self.gpt(device)?.gpt_entry(device, number)?;
        sgdisk(device, what, &[&format!("{number}:{value}")])
    }
}

/// Changes something in a GPT.
///
/// # Errors
///
/// What sgdisk said.
pub(super) fn sgdisk(device: &Device, what: &str, value: &[&str]) -> Result<()> {
    let command = Command::new("sgdisk")
        .arg(what)
        .args(value.iter().copied())
        .arg(device.path());
    run_settled(command, format_args!("sgdisk {what}: {device}"))
}

/// A GUID, which may have braces, in the form in which all programs take it.
fn canonical(text: &str) -> Result<String> {
    let digits: String = text
        .chars()
        .filter(|c| !matches!(c, '-' | '{' | '}'))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    let groups: Option<Vec<&str>> = groups.into_iter().map(|group| digits.get(group)).collect();
    match groups {
        Some(groups) if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(groups.join("-"))
        }
        _ => Err(Error::with_errno(
            Errno::EINVAL,
            format!("{text}: not a GUID"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids() {
        let guid = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
        for form in [
            guid.to_owned(),
            guid.to_lowercase(),
            format!("{{{guid}}}"),
            guid.replace('-', ""),
        ] {
            assert_eq!(canonical(&form).expect("a GUID"), guid);
        }
        for bad in ["", &guid[1..], &guid.replace('C', "x"), "ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }
}
