"""Damaged filesystems, mounted and checked: an answer, or an error with a reason."""

import os

from damage import MIB, Machine, numbers

# How often each disk is damaged.
ROUNDS = 8

NAMES = "ext2 ext4 xfs btrfs ntfs vfat exfat f2fs swap iso9660 squashfs".split()
READ_ONLY = ["iso9660", "squashfs"]
PAIR = [("one-of-two", 130 * MIB), ("other-of-two", 130 * MIB)]

machine = Machine(NAMES, PAIR)
g, ask = machine.g, machine.ask
disks = machine.disks


def checkers(kind, device):
    """The programs that look for errors, and other calls about the kind."""
    if kind in ["ext2", "ext4"]:
        return [
            (g.fsck, [kind, device], {}),
            (g.e2fsck, [device], {"correct": True}),
            (g.e2fsck, [device], {"forceall": True}),
            (g.tune2fs_l, [device], {}),
            (g.vfs_minimum_size, [device], {}),
            (g.resize2fs_M, [device], {}),
        ]
    if kind == "xfs":
        return [
            (g.xfs_repair, [device], {"nomodify": True}),
            (g.xfs_info, [device], {}),
            (g.xfs_repair, [device], {}),
            (g.xfs_admin, [device], {"uuid": "generate"}),
        ]
    if kind in ["btrfs", "one-of-two"]:
        return [
            (g.btrfs_fsck, [device], {}),
            (g.btrfs_filesystem_show, [device], {}),
            (g.btrfs_rescue_super_recover, [device], {}),
            (g.btrfs_rescue_chunk_recover, [device], {}),
        ]
    if kind == "ntfs":
        return [
            (g.ntfsfix, [device], {}),
            (g.ntfsresize, [device], {"size": 6 * MIB}),
            (g.vfs_minimum_size, [device], {}),
        ]
    if kind in ["vfat", "exfat", "f2fs"]:
        return [(g.fsck, [kind, device], {}), (g.set_label, [device, "LABEL"], {})]
    if kind == "iso9660":
        return [(g.isoinfo_device, [device], {})]
    return []


def looked_at(device, writing):
    """Mounts the device and reads all of it; perhaps writes, too."""
    mount = g.mount if writing else g.mount_ro
    if not machine.done([device], mount, device, "/"):
        return
    inside = ["/", device]
    ask(inside, g.ls, "/")
    ask(inside, g.find, "/")
    ask(inside, g.read_file, "/directory/file")
    ask(inside, g.statvfs, "/")
    if writing:
        ask(inside, g.write, "/new", b"new" * 5000)
        ask(inside, g.rm_rf, "/directory")
    ask([device, "/"], g.umount, "/")


def examined(kind, device, turn):
    """Everything that a client asks about such a disk."""
    for call in [g.vfs_type, g.vfs_label, g.vfs_uuid]:
        ask([device], call, device)
    if kind == "swap":
        if machine.done([device], g.swapon_device, device):
            ask([device], g.swapoff_device, device)
        return
    looked_at(device, writing=turn % 3 == 2 and kind not in READ_ONLY)
    tried = checkers(kind, device)
    if tried:
        call, args, options = tried[turn % len(tried)]
        ask([device], call, *args, **options)


def touched(disk):
    """The disks that change when one of them is mounted."""
    pair = [disks[name] for name, _ in PAIR]
    return pair if disk in pair else [disk]


# Something to find.
g.mkfs_btrfs([disks[name].device for name, _ in PAIR], datatype="raid1", metadata="raid1")
for name, disk in disks.items():
    if name not in [*READ_ONLY, "swap", "other-of-two"]:
        g.mount(disk.device, "/")
        g.mkdir("/directory")
        g.write("/directory/file", b"contents " * 3000)
        for number in range(20):
            g.touch(f"/directory/{number}")
        g.umount("/")
g.sync()
for disk in disks.values():
    disk.keep()

machine.check()
kinds = [disk for disk in disks.values() if disk.name != "other-of-two"]
for turn in range(ROUNDS):
    for disk in kinds:
        place, data = disk.mutation(numbers(f"{disk.name} {turn}"))
        machine.damaged(disk, place, data)
        examined(disk.name, disk.device, turn)
        # Those of a few kinds are damaged at once when all are asked about.
        if (kinds.index(disk) + turn) % 4:
            machine.mended(*touched(disk))
    machine.everything()
    machine.check()
    machine.mended(*disks.values())

for disk in kinds:
    size = os.path.getsize(disk.path)
    for turn, length in enumerate([size // 2048 * 512, 68 << 10, max(disk.whole) // 1024 * 512 + 512]):
        if length >= size:
            continue
        device = machine.shortened(disk, length)
        examined(disk.name, device, turn)
        machine.whole()
        machine.mended(*touched(disk))
machine.end()
