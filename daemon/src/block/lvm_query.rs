//! LVM: what is there, its UUIDs, and which devices LVM looks at.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use protocol::api::{LvmLv, LvmPv, LvmQueryActions, LvmVg};
use protocol::{Context, Device, Error, List, Mountable, Result};

use super::lvm::report::{self, Row};
use super::lvm::{change, filter, lvm};
use crate::Daemon;
use crate::filesystem::mapper;
use crate::{room, scratch};

/// The fields that are asked of a command, and what makes a structure of them: its fields have the
/// same names.
macro_rules! report_of {
    ($fields:ident, $make:ident: $structure:ident { $($field:ident),+ $(,)? }) => {
        const $fields: &[&str] = &[$(stringify!($field)),+];

        fn $make(mut row: Row) -> Result<$structure> {
            Ok($structure {
                $($field: row.take(stringify!($field))?,)+
            })
        }
    };
}

report_of!(PV_FIELDS, pv: LvmPv {
    pv_name,
    pv_uuid,
    pv_fmt,
    pv_size,
    dev_size,
    pv_free,
    pv_used,
    pv_attr,
    pv_pe_count,
    pv_pe_alloc_count,
    pv_tags,
    pe_start,
    pv_mda_count,
    pv_mda_free,
});

report_of!(VG_FIELDS, vg: LvmVg {
    vg_name,
    vg_uuid,
    vg_fmt,
    vg_attr,
    vg_size,
    vg_free,
    vg_sysid,
    vg_extent_size,
    vg_extent_count,
    vg_free_count,
    max_lv,
    max_pv,
    pv_count,
    lv_count,
    snap_count,
    vg_seqno,
    vg_tags,
    vg_mda_count,
    vg_mda_free,
});

