//! LVM: what is there, its UUIDs, and which devices LVM looks at.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use protocol::api::{LvmLv, LvmPv, LvmQueryActions, LvmVg};
use protocol::{Context, Device, Error, Mountable, Result};

use super::lvm::{change, filter, lvm, report};
use crate::Daemon;
use crate::filesystem::mapper;
use crate::scratch;

impl LvmQueryActions for Daemon {
    fn pvs(&mut self) -> Result<Vec<Device>> {
        let mut devices = report::physical_volumes()?;
        // The kernel's names need not be in the order that callers see.
        devices.sort_by_cached_key(|device| self.devices.name_of(device.as_str()));
        Ok(devices)
    }

    fn vgs(&mut self) -> Result<Vec<Vec<u8>>> {
        report::groups()
    }

    fn lvs(&mut self) -> Result<Vec<Device>> {
        report::volumes()
    }

    fn pvs_full(&mut self) -> Result<Vec<LvmPv>> {
        const FIELDS: &[&str] = &[
            "pv_name",
            "pv_uuid",
            "pv_fmt",
            "pv_size",
            "dev_size",
            "pv_free",
            "pv_used",
            "pv_attr",
            "pv_pe_count",
            "pv_pe_alloc_count",
            "pv_tags",
            "pe_start",
            "pv_mda_count",
            "pv_mda_free",
        ];
        let rows = report::rows("pvs", FIELDS)?;
        rows.into_iter()
            .map(|mut row| {
                Ok(LvmPv {
                    pv_name: row.device("pv_name"),
                    pv_uuid: row.uuid("pv_uuid")?,
                    pv_fmt: row.bytes("pv_fmt"),
                    pv_size: row.number("pv_size")?,
                    dev_size: row.number("dev_size")?,
                    pv_free: row.number("pv_free")?,
                    pv_used: row.number("pv_used")?,
                    pv_attr: row.bytes("pv_attr"),
                    pv_pe_count: row.number("pv_pe_count")?,
                    pv_pe_alloc_count: row.number("pv_pe_alloc_count")?,
                    pv_tags: row.bytes("pv_tags"),
                    pe_start: row.number("pe_start")?,
                    pv_mda_count: row.number("pv_mda_count")?,
                    pv_mda_free: row.number("pv_mda_free")?,
                })
            })
            .collect()
    }

    fn vgs_full(&mut self) -> Result<Vec<LvmVg>> {
        const FIELDS: &[&str] = &[
            "vg_name",
            "vg_uuid",
            "vg_fmt",
            "vg_attr",
            "vg_size",
            "vg_free",
            "vg_sysid",
            "vg_extent_size",
            "vg_extent_count",
            "vg_free_count",
            "max_lv",
            "max_pv",
            "pv_count",
            "lv_count",
            "snap_count",
            "vg_seqno",
            "vg_tags",
            "vg_mda_count",
            "vg_mda_free",
        ];
        let rows = report::rows("vgs", FIELDS)?;
        rows.into_iter()
            .map(|mut row| {
                Ok(LvmVg {
                    vg_name: row.bytes("vg_name"),
                    vg_uuid: row.uuid("vg_uuid")?,
                    vg_fmt: row.bytes("vg_fmt"),
                    vg_attr: row.bytes("vg_attr"),
                    vg_size: row.number("vg_size")?,
                    vg_free: row.number("vg_free")?,
                    vg_sysid: row.bytes("vg_sysid"),
                    vg_extent_size: row.number("vg_extent_size")?,
                    vg_extent_count: row.number("vg_extent_count")?,
                    vg_free_count: row.number("vg_free_count")?,
                    max_lv: row.number("max_lv")?,
                    max_pv: row.number("max_pv")?,
                    pv_count: row.number("pv_count")?,
                    lv_count: row.number("lv_count")?,
                    snap_count: row.number("snap_count")?,
                    vg_seqno: row.number("vg_seqno")?,
                    vg_tags: row.bytes("vg_tags"),
                    vg_mda_count: row.number("vg_mda_count")?,
                    vg_mda_free: row.number("vg_mda_free")?,
                })
            })
            .collect()
    }

    fn lvs_full(&mut self) -> Result<Vec<LvmLv>> {
        const FIELDS: &[&str] = &[
            "lv_name",
            "lv_uuid",
            "lv_attr",
            "lv_major",
            "lv_minor",
            "lv_kernel_major",
            "lv_kernel_minor",
            "lv_size",
            "seg_count",
            "origin",
            "snap_percent",
            "copy_percent",
            "move_pv",
            "lv_tags",
            "mirror_log",
            "modules",
        ];
        let rows = report::rows("lvs", FIELDS)?;
        rows.into_iter()
            .map(|mut row| {
                Ok(LvmLv {
                    lv_name: row.bytes("lv_name"),
                    lv_uuid: row.uuid("lv_uuid")?,
                    lv_attr: row.bytes("lv_attr"),
                    lv_major: row.number("lv_major")?,
                    lv_minor: row.number("lv_minor")?,
                    lv_kernel_major: row.number("lv_kernel_major")?,
                    lv_kernel_minor: row.number("lv_kernel_minor")?,
                    lv_size: row.number("lv_size")?,
                    seg_count: row.number("seg_count")?,
                    origin: row.bytes("origin"),
                    snap_percent: row.percent("snap_percent")?,
                    copy_percent: row.percent("copy_percent")?,
                    move_pv: row.bytes("move_pv"),
                    lv_tags: row.bytes("lv_tags"),
                    mirror_log: row.bytes("mirror_log"),
                    modules: row.bytes("modules"),
                })
            })
            .collect()
    }

