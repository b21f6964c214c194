"""Ways to mount, what is mounted by them, and filesystems below many layers."""

import os
import subprocess
import warnings

import guestfs

from cd import iso
from expect import fails, same

# Calls that others have replaced are to work all the same.
warnings.simplefilter("ignore", DeprecationWarning)

MIB = 1 << 20
KEY = "a key"


def locked(name, version, size, sector):
    """An encrypted device with cheap key derivation, made outside: its header alone."""
    with open(name, "wb") as image:
        image.truncate(size)
    derivation = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    sectors = ["--sector-size", str(sector)] if version == "luks2" else []
    command = ["cryptsetup", "-q", "luksFormat", "--type", version, *derivation, *sectors, name, "-"]
    subprocess.run(command, check=True, input=KEY.encode())
    os.truncate(name, 16 * MIB)


g = guestfs.GuestFS(python_return_dict=True)
for name, size, sector in ("a", 64, 512), ("b", 64, 512), ("deep", 320, 4096):
    g.disk_create(name, "raw", size * MIB)
    g.add_drive(name, format="raw", blocksize=sector)
g.launch()
print("BOOTED", flush=True)
A, B, DEEP = "/dev/sda", "/dev/sdb", "/dev/sdc"


def options(path):
    """What the kernel says of the filesystem there, its type first."""
    place = ("/sysroot" + path).rstrip("/")
    rows = [line.split() for line in g.debug("sh", ["cat /proc/mounts"]).splitlines()]
    row = [row for row in rows if row[1] == place][-1]
    return [row[2], *row[3].split(",")]


# Options, and the type of the filesystem.
g.mkfs("ext4", A)
g.mkfs("ext2", B)
g.mount_options("ro,noatime", A, "/")
assert {"ext4", "ro", "noatime"} <= set(options("/")), options("/")
fails("Read-only", g.touch, "/file")
g.remount("/", rw=True)
assert "rw" in options("/"), options("/")
g.touch("/file")
g.remount("/", rw=False)
assert "ro" in options("/"), options("/")
fails("Read-only", g.rm, "/file")
fails("", g.remount, "/")
fails("", g.remount, "/file", rw=True)
g.umount_all()
fails("", g.mount_options, "nosuchoption", A, "/")
fails("", g.mount_vfs, "", "ext2", "/dev/sdz", "/")
fails("", g.mount_vfs, "", "xfs", A, "/")
same(g.mounts(), [])
g.mount_vfs("nosuid,nodev", "ext4", A, "/")
assert {"ext4", "nosuid", "nodev", "rw"} <= set(options("/")), options("/")
g.umount_all()
# The driver for ext4 serves ext2 as well, by the name that is asked for.
g.mount_vfs("", "ext4", B, "/")
same(options("/")[0], "ext4")
g.umount_all()

