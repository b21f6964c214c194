"""Every filesystem: made, probed, labelled, mounted, checked and resized."""

import guestfs

from cd import iso
from expect import fails, same

MIB = 1 << 20

g = guestfs.GuestFS(python_return_dict=True)
g.disk_create("disk.img", "raw", 2560 * MIB)
g.add_drive("disk.img", format="raw")
g.disk_create("small.img", "raw", 64 * MIB)
g.add_drive("small.img", format="raw")
with open("cd.iso", "wb") as image:
    image.write(iso("A_CD"))
g.add_drive("cd.iso", format="raw", readonly=True)
g.launch()
print("BOOTED", flush=True)

# One partition for each, larger than its filesystem where that is resized.
KINDS = {
    "ext2": 40,
    "ext3": 40,
    "ext4": 64,
    "xfs": 400,
    "btrfs": 300,
    "ntfs": 64,
    "vfat": 64,
    "exfat": 40,
    "f2fs": 128,
    "swap": 16,
    "squashfs": 16,
}
# What is no filesystem to the kernel: ntfs-3g mounts NTFS.
OTHERS = {"swap", "ntfs"}
g.part_init("/dev/sda", "gpt")
sector = 2048
devices = {}
for number, (kind, size) in enumerate(KINDS.items(), 1):
    g.part_add("/dev/sda", "p", sector, sector + size * 2048 - 1)
    sector += size * 2048
    devices[kind] = f"/dev/sda{number}"
same(g.list_partitions(), list(devices.values()))
same(set(g.list_filesystems().values()), {"unknown", "iso9660"})

same([kind for kind in KINDS if kind not in OTHERS and not g.filesystem_available(kind)], [])
MADE = ["ext2", "ext3", "ext4", "xfs", "btrfs", "ntfs", "vfat", "exfat", "f2fs"]
LABELLED = {"ext2", "ext3", "ext4", "xfs", "btrfs", "ntfs", "vfat"}
for kind in MADE:
    device = devices[kind]
    g.mkfs(kind, device)
    same(g.vfs_type(device), kind)
    uuid = g.vfs_uuid(device)
    assert uuid, kind
    same(g.vfs_label(device), "")
    same(g.findfs_uuid(uuid), device)
    if kind in LABELLED:
        label = {"vfat": "A VFAT", "xfs": "an-xfs"}.get(kind, f"a {kind}")
        g.set_label(device, label)
        same(g.vfs_label(device), label)
        same(g.findfs_label(label), device)
    else:
        fails("", g.set_label, device, "label")
    same(g.blkid(device)["TYPE"], kind)

g.mkswap(devices["swap"], label="a swap")
same((g.vfs_type(devices["swap"]), g.vfs_label(devices["swap"])), ("swap", "a swap"))
g.swapon_device(devices["swap"])
assert "partition" in g.debug("sh", ["cat /proc/swaps"])
g.swapoff_device(devices["swap"])

# Files come back after the filesystem was away.
for kind in MADE:
    device = devices[kind]
    g.mount(device, "/")
    g.mkdir("/dir")
    g.write("/dir/file", kind * 1000)
    same(g.mountpoints(), {device: "/"})
    assert g.statvfs("/")["bfree"] > 0
    g.umount_all()
    g.mount_ro(device, "/")
    same(g.cat("/dir/file"), kind * 1000)
    fails("", g.touch, "/dir/other")
    g.umount_all()
    same(g.list_filesystems()[device], kind)

# squashfs, of a tree that is here.
g.mount(devices["ext4"], "/")
g.mksquashfs("/dir", "tree.sqsh")
g.umount_all()
g.upload("tree.sqsh", devices["squashfs"])
same(g.vfs_type(devices["squashfs"]), "squashfs")
g.mount(devices["squashfs"], "/")
same(g.cat("/file"), "ext4" * 1000)
g.umount_all()

# A CD.
same((g.vfs_type("/dev/sdc"), g.vfs_label("/dev/sdc")), ("iso9660", "A_CD"))
same(g.isoinfo_device("/dev/sdc")["iso_volume_id"], "A_CD")
g.mount("/dev/sdc", "/")
same(g.ls("/"), [])
g.umount_all()

filesystems = g.list_filesystems()
wanted = {devices[kind]: kind for kind in [*MADE, "swap", "squashfs"]}
wanted["/dev/sdc"] = "iso9660"
wanted["/dev/sdb"] = "unknown"
same(filesystems, wanted)

