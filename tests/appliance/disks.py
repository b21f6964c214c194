"""Thirty disks, their tables, sector sizes and filesystems that are alike."""

import guestfs

from expect import fails, same

MIB = 1 << 20
COUNT = 30
# The disk with large sectors.
LARGE = 4


def disk(index):
    letters = "abcdefghijklmnopqrstuvwxyz"
    first = letters[index // 26 - 1] if index >= 26 else ""
    return f"/dev/sd{first}{letters[index % 26]}"


g = guestfs.GuestFS(python_return_dict=True)
for index in range(COUNT):
    # Each of another size, so that none can be taken for another.
    size = 256 if index in (5, 6, 7, 8) else 32 + index
    g.disk_create(f"disk{index}", "raw", size * MIB)
    options = {"blocksize": 4096} if index == LARGE else {}
    if index == 28:
        options["label"] = "lastbutone"
    g.add_drive(f"disk{index}", format="raw", **options)
g.launch()
print("BOOTED", flush=True)

# Names, in order, beyond the alphabet.
DISKS = [disk(index) for index in range(COUNT)]
same(DISKS[26:], ["/dev/sdaa", "/dev/sdab", "/dev/sdac", "/dev/sdad"])
same(g.list_devices(), DISKS)
same(g.nr_devices(), COUNT)
same(g.list_disk_labels(), {"lastbutone": "/dev/sdac"})
same(list(g.list_filesystems()), DISKS)
for index, name in enumerate(DISKS):
    size = 256 if index in (5, 6, 7, 8) else 32 + index
    same(g.blockdev_getsize64(name), size * MIB)
    same(g.device_index(name), index)
    same(g.blockdev_getss(name), 4096 if index == LARGE else 512)
    same(g.canonical_device_name(name.replace("/sd", "/vd")), name)
fails("No such file", g.blockdev_getsize64, "/dev/sdzz")
# A write goes to the disk that it names.
g.pwrite_device("/dev/sdad", b"the thirtieth", 0)
same(g.pread_device("/dev/vdad", 13, 0), b"the thirtieth")
same([name for name in DISKS if any(g.pread_device(name, 13, 0))], ["/dev/sdad"])
g.zero("/dev/sdad")

# Tables: an MBR with logical partitions on a disk with two letters.
LAST = "/dev/sdad"
g.part_init(LAST, "mbr")
g.part_add(LAST, "p", 2048, 22527)
g.part_add(LAST, "e", 22528, -2048)
g.part_add(LAST, "l", 24576, 45055)
g.part_add(LAST, "l", 47104, 67583)
same(g.list_partitions(), [f"{LAST}{number}" for number in (1, 2, 5, 6)])
same([part["part_num"] for part in g.part_list(LAST)], [1, 2, 5, 6])
same([part["part_start"] for part in g.part_list(LAST)], [1 * MIB, 11 * MIB, 12 * MIB, 23 * MIB])
same(g.part_get_mbr_part_type(LAST, 2), "extended")
same(g.part_get_mbr_part_type(LAST, 5), "logical")
same(g.part_to_dev(f"{LAST}6"), LAST)
same(g.part_to_partnum(f"{LAST}6"), 6)
for other in "vdad", "hdad":
    # By the names that other kinds of disks have.
    same(g.blockdev_getsize64(f"/dev/{other}6"), 10 * MIB)
    same(g.part_to_dev(f"/dev/{other}6"), LAST)
    same(g.canonical_device_name(f"/dev/{other}6"), f"{LAST}6")
    same(g.device_index(f"/dev/{other}"), COUNT - 1)
for number in 1, 5, 6:
    g.mkfs("ext2", f"{LAST}{number}", label=f"number {number}")
same(g.findfs_label("number 6"), f"{LAST}6")
filesystems = g.list_filesystems()
same({name: kind for name, kind in filesystems.items() if LAST in name}, {f"{LAST}{n}": "ext2" for n in (1, 5, 6)})
g.part_del(LAST, 5)
same(g.list_partitions(), [f"{LAST}{number}" for number in (1, 2, 5)])
same(g.vfs_label(f"{LAST}5"), "number 6")

# Sectors of 4096 bytes: the same calls, and what counts sectors counts those.
large = DISKS[LARGE]
for table in "gpt", "mbr":
    g.part_init(large, table)
    same(g.part_get_parttype(large), "msdos" if table == "mbr" else table)
    g.part_add(large, "p", 256, 2559)
    g.part_add(large, "p", 2560, 7679)
    same(g.list_partitions()[:2], [f"{large}1", f"{large}2"])
    starts = [(part["part_start"], part["part_size"]) for part in g.part_list(large)]
    same(starts, [(256 * 4096, 2304 * 4096), (2560 * 4096, 5120 * 4096)])
    same(g.blockdev_getsize64(f"{large}2"), 5120 * 4096)
    same(g.blockdev_getss(f"{large}1"), 4096)
    same(g.blockdev_getsz(f"{large}1"), 2304 * 8)
    if table == "gpt":
        g.part_set_name(large, 1, "first")
        same(g.part_get_name(large, 1), "first")
        guid = "01234567-89AB-CDEF-0123-456789ABCDEF"
        g.part_set_gpt_guid(large, 2, guid)
        same(g.part_get_gpt_guid(large, 2), guid)
        same(g.part_get_gpt_type(large, 1), "0FC63DAF-8483-4772-8E79-3D69D8477DE4")
        g.part_set_gpt_type(large, 2, "E6D6D379-F507-44C2-A23C-238F2A3DF928")
        g.part_expand_gpt(large)
    else:
        g.part_set_mbr_id(large, 1, 0x7)
        same(g.part_get_mbr_id(large, 1), 7)
        g.part_set_bootable(large, 1, True)
        assert g.part_get_bootable(large, 1)
    g.mkfs("ext4", f"{large}1", label="large")
    g.mkfs("vfat", f"{large}2")
    for name, kind in (f"{large}1", "ext4"), (f"{large}2", "vfat"):
        g.mount(name, "/")
        g.write("/file", kind)
        g.umount_all()
        g.mount_ro(name, "/")
        same(g.cat("/file"), kind)
        g.umount_all()
        same(g.list_filesystems()[name], kind)
    g.part_resize(large, 2, 7935)
    same(g.blockdev_getsize64(f"{large}2"), 5376 * 4096)
    g.part_del(large, 1)
    same([part["part_num"] for part in g.part_list(large)], [2])
g.wipefs(large)

# Logical volumes over disks with one and two letters.
members = ["/dev/sdz", "/dev/sdaa", "/dev/sdab"]
for member in members:
    g.pvcreate(member)
same(sorted(g.pvs()), sorted(members))
g.vgcreate("wide", members)
g.lvcreate_free("all", "wide", 100)
assert g.blockdev_getsize64("/dev/wide/all") > 160 * MIB
g.mkfs("ext4", "/dev/wide/all")
filesystems = g.list_filesystems()
same(filesystems["/dev/wide/all"], "ext4")
assert not set(members) & set(filesystems), filesystems

# Btrfs on two devices is one filesystem, with its subvolumes.
one, two, third = DISKS[5:8]
g.mkfs_btrfs([one, two])
g.mount(one, "/")
g.btrfs_subvolume_create("/root")
g.btrfs_subvolume_create("/home with space")
g.write("/root/file", "in the subvolume")
g.btrfs_subvolume_snapshot("/root", "/root/snap", ro=True)
g.write("/root/file", "changed")
subvolumes = {one["btrfssubvolume_path"]: one["btrfssubvolume_id"] for one in g.btrfs_subvolume_list("/")}
same(sorted(subvolumes), ["home with space", "root", "root/snap"])
g.umount_all()
filesystems = g.list_filesystems()
found = [name for name, kind in filesystems.items() if kind == "btrfs"]
volumes = [f"btrfsvol:{one}/{path}" for path in sorted(subvolumes)]
same(sorted(name for name in found if name.startswith("btrfsvol:" + one)), volumes)
assert one in found, found
same(g.vfs_uuid(one), g.vfs_uuid(two))
g.mount(f"btrfsvol:{one}/root/snap", "/")
same(g.cat("/file"), "in the subvolume")
fails("", g.write, "/file", "no")
same(g.mountpoints(), {one: "/"})
g.umount_all()
g.mount(two, "/")
same(g.cat("/root/file"), "changed")
g.btrfs_device_add([third], "/")
g.btrfs_device_delete([two], "/")
g.umount_all()
same(g.vfs_type(two), "")
g.mount(third, "/")
g.btrfs_subvolume_set_default(subvolumes["root"], "/")
g.umount_all()
g.mount(one, "/")
same(g.cat("/file"), "changed")
g.umount_all()
assert f"btrfsvol:{one}/root" not in g.list_filesystems()

# Two filesystems with one UUID: both are there, and each is reached by its device.
source, copy = DISKS[10:12]
g.mkfs("ext4", source)
g.mount(source, "/")
g.write("/which", "source")
g.umount_all()
g.copy_device_to_device(source, copy)
same(g.vfs_uuid(copy), g.vfs_uuid(source))
g.mount(copy, "/")
g.write("/which", "copy")
g.umount_all()
for name, text in (source, "source"), (copy, "copy"):
    g.mount_ro(name, "/")
    same(g.cat("/which"), text)
    same(g.mountpoints(), {name: "/"})
    g.umount_all()
assert g.findfs_uuid(g.vfs_uuid(source)) in (source, copy)
filesystems = g.list_filesystems()
same((filesystems[source], filesystems[copy]), ("ext4", "ext4"))

# Two tables with one identity, too.
g.part_disk(DISKS[12], "gpt")
g.part_set_name(DISKS[12], 1, "twice")
g.copy_device_to_device(DISKS[12], DISKS[13], size=MIB)
g.blockdev_rereadpt(DISKS[13])
same(g.part_get_gpt_guid(DISKS[12], 1), g.part_get_gpt_guid(DISKS[13], 1))
same(g.part_get_name(DISKS[13], 1), "twice")
assert {f"{DISKS[12]}1", f"{DISKS[13]}1"} <= set(g.list_partitions())
assert {f"{DISKS[12]}1", f"{DISKS[13]}1"} <= set(g.list_filesystems())

g.shutdown()
g.close()
print("DONE")
