"""Devices that fail: what is asked of them ends in an error that names them."""

import atexit

import guestfs

MIB = 1 << 20
SOUND = "/dev/sda"


def shell(command):
    """Runs a command in the appliance, as its own operator might."""
    return g.debug("sh", [command])


def kernels(label):
    """A name of a disk that the kernel knows: its own are in another order at times."""
    return f"/dev/disk/guestfs/{label}"


def mapping(name, table):
    """A device of device-mapper with this table."""
    shell(f"dmsetup create {name} --table '{table}'")
    shell("udevadm settle")
    return f"/dev/mapper/{name}"


def traces():
    """What a failed call must not leave behind. The daemon's children are those of its process."""
    return [
        shell("cat /proc/mounts"),
        shell("losetup --list --noheadings --output NAME,BACK-FILE"),
        shell("ls -A /tmp"),
        shell("dmsetup ls | sort"),
        shell("pgrep -l -P $(pgrep -o -x guestfsd) | grep -v -w -e sh -e pgrep -e exe || true"),
    ]


def fails(subject, words, call, *args, **options):
    """The call must fail, and say about what and why; then all is as before."""
    asked = f"{call.__name__}{args}"
    try:
        complaints.append(f"{asked[:200]} did not fail: {call(*args, **options)}")
    except RuntimeError as error:
        text = str(error)
        if subject not in text or not any(word in text.lower() for word in words):
            complaints.append(f"{asked}: {text}")
    if g.vfs_type(SOUND) != "ext4":
        complaints.append(f"{asked}: {SOUND} is not what it was")
    after = traces()
    if after != before:
        complaints.append(f"{asked}: left something behind: {before} {after}")


def check(what, condition):
    """Something besides errors that must be so."""
    if not condition:
        complaints.append(what)


# All of them are told at the end: a boot is slow.
complaints = []
atexit.register(lambda: print("\n".join(complaints), end=""))
g = guestfs.GuestFS(python_return_dict=True)
for label, size in [("first", 64), ("second", 64), ("third", 64), ("fourth", 16)]:
    g.add_drive_scratch(size * MIB, label=label)
g.launch()
print("BOOTED")
g.mkfs("ext4", SOUND)

# Every read and every write of it fails.
broken = mapping("broken", f"0 {64 * 2048} error")
before = traces()
EIO = ["input/output error", "i/o error", "error reading", "can't read", "cannot read"]
for call in [g.vfs_type, g.vfs_label, g.vfs_uuid]:
    fails(broken, EIO, call, broken)
for call in [g.part_list, g.part_get_parttype, g.part_get_disk_guid]:
    fails(broken, EIO, call, broken)
fails(broken, EIO, g.pread_device, broken, 4096, 0)
fails(broken, EIO, g.pwrite_device, broken, b"data", 0)
fails(broken, EIO, g.mount, broken, "/")
fails(broken, EIO, g.mount_ro, broken, "/")
# What fsck returns is the exit status.
check("fsck could not do it", g.fsck("ext4", broken) & 8)
fails(broken, EIO + ["superblock"], g.e2fsck, broken, correct=True)
fails(broken, EIO, g.dd, broken, "/dev/sdb")
fails(broken, EIO, g.mkfs, "ext4", broken)
fails(broken, EIO + ["failed whilst writing"], g.mkfs, "vfat", broken)
fails(broken, EIO + ["unable to erase"], g.mkswap, broken)
fails(broken, EIO, g.part_init, broken, "gpt")
fails(broken, EIO, g.part_disk, broken, "mbr")
fails(broken, EIO, g.zero, broken)
fails(broken, EIO, g.zero_device, broken)
fails(broken, EIO, g.is_zero_device, broken)
fails(broken, EIO, g.tune2fs_l, broken)
fails(broken, EIO + ["not"], g.pvcreate, broken)
fails(broken, EIO, g.copy_device_to_device, broken, "/dev/sdb")
fails(broken, EIO, g.copy_device_to_device, "/dev/sdb", broken)
fails(broken, EIO, g.checksum_device, "md5", broken)
# A stream that has begun can only be cancelled.
fails("", EIO + ["cancelled by daemon"], g.download, broken, "/dev/null")
fails(broken, EIO + ["swap"], g.swapon_device, broken)
g.list_filesystems()
g.list_partitions()

# It fails behind its first 8 MiB, where filesystems find their superblock.
g.mkfs("ext4", "/dev/sdb", blocksize=1024)
head = 8 * 2048
half = mapping("half", f"0 {head} linear {kernels('second')} 0\n{head} {56 * 2048} error")
before = traces()
try:
    check("half is ext4, if anything", g.vfs_type(half) in ["ext4", ""])
except RuntimeError as error:
    check(f"vfs_type of half: {error}", half in str(error))
fails(half, EIO, g.pread_device, half, 4096, 9 * MIB)
fails(half, EIO, g.dd, half, "/dev/sdc")
fails(half, EIO, g.checksum_device, "md5", half)
fails("", EIO + ["cancelled by daemon"], g.download, half, "/dev/null")
check("fsck found errors", g.fsck("ext4", half) & 12)
try:
    g.mount_ro(half, "/")
