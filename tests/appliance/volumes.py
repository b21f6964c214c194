"""RAID arrays and logical volumes on them, through the Python binding."""

import guestfs

from expect import fails, same

MIB = 1 << 20

g = guestfs.GuestFS(python_return_dict=True)
DISKS = [f"/dev/sd{letter}" for letter in "abcdefgh"]
for number, disk in enumerate(DISKS):
    # The last is for partitions.
    g.disk_create(f"disk{number}", "raw", (48 if number < 7 else 160) * MIB)
    g.add_drive(f"disk{number}", format="raw")
g.launch()
print("BOOTED", flush=True)
A, B, C, D, E, F, G, H = DISKS


def sysfs(md, name):
    return g.debug("sh", [f"cat /sys/block/{md.rsplit('/')[-1]}/md/{name}"]).strip()


def attribute(number):
    """What the kernel says of an array."""
    name = f"/dev/md{number}"
    return sysfs(name, "level"), int(sysfs(name, "raid_disks")), int(sysfs(name, "degraded") or 0)


# Levels.
same(g.list_md_devices(), [])
fails("", g.md_detail, A)
fails("", g.md_stat, A)
g.md_create("/dev/md10", [A, B], level="raid0")
same((sysfs("/dev/md10", "level"), sysfs("/dev/md10", "raid_disks")), ("raid0", "2"))
g.md_create("/dev/md11", [C, D], level="raid1")
g.md_create("/dev/md15", [E, F, G], level="raid5", chunk=64 * 1024)
same(attribute(11), ("raid1", 2, 0))
same(sorted(g.list_md_devices()), ["/dev/md10", "/dev/md11", "/dev/md15"])
same(sysfs("/dev/md15", "chunk_size"), "65536")
for md, level, members in (
    ("/dev/md10", "raid0", [A, B]),
    ("/dev/md11", "raid1", [C, D]),
    ("/dev/md15", "raid5", [E, F, G]),
):
    detail = g.md_detail(md)
    same((detail["level"], detail["devices"]), (level, str(len(members))))
    assert {"uuid", "metadata"} <= set(detail), detail
    stat = g.md_stat(md)
    same(sorted(one["mdstat_device"] for one in stat), members)
    assert not g.is_whole_device(md)
    for member in members:
        same(g.vfs_type(member), "linux_raid_member")
# By another of its names.
g.debug("sh", ["mkdir -p /dev/md; ln -s ../md15 /dev/md/named"])
same(sorted(one["mdstat_device"] for one in g.md_stat("/dev/md/named")), [E, F, G])
filesystems = g.list_filesystems()
for md in g.list_md_devices():
    same(filesystems.get(md), "unknown")
assert not set(DISKS[:7]) & set(filesystems), filesystems

# A filesystem on each, which outlives the array's being stopped.
g.mkfs("ext4", "/dev/md10")
g.mkfs("ext2", "/dev/md11", label="mirror")
g.mkfs("ext4", "/dev/md15")
g.mount("/dev/md11", "/")
g.write("/file", "twice")
fails("", g.md_stop, "/dev/md11")
g.umount_all()
same(g.findfs_label("mirror"), "/dev/md11")
for md in "/dev/md10", "/dev/md11":
    g.md_stop(md)
same(g.list_md_devices(), ["/dev/md15"])
assert "/dev/md11" not in g.list_filesystems()

# Degraded from the start: one half of a mirror, two thirds of a RAID 5.
for disk in A, B, C, D:
    g.wipefs(disk)