    fn pvuuid(&mut self, device: Device) -> Result<String> {
        uuid("pvs", "pv_uuid", device.path().as_os_str()).context(device)
    }

    fn vguuid(&mut self, vgname: &str) -> Result<String> {
        uuid("vgs", "vg_uuid", OsStr::new(vgname)).context(vgname)
    }

    fn lvuuid(&mut self, device: Device) -> Result<String> {
        uuid("lvs", "lv_uuid", device.path().as_os_str()).context(device)
    }

    fn vgpvuuids(&mut self, vgname: &str) -> Result<Vec<Vec<u8>>> {
        report::column("vgs", "pv_uuid", Some(OsStr::new(vgname))).context(vgname)
    }

    fn vglvuuids(&mut self, vgname: &str) -> Result<Vec<Vec<u8>>> {
        report::column("vgs", "lv_uuid", Some(OsStr::new(vgname))).context(vgname)
    }

    fn lvm_set_filter(&mut self, devices: Vec<Device>) -> Result<()> {
        filter::set(&devices)
    }

    fn lvm_clear_filter(&mut self) -> Result<()> {
        filter::clear()
    }

    fn is_lv(&mut self, mountable: Mountable) -> Result<bool> {
        if mountable.volume().is_some() {
            return Ok(false);
        }
        Ok(canonical(mountable.device())?.is_some())
    }

    fn lvm_canonical_lv_name(&mut self, lvname: &str) -> Result<Device> {
        if !lvname.starts_with("/dev/") {
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!("{lvname}: not a device name"),
            ));
        }
        canonical(&Device::new(lvname))?.ok_or_else(|| {
            Error::with_errno(Errno::EINVAL, format!("{lvname}: not a logical volume"))
        })
    }

    fn list_dm_devices(&mut self) -> Result<Vec<Device>> {
        let mut devices = mapper::devices()?;
        // Also what LVM makes for itself, such as the two parts of a snapshot.
        devices.retain(|device| {
            !mapper::mapped(device).is_some_and(|mapped| mapped.uuid.starts_with("LVM-"))
        });
        Ok(devices)
    }

    fn vgmeta(&mut self, vgname: &str) -> Result<Vec<u8>> {
        let directory = scratch::Directory::new()?;
        let file = directory.path().join("metadata");
        lvm(["vgcfgbackup", "-f"])
            .arg(&file)
            .operands([vgname])
            .run()?;
        std::fs::read(&file).context(file.display())
    }

    fn pvchange_uuid(&mut self, device: Device) -> Result<()> {
        change(lvm(["pvchange", "-u"]).operands([device.path()])).context(device)
    }

    fn pvchange_uuid_all(&mut self) -> Result<()> {
        change(lvm(["pvchange", "-u", "-a"]))
    }

    fn vgchange_uuid(&mut self, vg: &[u8]) -> Result<()> {
        let name = OsString::from_vec(vg.to_vec());
        change(lvm(["vgchange", "-u"]).operands([&name])).context(name.display())
    }

    fn vgchange_uuid_all(&mut self) -> Result<()> {
        change(lvm(["vgchange", "-u"]))
    }
}

/// The field of the one thing that `subject` names.
fn uuid(command: &str, field: &str, subject: &OsStr) -> Result<String> {
    let values = report::column(command, field, Some(subject))?;
    let text = values.into_iter().next().unwrap_or_default();
    String::from_utf8(text).map_err(|_| Error::new("unexpected output from lvm"))
}

/// The usual name of the logical volume that a device is; `None` if it is none.
fn canonical(device: &Device) -> Result<Option<Device>> {
    let number = std::fs::metadata(device.path()).context(device)?.rdev();
    let volumes = numbers(report::volumes()?);
    let found = volumes.into_iter().find(|(_, volume)| *volume == number);
    Ok(found.map(|(volume, _)| volume))
}

/// The devices that are there, with their numbers: one may have many names.
fn numbers(devices: Vec<Device>) -> Vec<(Device, u64)> {
    let numbered = devices.into_iter().filter_map(|device| {
        let number = number(&device)?;
        Some((device, number))
    });
    numbered.collect()
}

fn number(device: &Device) -> Option<u64> {
    std::fs::metadata(device.path())
        .ok()
        .map(|meta| meta.rdev())
}
