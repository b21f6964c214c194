//! What only GPT partition tables have: GUIDs and attributes.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use protocol::api::GptActions;
use protocol::{Context, Device, Error, Result};

use super::parted::run_settled;
use super::partition::{changed, part_number};
use super::table::{Gpt, Guid, Table, no_gpt};
use crate::Daemon;
use crate::command::Command;

/// Bits that the specification keeps for itself.
const RESERVED: u64 = ((1 << 48) - 1) & !0b111;

impl GptActions for Daemon {
    fn part_set_gpt_type(&mut self, device: Device, partnum: i32, guid: &str) -> Result<()> {
        let (number, guid) = (part_number(partnum)?, guid.parse()?);
        self.change_gpt(&device, |gpt| gpt.set_kind(number, guid))
    }

    fn part_get_gpt_type(&mut self, device: Device, partnum: i32) -> Result<String> {
        let number = part_number(partnum)?;
        let gpt = self.gpt(&device)?;
        let guid = gpt.entry(number).context(&device)?.kind();
        Ok(guid.to_string())
    }

    fn part_set_gpt_guid(&mut self, device: Device, partnum: i32, guid: &str) -> Result<()> {
        let (number, guid) = (part_number(partnum)?, guid.parse()?);
        self.change_gpt(&device, |gpt| gpt.set_guid(number, guid))
    }

    fn part_get_gpt_guid(&mut self, device: Device, partnum: i32) -> Result<String> {
        let number = part_number(partnum)?;
        let gpt = self.gpt(&device)?;
        let guid = gpt.entry(number).context(&device)?.guid();
        Ok(guid.to_string())
    }

    fn part_set_disk_guid(&mut self, device: Device, guid: &str) -> Result<()> {
        let guid = guid.parse()?;
        self.change_gpt(&device, |gpt| {
            gpt.set_disk_guid(guid);
            Ok(())
        })
    }

    fn part_get_disk_guid(&mut self, device: Device) -> Result<String> {
        match self.table(&device)? {
            Some(Table::Gpt(gpt)) => Ok(gpt.disk_guid().to_string()),
            Some(Table::Mbr(mbr)) => Ok(format!("0x{:08x}", mbr.disk_id())),
            None => Err(no_gpt(&device)),
        }
    }

    fn part_set_disk_guid_random(&mut self, device: Device) -> Result<()> {
        let guid = Guid::random()?;
        self.change_gpt(&device, |gpt| {
            gpt.set_disk_guid(guid);
            Ok(())
        })
    }

    fn part_expand_gpt(&mut self, device: Device) -> Result<()> {
        if let Some(Table::Mbr(_)) = self.table(&device)? {
            return Err(no_gpt(&device));
        }
        let command = Command::new("sgdisk").arg("-e").arg(device.path());
        run_settled(command, format_args!("sgdisk -e {device}"))
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
        self.change_gpt(&device, |gpt| gpt.set_attributes(number, bits))
    }

    fn part_get_gpt_attributes(&mut self, device: Device, partnum: i32) -> Result<i64> {
        let number = part_number(partnum)?;
        let gpt = self.gpt(&device)?;
        let bits = gpt.entry(number).context(&device)?.attributes();
        Ok(bits.cast_signed())
    }
}

impl Daemon {
    fn gpt(&self, device: &Device) -> Result<Gpt> {
        let table = self.table(device)?.ok_or_else(|| no_gpt(device))?;
        table.into_gpt(device)
    }

    /// Changes something in a GPT that leaves its partitions where they are.
    fn change_gpt(
        &self,
        device: &Device,
        change: impl FnOnce(&mut Gpt) -> Result<()>,
    ) -> Result<()> {
        let disk = self.disk(device, OFlag::O_RDWR)?;
        let table = Table::read(&disk).context(device)?;
        let mut gpt = table.ok_or_else(|| no_gpt(device))?.into_gpt(device)?;
        change(&mut gpt).context(device)?;
        gpt.write(&disk, device)?;
        changed(disk);
        Ok(())
    }
}