# How much room there is, for people and for programs.
g.mount(A, "/")
g.mkdir("/dir")
g.mount(B, "/dir")
human = {line.split()[-1]: line.split() for line in g.df_h().splitlines()[1:]}
exact = {line.split()[-1]: line.split() for line in g.df().splitlines()[1:]}
for place, path in ("/sysroot", "/"), ("/sysroot/dir", "/dir"):
    status = g.statvfs(path)
    same(int(exact[place][3]), status["bavail"] * status["bsize"] // 1024)
    assert human[place][3].endswith("M"), human
    assert abs(float(human[place][3][:-1]) * 1024 - int(exact[place][3])) <= 1024, (human, exact)
g.umount_all()

# Places to mount at that no filesystem has.
fails("No such file", g.rmmountpoint, "/none")
for name in "/one", "/two":
    g.mkmountpoint(name)
fails("exists", g.mkmountpoint, "/one")
g.mount(A, "/one")
g.mount(B, "/two")
same(g.mountpoints(), {A: "/one", B: "/two"})
g.write("/one/file", b"one")
g.write("/two/file", b"two")
fails("busy", g.rmmountpoint, "/one")
g.umount("/two")
g.rmmountpoint("/two")
fails("", g.mount, B, "/two")
g.umount_all()
g.rmmountpoint("/one")
g.mount(B, "/")
same(g.cat("/file"), "two")
g.umount_all()

# Images that are files of the guest: a filesystem, a CD, and what is none.
g.mount(A, "/")
for name in "/inner", "/cd":
    g.mkdir(name)
g.mke2fs(B, fstype="ext2", blocksize=1024, blockscount=8192)
g.mount(B, "/inner")
g.write("/inner/file", b"in the image")
g.umount("/inner")
g.copy_device_to_file(B, "/image", size=8 * MIB)
with open("cd.iso", "wb") as image:
    image.write(iso("A_CD"))
g.upload("cd.iso", "/cd.iso")
found = g.isoinfo("/cd.iso")
same((found["iso_volume_id"], found["iso_volume_space_size"]), ("A_CD", 24))
fails("", g.isoinfo, "/image")
fails("No such file", g.isoinfo, "/none")
g.mount_loop("/image", "/inner")
g.mount_loop("/cd.iso", "/cd")
same(g.cat("/inner/file"), "in the image")
same((options("/inner")[0], options("/cd")[0]), ("ext2", "iso9660"))
g.write("/inner/file", b"changed in the image")
fails("Read-only", g.touch, "/cd/file")
fails("", g.mount_loop, "/none", "/dir")
fails("", g.mount_loop, "/file", "/dir")
same(g.ls("/inner"), ["file", "lost+found"])
g.umount("/inner")
g.umount("/cd")
same(g.ls("/inner"), [])
same(g.debug("sh", ["losetup --list --noheadings --output NAME | wc -l"]).strip(), "0")
# The file is given back as soon as its filesystem is unmounted.
for _ in range(5):
    g.mount_loop("/image", "/inner")
    g.umount_all()
    g.mount(A, "/")
g.mount_loop("/image", "/inner")
same(g.cat("/inner/file"), "changed in the image")
g.umount_all()

# On large sectors: encrypted logical volumes on a mirror of partitions, and
# logical volumes on an encrypted partition.
g.part_init(DEEP, "gpt")
first = MIB // 4096
for size in 96, 96, 96:
    g.part_add(DEEP, "p", first, first + size * MIB // 4096 - 1)
    first += size * MIB // 4096
one, two, three = (f"{DEEP}{number}" for number in (1, 2, 3))
g.md_create("/dev/md7", [one, two], level="raid1")
g.pvcreate("/dev/md7")
g.vgcreate("mirror", ["/dev/md7"])
g.lvcreate("secret", "mirror", 40)
g.lvcreate("clear", "mirror", 24)
locked("luks1", "luks1", 40 * MIB, 512)
g.upload("luks1", "/dev/mirror/secret")
fails("No key available", g.cryptsetup_open, "/dev/mirror/secret", "wrong", "secret")
g.cryptsetup_open("/dev/mirror/secret", KEY, "secret")
locked("luks2", "luks2", 96 * MIB, 4096)
g.upload("luks2", three)
g.cryptsetup_open(three, KEY, "outer")
same(g.blockdev_getss("/dev/mapper/outer"), 4096)
g.pvcreate("/dev/mapper/outer")
g.vgcreate("inner", ["/dev/mapper/outer"])
g.lvcreate("root", "inner", 48)
g.mkfs("ext4", "/dev/mapper/secret")
g.mkfs("vfat", "/dev/mirror/clear")
g.mkfs("ext2", "/dev/inner/root", blocksize=4096)
wanted = {"/dev/mapper/secret": "ext4", "/dev/mirror/clear": "vfat", "/dev/inner/root": "ext2"}
same({name: kind for name, kind in g.list_filesystems().items() if name not in (A, B)}, wanted)
for device in wanted:
    g.mount(device, "/")
    g.write("/file", device)
    g.umount_all()


def closed():
    """Everything is taken apart, from the top."""
    g.cryptsetup_close("/dev/mapper/secret")
    fails("in use", g.cryptsetup_close, "/dev/mapper/outer")
    g.vg_activate_all(False)
    g.cryptsetup_close("/dev/mapper/outer")
    g.md_stop("/dev/md7")


closed()
same(set(g.list_filesystems()), {A, B})
# One half of the mirror is lost; the rest comes back with the other half.
g.wipefs(two)
g.debug("sh", ["mdadm --assemble --scan --run >/dev/null 2>&1; udevadm settle; ls /dev/md*"])
(array,) = g.list_md_devices()
same(g.md_detail(array)["level"], "raid1")
same([stat["mdstat_device"] for stat in g.md_stat(array)], [one])
g.cryptsetup_open(three, KEY, "outer")
g.lvm_scan(True)
g.cryptsetup_open("/dev/mirror/secret", KEY, "secret", readonly=True)
for device in wanted:
    g.mount_ro(device, "/")
    same(g.cat("/file"), device)
    same(g.mountpoints(), {device: "/"})
    g.umount_all()
found = g.list_filesystems()
same({name: found.get(name) for name in wanted}, wanted)

g.shutdown()
g.close()
print("DONE")