g.md_create("/dev/md21", [A], level="raid1", missingbitmap=0x2)
same(attribute(21), ("raid1", 2, 1))
same([(one["mdstat_device"], one["mdstat_index"]) for one in g.md_stat("/dev/md21")], [(A, 0)])
g.md_create("/dev/md25", [B, C], level="raid5", missingbitmap=0x1, chunk=64 * 1024)
same(attribute(25), ("raid5", 3, 1))
same(sorted((one["mdstat_device"], one["mdstat_index"]) for one in g.md_stat("/dev/md25")), [(B, 1), (C, 2)])
for md in "/dev/md21", "/dev/md25":
    g.mkfs("ext2", md)
    g.mount(md, "/")
    g.write("/file", md)
    same(g.cat("/file"), md)
    g.umount_all()
    same(g.list_filesystems()[md], "ext2")

# A member that fails in use is told by its flag.
g.debug("sh", ["mdadm --wait /dev/md15; true"])
# By its place, since the kernel may have another name for the disk.
g.debug("sh", ["echo faulty >/sys/block/md15/md/rd1/state"])
flags = {one["mdstat_device"]: one["mdstat_flags"] for one in g.md_stat("/dev/md15")}
same(flags[F], "F")
same(attribute(15), ("raid5", 3, 1))
g.mount("/dev/md15", "/")
g.write("/file", "degraded")
g.umount_all()
same(g.fsck("ext4", "/dev/md15"), 0)
for md in "/dev/md21", "/dev/md25":
    g.md_stop(md)

# Physical volumes: a partition, a logical one, and two arrays.
for disk in A, B, C, D:
    g.wipefs(disk)
g.wipefs("/dev/md15")
g.md_create("/dev/md31", [A, B], level="raid1")
g.part_init(H, "mbr")
g.part_add(H, "p", 2048, 100_000)
g.part_add(H, "e", 102_400, -2048)
g.part_add(H, "l", 104_448, 204_800)
same(g.list_partitions(), [f"{H}1", f"{H}2", f"{H}5"])
volumes = ["/dev/md15", "/dev/md31", f"{H}1", f"{H}5"]
for volume in volumes:
    g.pvcreate(volume)
same(sorted(g.pvs()), volumes)
g.vgcreate("arrays", ["/dev/md15", "/dev/md31"])
g.vgcreate("parts", [f"{H}1", f"{H}5"])
same(g.vgs(), ["arrays", "parts"])
same(sorted(pv["pv_name"] for pv in g.pvs_full()), volumes)
same({vg["vg_name"]: vg["pv_count"] for vg in g.vgs_full()}, {"arrays": 2, "parts": 2})
same(sorted(g.vgpvuuids("arrays")), sorted(g.pvuuid(pv) for pv in volumes[:2]))
g.lvcreate("root-disk", "arrays", 24)
g.lvcreate_free("rest", "arrays", 50)
g.lvcreate("data", "parts", 60)
lvs = ["/dev/arrays/rest", "/dev/arrays/root-disk", "/dev/parts/data"]
same(g.lvs(), lvs)
same(sorted(lv["lv_name"] for lv in g.lvs_full()), ["data", "rest", "root-disk"])
same(g.vglvuuids("parts"), [g.lvuuid("/dev/parts/data")])
for lv in lvs:
    assert g.is_lv(lv)
    same(g.lvm_canonical_lv_name("/dev/mapper/" + lv[5:].replace("-", "--").replace("/", "-")), lv)
assert not g.is_lv(A)
fails("", g.lvm_canonical_lv_name, A)
g.mkfs("ext4", "/dev/arrays/root-disk")
g.mkfs("ext2", "/dev/parts/data")
filesystems = g.list_filesystems()
same(
    {name: kind for name, kind in filesystems.items() if name != C and name != D},
    {"/dev/arrays/rest": "unknown", "/dev/arrays/root-disk": "ext4", "/dev/parts/data": "ext2"},
)
same(g.list_dm_devices(), [])

