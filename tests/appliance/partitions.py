"""Block devices, their tables and what wipes them, with sectors of both sizes."""

import re
import uuid
import warnings

import guestfs

from expect import fails, same

# Calls that others have replaced are to work all the same.
warnings.simplefilter("ignore", DeprecationWarning)

MIB = 1 << 20

g = guestfs.GuestFS(python_return_dict=True)
for name, size, sector in [
    ("a", 64, 512),
    ("b", 64, 4096),
    ("wiped", 16, 512),
    ("wiped4k", 16, 4096),
    ("small", 1, 512),
]:
    g.disk_create(name, "raw", size * MIB)
    g.add_drive(name, format="raw", discard="enable", blocksize=sector)
g.launch()
print("BOOTED", flush=True)
SMALL = "/dev/sde"
SECTORS = {512: ("/dev/sda", "/dev/sdc"), 4096: ("/dev/sdb", "/dev/sdd")}


def sh(command):
    return g.debug("sh", [command]).strip()


def content(device):
    g.download(device, "content")
    with open("content", "rb") as file:
        return file.read()


def starts(disk):
    return [part["part_start"] for part in g.part_list(disk)]


for sector, (disk, wiped) in SECTORS.items():
    # What the kernel knows of a device.
    same(g.blockdev_getss(disk), sector)
    block = g.blockdev_getbsz(disk)
    assert block in (512, 1024, 2048, 4096) and block >= sector, block
    # The kernel keeps a block size for as long as a device is open.
    g.blockdev_setbsz(disk, 4096)
    same(g.blockdev_getbsz(disk), block)
    same(g.blockdev_getsz(disk), 64 * MIB // 512)
    # Of one disk, in sectors of 512 bytes, whichever the kernel's name for it is.
    ahead = 2 * sector + 8
    g.blockdev_setra(disk, ahead)
    same(sh(f"grep -lx {ahead // 2} /sys/block/sd*/queue/read_ahead_kb | wc -l"), "1")
    fails("", g.blockdev_setra, disk, -1)
    g.blockdev_flushbufs(disk)
    g.blockdev_setro(disk)
    same(g.blockdev_getro(disk), 1)
    fails("not permitted", g.pwrite_device, disk, b"x", 0)
    fails("", g.blkdiscard, disk)
    g.blockdev_setrw(disk)
    same(g.blockdev_getro(disk), 0)

    # What another has written is seen once the buffers are dropped.
    with open("a" if sector == 512 else "b", "r+b") as image:
        same(g.pread_device(disk, 3, 8192), bytes(3))
        image.seek(8192)
        image.write(b"new")
    g.blockdev_flushbufs(disk)
    same(g.pread_device(disk, 3, 8192), b"new")

    # Discarded.
    g.pwrite_device(disk, b"x" * MIB, 32 * MIB)
    same(g.is_zero_device(disk), 0)
    g.blkdiscard(disk)
    same(g.pread_device(disk, MIB, 32 * MIB), bytes(MIB))
    assert g.blkdiscardzeroes(disk) in (0, 1)

    # GPT, its identities and its attributes.
    g.part_init(disk, "gpt")
    align = MIB // sector
    g.part_add(disk, "p", align, 5 * align - 1)
    g.part_add(disk, "p", 5 * align, 9 * align - 1)
    guid = "BBBBBBBB-6449-4E6F-944E-65656445464A"
    g.part_set_disk_guid(disk, guid.lower())
    same(g.part_get_disk_guid(disk), guid)
    same(g.blkid(disk)["PTUUID"], guid.lower())
    g.part_set_disk_guid_random(disk)
    random = g.part_get_disk_guid(disk)
    assert uuid.UUID(random).version == 4 and random != guid, random
    fails("", g.part_set_disk_guid, disk, "nonsense")
    same(g.part_get_disk_guid(disk), random)
    same([g.part_get_gpt_attributes(disk, number) for number in (1, 2)], [0, 0])
    for attributes in 1, 4, 7, 0:
        g.part_set_gpt_attributes(disk, 2, attributes)
        same([g.part_get_gpt_attributes(disk, number) for number in (1, 2)], [0, attributes])
    fails("", g.part_get_gpt_attributes, disk, 3)
    fails("", g.part_set_gpt_attributes, disk, 3, 1)
    fails("", g.part_get_gpt_attributes, disk, 0)
    same(starts(disk), [MIB, 5 * MIB])

    # sfdisk, whose units are sectors, and which keeps to the kind of table that is there.
    g.wipefs(disk)
    four, eight = 4 * MIB // sector, 8 * MIB // sector
    g.sfdisk(disk, 0, 0, 0, [f",{four}", f",{eight},82", ";"])
    same(g.part_get_parttype(disk), "msdos")
    same(g.list_partitions(), [f"{disk}{number}" for number in (1, 2, 3)])
    same([part["part_size"] for part in g.part_list(disk)][:2], [4 * MIB, 8 * MIB])
    same([g.part_get_mbr_id(disk, number) for number in (1, 2)], [0x83, 0x82])
    fails("", g.sfdisk, disk, 0, 0, 0, [",foo"])
    g.sfdisk_N(disk, 3, 0, 0, 0, f",{four},7")
    same(g.part_list(disk)[2]["part_size"], 4 * MIB)
    same(g.part_get_mbr_id(disk, 3), 7)
    fails("", g.sfdisk_N, disk, 9, 0, 0, 0, ",100")
    listing = g.sfdisk_l(disk)
    assert f"Disk {disk}: 64 MiB" in listing, listing
    assert f"{disk}3" in listing and f"Units: sectors of 1 * {sector}" in listing, listing
    for geometry in g.sfdisk_kernel_geometry(disk), g.sfdisk_disk_geometry(disk):
        assert re.fullmatch(rf"{disk}: \d+ cylinders, \d+ heads, \d+ sectors/track\n", geometry), geometry
    fails("No such file", g.sfdisk_l, "/dev/sdz")
    g.sfdiskM(disk, [",10", ",20", ";"])
    same([part["part_size"] for part in g.part_list(disk)][:2], [10 * MIB, 20 * MIB])

    # Swap areas on partitions.
    area = f"{disk}2"
    g.mkswap_L("an area", area)
    same((g.vfs_type(area), g.vfs_label(area)), ("swap", "an area"))
    g.swapon_label("an area")
    same(sh("wc -l </proc/swaps"), "2")
    g.swapoff_label("an area")
    wanted = "aaaaaaaa-6449-6e6f-744e-65656445464f"
    g.mkswap_U(wanted, area)
    same((g.vfs_type(area), g.vfs_uuid(area), g.vfs_label(area)), ("swap", wanted, ""))
    g.swapon_uuid(wanted)
    fails("", g.mkswap_U, wanted, area)
    g.swapoff_uuid(wanted)
    same(sh("wc -l </proc/swaps"), "1")
    fails("", g.mkswap_U, "nonsense", area)
    fails("", g.mkswap_L, "seventeen letters", area)
    g.wipefs(disk)
    same(g.list_partitions(), [])

    # What was removed is still on the device, until it is wiped.
    def secrets():
        g.blockdev_flushbufs(wiped)
        return content(wiped).count(b"SECRET")

    g.mke2fs(wiped, fstype="ext2", blocksize=4096)
    g.mount(wiped, "/")
    g.write("/kept", b"kept")
    g.write("/zeroes", bytes(100_000))
    g.touch("/sparse")
    g.truncate_size("/sparse", 5 * MIB)
    g.write("/removed", b"SECRET\n" * 1000)
    same([g.is_zero(name) for name in ("/kept", "/zeroes", "/sparse")], [0, 1, 1])
    g.pwrite("/sparse", b"x", 5 * MIB - 1)
    same(g.is_zero("/sparse"), 0)
    fails("", g.is_zero, "/")
    fails("No such file", g.is_zero, "/none")
    g.sync()
    g.rm("/removed")
    g.umount_all()
    assert secrets() > 0
    g.zerofree(wiped)
    same(secrets(), 0)
    fails("", g.zerofree, disk)
    g.mount(wiped, "/")
    same(g.cat("/kept"), "kept")
    g.write("/removed", b"SECRET\n" * 1000)
    g.sync()
    g.rm("/removed")
    before = g.ls("/")
    g.zero_free_space("/")
    same(g.ls("/"), before)
    fails("No such file", g.zero_free_space, "/none")
    g.umount_all()
    same(secrets(), 0)

    # Scrubbed: a file, with its name, and the room that is free.
    g.mount(wiped, "/")
    g.mkdir("/dir")
    g.write("/dir/scrubbed", b"SECRET\n" * 1000)
    g.sync()
    assert secrets() > 0
    g.scrub_file("/dir/scrubbed")
    same(g.ls("/dir"), [])
    fails("No such file", g.scrub_file, "/none")
    g.write("/removed", b"SECRET\n" * 1000)
    g.sync()
    g.rm("/removed")
    g.scrub_freespace("/dir/free")
    same(g.exists("/dir/free"), 0)
    fails("", g.scrub_freespace, "/none/free")
    same(g.cat("/kept"), "kept")
    g.umount_all()
    same(secrets(), 0)
    same(g.fsck("ext2", wiped), 0)
    g.zero_device(wiped)
    same(g.is_zero_device(wiped), 1)

# All of a device.
g.scrub_device(SMALL)
same(g.is_zero_device(SMALL), 0)
assert len(set(g.pread_device(SMALL, MIB, 0))) > 1
fails("No such file", g.scrub_device, "/dev/sdz")
g.zero_device(SMALL)
same(g.is_zero_device(SMALL), 1)

g.shutdown()
g.close()
print("DONE")