# Checked.
for kind in "ext2", "ext3", "ext4":
    same(g.fsck(kind, devices[kind]), 0)
    g.e2fsck(devices[kind], forceall=True)
    g.tune2fs(devices[kind], maxmountcount=20)
    same(g.tune2fs_l(devices[kind])["Maximum mount count"], "20")
g.btrfs_fsck(devices["btrfs"])
same(g.xfs_repair(devices["xfs"], nomodify=True), 0)
g.ntfsfix(devices["ntfs"])
g.fsck("vfat", devices["vfat"])

# UUIDs.
for kind, uuid in {
    "ext4": "12345678-1234-4234-8234-123456789abc",
    "xfs": "12345678-1234-4234-8234-123456789abd",
    "btrfs": "12345678-1234-4234-8234-123456789abe",
    "swap": "12345678-1234-4234-8234-123456789abf",
}.items():
    g.set_uuid(devices[kind], uuid)
    same(g.vfs_uuid(devices[kind]), uuid)
    same(g.findfs_uuid(uuid), devices[kind])

# xfs_admin would have a shell look at it.
fails("", g.set_label, devices["xfs"], "';id;'")
fails("", g.set_uuid, devices["xfs"], "';id;'")

# Sizes: smaller where that can be, and larger.
ext4 = devices["ext4"]
minimum = g.vfs_minimum_size(ext4)
assert 0 < minimum < 64 * MIB, minimum
g.resize2fs_size(ext4, 32 * MIB)
g.mount(ext4, "/")
assert g.statvfs("/")["blocks"] * g.statvfs("/")["frsize"] < 33 * MIB
g.umount_all()
g.e2fsck(ext4, forceall=True)
g.resize2fs(ext4)
g.e2fsck(ext4, forceall=True)
g.resize2fs_M(ext4)
same(g.fsck("ext4", ext4), 0)

ntfs = devices["ntfs"]
assert 0 < g.vfs_minimum_size(ntfs) < 64 * MIB
fails("scheduled for check", g.ntfsresize, ntfs, size=48 * MIB)
g.ntfsresize(ntfs, size=48 * MIB, force=True)
g.ntfsfix(ntfs)
g.ntfsresize(ntfs, force=True)
g.ntfsfix(ntfs)

btrfs = devices["btrfs"]
g.mount(btrfs, "/")
g.btrfs_filesystem_resize("/", size=280 * MIB)
assert g.statvfs("/")["blocks"] * g.statvfs("/")["bsize"] <= 280 * MIB
g.btrfs_filesystem_resize("/")
assert 0 < g.vfs_minimum_size(btrfs) < 300 * MIB
g.umount_all()

# Filesystems that were made smaller than their devices grow into them.
g.mke2fs("/dev/sdb", blockscount=16 * 1024, blocksize=1024, fstype="ext2")
g.resize2fs("/dev/sdb")
g.mount("/dev/sdb", "/")
assert g.statvfs("/")["blocks"] * g.statvfs("/")["bsize"] > 48 * MIB
g.umount_all()
for kind, uuid in ("ext4", "vfat"), ("vfat", "ntfs"), ("ntfs", "ext2"):
    g.wipefs("/dev/sdb")
    same(g.vfs_type("/dev/sdb"), "")
    g.mkfs(kind, "/dev/sdb")
    same(g.vfs_type("/dev/sdb"), kind)

# xfs grows with its logical volume, and f2fs with a partition.
g.wipefs("/dev/sdb")
g.wipefs(devices["xfs"])
g.pvcreate(devices["xfs"])
g.vgcreate("vg", [devices["xfs"]])
g.lvcreate("grow", "vg", 320)
g.mkfs("xfs", "/dev/vg/grow")
g.lvresize("/dev/vg/grow", 360)
g.mount("/dev/vg/grow", "/")
before = g.xfs_info("/")["xfs_datablocks"]
g.xfs_growfs("/", datasec=True)
assert g.xfs_info("/")["xfs_datablocks"] > before
g.umount_all()
g.xfs_repair("/dev/vg/grow")
g.lvremove("/dev/vg/grow")
g.lvcreate("grow", "vg", 128)
g.mkfs("f2fs", "/dev/vg/grow")
g.lvresize("/dev/vg/grow", 192)
g.f2fs_expand("/dev/vg/grow")
g.mount("/dev/vg/grow", "/")
assert g.statvfs("/")["blocks"] * g.statvfs("/")["bsize"] > 140 * MIB
g.fstrim("/")
g.umount_all()
g.vg_activate_all(False)

g.shutdown()
g.close()
print("DONE")