except RuntimeError as error:
    assert half in str(error), error
else:
    g.ls("/")
    g.umount("/")
before = traces()

# It works for no second, and then fails for an hour.
g.mkfs("ext4", "/dev/sdc")
flakey = mapping("flakey", f"0 {64 * 2048} flakey {kernels('third')} 0 0 3600")
before = traces()
fails(flakey, EIO, g.vfs_type, flakey)
fails(flakey, EIO, g.mount, flakey, "/")
fails(flakey, EIO, g.part_list, flakey)
check("fsck could not do it", g.fsck("ext4", flakey) & 8)

# Writes are lost while reads work: what is checked fails, the rest ends.
shell("udevadm settle && dmsetup remove flakey")
flakey = mapping("flakey", f"0 {64 * 2048} flakey {kernels('third')} 0 0 3600 1 error_writes")
before = traces()
check("flakey is ext4", g.vfs_type(flakey) == "ext4")
fails(flakey, EIO, g.pwrite_device, flakey, b"x" * 4096, 0)
fails(flakey, EIO, g.mkfs, "ext4", flakey)
fails(flakey, EIO, g.zero, flakey)
# The kernel takes what is written, and finds out later.
with open("local", "wb") as local:
    local.write(b"x" * 100_000)
g.mount(SOUND, "/")
g.upload("local", "/file")
before = traces()
for call, *args in [
    (g.upload, "local", flakey),
    (g.upload_offset, "local", flakey, 4096),
    (g.dd, "/file", flakey),
    (g.copy_size, "/file", flakey, 8192),
    (g.copy_file_to_device, "/file", flakey),
    (g.copy_device_to_device, "/dev/sdd", flakey),
]:
    fails(flakey, EIO, call, *args)
g.umount("/")

# A disk that may not be written to.
g.pwrite_device("/dev/sdd", b"x", 4096)
g.blockdev_setro("/dev/sdd")
before = traces()
RO = ["read-only", "operation not permitted", "permission denied", "not writable"]
RO += ["read only", "failed whilst writing", "unable to erase", "error writing"]
for call, *args in [
    (g.pwrite_device, "/dev/sdd", b"x", 0),
    (g.mkfs, "ext4", "/dev/sdd"),
    (g.mkfs, "vfat", "/dev/sdd"),
    (g.mkswap, "/dev/sdd"),
    (g.part_init, "/dev/sdd", "mbr"),
    (g.part_disk, "/dev/sdd", "gpt"),
    (g.pvcreate, "/dev/sdd"),
    (g.zero, "/dev/sdd"),
]:
    fails("/dev/sdd", RO, call, *args)
g.blockdev_setrw("/dev/sdd")

# Partitions that overlap are refused, and the table stays.
g.part_init("/dev/sdd", "mbr")
g.part_add("/dev/sdd", "p", 2048, 8191)
before = traces()
fails("/dev/sdd", ["overlap", "closest location"], g.part_add, "/dev/sdd", "p", 4096, 16383)
assert len(g.part_list("/dev/sdd")) == 1
# A table that has them all the same is read.
g.pwrite_device("/dev/sdd", b"\0\0\0\0\x83\0\0\0\0\x10\0\0\0\x20\0\0", 446 + 16)
assert g.part_get_parttype("/dev/sdd") == "msdos"
try:
    assert len(g.part_list("/dev/sdd")) == 2
except RuntimeError as error:
    assert "/dev/sdd" in str(error), error
g.list_filesystems()

# A full filesystem: the file is named, and what was there stays.
g.zero("/dev/sdd")
g.mkfs("ext2", "/dev/sdd")
g.mount("/dev/sdd", "/")
g.write("/kept", "kept")
before = traces()
ENOSPC = ["no space left"]
fails("/big", ENOSPC, g.fill, 65, 32 * MIB, "/big")
fails("/copy", ENOSPC, g.dd, "/dev/sdb", "/copy")
fails("/other", ENOSPC, g.copy_device_to_file, "/dev/sdb", "/other")
assert g.cat("/kept") == "kept"
g.umount("/")

# Two filesystems with one UUID: one of them is found, and both can be told apart.
uuid = "11111111-2222-4333-8444-555555555555"
g.mkfs("ext4", "/dev/sdd")
shell("udevadm settle && dmsetup remove flakey")
g.mkfs("ext4", "/dev/sdc")
for device in ["/dev/sdc", "/dev/sdd"]:
    g.set_uuid(device, uuid)
assert g.findfs_uuid(uuid) in ["/dev/sdc", "/dev/sdd"]
found = g.list_filesystems()
assert found["/dev/sdc"] == found["/dev/sdd"] == "ext4", found

shell("udevadm settle && dmsetup remove half")
shell("udevadm settle && dmsetup remove broken")
g.shutdown()
g.close()
assert not complaints
print("DONE")