report_of!(LV_FIELDS, lv: LvmLv {
    lv_name,
    lv_uuid,
    lv_attr,
    lv_major,
    lv_minor,
    lv_kernel_major,
    lv_kernel_minor,
    lv_size,
    seg_count,
    origin,
    snap_percent,
    copy_percent,
    move_pv,
    lv_tags,
    mirror_log,
    modules,
});

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

    fn pvs_full(&mut self) -> Result<List<LvmPv>> {
        let rows = report::rows("pvs", PV_FIELDS)?;
        rows.into_iter().map(pv).collect()
    }

    fn vgs_full(&mut self) -> Result<List<LvmVg>> {
        let rows = report::rows("vgs", VG_FIELDS)?;
        rows.into_iter().map(vg).collect()
    }

    fn lvs_full(&mut self) -> Result<List<LvmLv>> {
        let rows = report::rows("lvs", LV_FIELDS)?;
        rows.into_iter().map(lv).collect()
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
        let device = self.devices.translate(lvname)?;
        canonical(&device)?.ok_or_else(|| {
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
        whole(&file).context(vgname)
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

/// What is in a file, if a reply can hold it: the metadata's size is the guest's to choose.
fn whole(file: &Path) -> Result<Vec<u8>> {
    let length = std::fs::metadata(file).context(file.display())?.len();
    room::require(usize::try_from(length).unwrap_or(usize::MAX))?;
    std::fs::read(file).context(file.display())
}

/// The field of the one thing that `subject` names. The directory of a group, and a tag, can be
/// the name of any number of things.
fn uuid(command: &str, field: &str, subject: &OsStr) -> Result<String> {
    let values = report::column(command, field, Some(subject))?;
    let [text] = <[Vec<u8>; 1]>::try_from(values).map_err(|values| match values.len() {
        0 => Error::with_errno(Errno::ENOENT, "nothing in LVM has this name"),
        some => Error::invalid(format!("{some} things in LVM have this name")),
    })?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    const MIB: i64 = 1 << 20;

    #[test]
    fn metadata_that_no_reply_can_hold_is_not_read() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let sized = |length| file.as_file().set_len(length).expect("a length");
        sized(4 << 20);
        assert_eq!(whole(file.path()).expect("all of it").len(), 4 << 20);
        // More than there is memory for.
        for length in [(4 << 20) + 1, 1 << 42] {
            sized(length);
            let error = whole(file.path()).expect_err("too much");
            assert_eq!(error.errno(), Some(Errno::E2BIG), "{error}");
            assert!(error.to_string().contains("4194304"), "{error}");
        }
    }

    fn full<T>(
        what: &str,
        fields: &[&'static str],
        each: fn(Row) -> Result<T>,
    ) -> impl Iterator<Item = (String, Vec<T>)> {
        outputs("lvm2", what).into_iter().map(move |captured| {
            let rows = report::parse(&captured.bytes, fields).expect("rows");
            let all: Result<Vec<T>> = rows.into_iter().map(each).collect();
            (captured.version, all.expect("all fields"))
        })
    }

    #[test]
    fn physical_volumes_of_all_versions() {
        for (version, volumes) in full("pvs-full", PV_FIELDS, pv) {
            let found: Vec<_> = volumes
                .iter()
                .map(|pv| (pv.pv_name.as_str(), pv.pv_pe_count, pv.pv_pe_alloc_count))
                .collect();
            let expected = [
                ("/dev/sdb", 127, 19),
                ("/dev/sdc", 127, 10),
                ("/dev/sdd", 127, 0),
                ("/dev/sde", 0, 0),
            ];
            assert_eq!(found, expected, "{version}");
            let first = &volumes[0];
            assert_eq!(first.pv_fmt, b"lvm2", "{version}");
            assert_eq!(first.pv_attr, b"a--", "{version}");
            assert_eq!(first.dev_size, 512 * MIB, "{version}");
            assert_eq!(first.pv_size, 508 * MIB, "{version}");
            assert_eq!(first.pv_used, 76 * MIB, "{version}");
            assert_eq!(first.pv_free, 432 * MIB, "{version}");
            assert_eq!((first.pe_start, first.pv_mda_count), (MIB, 1), "{version}");
            assert_eq!(first.pv_tags, b"", "{version}");
        }
        for (version, volumes) in full("pvs-full-missing", PV_FIELDS, pv) {
            let missing = volumes.iter().find(|pv| pv.pv_attr == b"a-m");
            let missing = missing.expect("the missing one");
            assert_eq!(missing.pv_name.as_str(), "[unknown]", "{version}");
            assert_eq!(
                (missing.dev_size, missing.pv_mda_count),
                (0, 0),
                "{version}"
            );
        }
    }

    #[test]
    fn groups_of_all_versions() {
        for (what, attributes, metadata) in [
            ("vgs-full", &b"wz--n-"[..], 3),
            ("vgs-full-missing", b"wz-pn-", 2),
        ] {
            for (version, groups) in full(what, VG_FIELDS, vg) {
                let [group] = &groups[..] else {
                    panic!("{version}: {}", groups.len());
                };
                assert_eq!(group.vg_name, b"vg1", "{version}");
                assert_eq!(group.vg_attr, attributes, "{version}");
                assert_eq!(group.vg_extent_size, 4 * MIB, "{version}");
                assert_eq!(group.vg_extent_count, 3 * 127, "{version}");
                assert_eq!(group.vg_size, 3 * 508 * MIB, "{version}");
                assert_eq!(group.vg_free_count, 3 * 127 - 29, "{version}");
                assert_eq!((group.pv_count, group.lv_count), (3, 4), "{version}");
                assert_eq!((group.snap_count, group.max_lv), (1, 0), "{version}");
                assert_eq!(group.vg_sysid, b"", "{version}");
                assert_eq!(group.vg_mda_count, metadata, "{version}");
                let mut tags: Vec<&[u8]> = group.vg_tags.split(|&byte| byte == b',').collect();
                tags.sort_unstable();
                assert_eq!(tags, [&b"tag/2=x"[..], b"tag1"], "{version}");
            }
        }
    }

    #[test]
    fn logical_volumes_of_all_versions() {
        for (version, mut volumes) in full("lvs-full", LV_FIELDS, lv) {
            volumes.sort_by(|a, b| a.lv_name.cmp(&b.lv_name));
            let [mirror, origin, off, snapshot] = &volumes[..] else {
                panic!("{version}: {}", volumes.len());
            };
            assert_eq!(mirror.lv_name, b"lv-2.x+", "{version}");
            assert_eq!(mirror.lv_size, 40 * MIB, "{version}");
            assert!((0.0..=100.0).contains(&mirror.copy_percent), "{version}");
            assert_eq!(mirror.modules, b"mirror", "{version}");
            assert_eq!(origin.lv_name, b"lv1", "{version}");
            assert_eq!(origin.lv_tags, b"lvtag", "{version}");
            assert!(origin.lv_kernel_major > 0, "{version}");
            assert_eq!(off.lv_name, b"off", "{version}");
            assert_eq!(off.lv_kernel_major, -1, "{version}");
            assert!(off.lv_attr.starts_with(b"-wi-"), "{version}");
            assert_eq!(snapshot.origin, b"lv1", "{version}");
            assert!((0.0..1.0).contains(&snapshot.snap_percent), "{version}");
            assert!(
                origin.snap_percent < 0.0 && origin.copy_percent < 0.0,
                "{version}"
            );
        }
        for (version, volumes) in full("lvs-full-missing", LV_FIELDS, lv) {
            let inactive = volumes.iter().all(|lv| lv.lv_kernel_minor == -1);
            assert!(volumes.len() == 4 && inactive, "{version}");
        }
    }
}
