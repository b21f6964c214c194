//! Block devices, partition tables and what is on them.

use std::time::Instant;

use anyhow::ensure;
use protocol::api::UmountOptions;
use protocol::client::Client;

use super::inputs::SECOND_DISK;
use super::{Called, Measure, milliseconds};
use crate::instance::Channel;

const AREA: &str = "blocks";
const PARTITION: &str = "/dev/sdb1";

pub(super) fn measures() -> Vec<Measure> {
    let mut measures = vec![
        read("blockdev_getss", |client| {
            client.blockdev_getss(PARTITION).map(drop)
        }),
        read("blockdev_getbsz", |client| {
            client.blockdev_getbsz(PARTITION).map(drop)
        }),
        read("blockdev_getsz", |client| {
            client.blockdev_getsz(PARTITION).map(drop)
        }),
        read("blockdev_getsize64", |client| {
            client.blockdev_getsize64(PARTITION).map(drop)
        }),
        read("blockdev_getro", |client| {
            client.blockdev_getro(PARTITION).map(drop)
        }),
        read("blockdev_setro and _setrw", |client| {
            client.blockdev_setro(PARTITION)?;
            client.blockdev_setrw(PARTITION)
        }),
        read("blockdev_setra", |client| {
            client.blockdev_setra(PARTITION, 256)
        }),
        read("blockdev_flushbufs", |client| {
            client.blockdev_flushbufs(PARTITION)
        }),
        read("part_list", |client| {
            client.part_list(SECOND_DISK).map(drop)
        }),
        read("part_get_parttype", |client| {
            client.part_get_parttype(SECOND_DISK).map(drop)
        }),
        read("part_get_gpt_type", |client| {
            client.part_get_gpt_type(SECOND_DISK, 1).map(drop)
        }),
        read("part_get_name", |client| {
            client.part_get_name(SECOND_DISK, 1).map(drop)
        }),
    ];
    measures.extend([
        read("vfs_type", |client| client.vfs_type(PARTITION).map(drop)).target(0.3),
        read("vfs_uuid", |client| client.vfs_uuid(PARTITION).map(drop)).target(0.3),
        list_filesystems(),
        read("mount and umount", |client| {
            client.mount(PARTITION, "/mounted")?;
            client.umount(PARTITION, &UmountOptions::default())
        })
        .target(0.8),
    ]);
    measures
}

fn read(name: &'static str, call: fn(&mut Client<Channel>) -> Called) -> Measure {
    Measure::call(AREA, name, 10, call).target(0.1)
}

/// One disk with a filesystem, another with two and a physical volume.
fn list_filesystems() -> Measure {
    let name = "list_filesystems of 4 partitions, one a physical volume";
    Measure::new(AREA, name, "ms", |instance, _| {
        let start = Instant::now();
        let found = instance.client.list_filesystems()?;
        ensure!(found.len() == 3, "found {found:?}");
        Ok(milliseconds(start))
    })
    .target(0.3)
}