# A snapshot has its origin's UUID; both are listed.
g.debug("sh", ["lvm lvcreate --yes -s -L 4M -n snap arrays/root-disk"])
g.mount("/dev/arrays/root-disk", "/")
g.write("/later", "not in the snapshot")
g.umount_all()
same(g.vfs_uuid("/dev/arrays/snap"), g.vfs_uuid("/dev/arrays/root-disk"))
assert g.findfs_uuid(g.vfs_uuid("/dev/arrays/snap")) in ("/dev/arrays/snap", "/dev/arrays/root-disk")
g.mount_ro("/dev/arrays/snap", "/")
assert not g.exists("/later")
same(g.mountpoints(), {"/dev/arrays/snap": "/"})
g.umount_all()
filesystems = g.list_filesystems()
same((filesystems["/dev/arrays/snap"], filesystems["/dev/arrays/root-disk"]), ("ext4", "ext4"))
same(g.list_dm_devices(), [])
g.lvremove("/dev/arrays/snap")

# Sizes, with what is on them.
g.lvresize("/dev/arrays/root-disk", 32)
same(g.blockdev_getsize64("/dev/arrays/root-disk"), 32 * MIB)
g.e2fsck("/dev/arrays/root-disk", correct=True)
g.resize2fs("/dev/arrays/root-disk")
g.mount("/dev/arrays/root-disk", "/")
same(g.cat("/later"), "not in the snapshot")
assert g.statvfs("/")["blocks"] * g.statvfs("/")["bsize"] > 24 * MIB
fails("in use", g.lvremove, "/dev/arrays/root-disk")
g.umount_all()
g.lvresize_free("/dev/arrays/rest", 100)
fails("", g.lvresize, "/dev/arrays/rest", 10_000)
for percent in -1, 101:
    fails("", g.lvresize_free, "/dev/arrays/rest", percent)
fails("", g.vgcreate, "third", [f"{H}1"])

# Names.
g.lvrename("/dev/parts/data", "/dev/parts/new-name")
g.vgrename("parts", "pieces")
same(g.lvs(), ["/dev/arrays/rest", "/dev/arrays/root-disk", "/dev/pieces/new-name"])
fails("", g.blockdev_getsize64, "/dev/parts/data")
uuids = [g.pvuuid(f"{H}1"), g.vguuid("pieces")]
g.vg_activate(False, ["pieces"])
same(g.lvs(), ["/dev/arrays/rest", "/dev/arrays/root-disk", "/dev/pieces/new-name"])
g.pvchange_uuid(f"{H}1")
g.vgchange_uuid("pieces")
assert not set(uuids) & {g.pvuuid(f"{H}1"), g.vguuid("pieces")}
g.vg_activate_all(False)
g.pvchange_uuid_all()
g.vgchange_uuid_all()
g.vg_activate_all(True)
same(g.vfs_type("/dev/pieces/new-name"), "ext2")
assert b"pieces" in g.vgmeta("pieces")

# A filter hides what it does not name, until it is cleared.
g.vg_activate_all(False)
g.lvm_set_filter([H])
same(sorted(g.pvs()), [f"{H}1", f"{H}5"])
same(g.vgs(), ["pieces"])
g.lvm_set_filter(["/dev/md15", "/dev/md31"])
same(g.vgs(), ["arrays"])
g.lvm_clear_filter()
same(g.vgs(), ["arrays", "pieces"])
g.vg_activate_all(True)

# A volume group that lacks a member is told of, and the other works on.
g.vg_activate(False, ["pieces"])
g.wipefs(f"{H}5")
g.lvm_scan(True)
same(g.vfs_type("/dev/arrays/root-disk"), "ext4")
filesystems = g.list_filesystems()
same(filesystems.get("/dev/arrays/root-disk"), "ext4")
g.debug("sh", ["lvm vgreduce --removemissing --force pieces; lvm vgremove -f pieces; true"])
same(g.vgs(), ["arrays"])
g.pvremove(f"{H}1")

g.lvm_remove_all()
same((g.pvs(), g.vgs(), g.lvs()), ([], [], []))
for md in g.list_md_devices():
    g.md_stop(md)
same(g.list_md_devices(), [])
g.shutdown()
g.close()
print("DONE")
