"""One launch through the Python binding; any failed assertion is a traceback."""

import errno
import hashlib
import os
import threading

import guestfs


def fails(number, call, *args, **options):
    """The call must fail with this errno."""
    try:
        call(*args, **options)
    except RuntimeError as error:
        # The binding does not tell the errno, but its text is the system's.
        assert str(error).endswith(os.strerror(number)), error
    else:
        raise AssertionError(f"{call.__name__}{args} did not fail")


MIB = 1 << 20

g = guestfs.GuestFS(python_return_dict=True)
g.disk_create("disk.img", "raw", 512 * MIB)
g.add_drive("disk.img", format="raw", label="data")
g.disk_create("readonly.img", "raw", 16 * MIB)
g.add_drive("readonly.img", format="raw", readonly=True)
g.launch()
print("BOOTED")

# Disks by every name that they have.
assert g.list_devices() == ["/dev/sda", "/dev/sdb"]
assert g.list_disk_labels() == {"data": "/dev/sda"}
assert g.blockdev_getsize64("/dev/disk/guestfs/data") == 512 * MIB
assert g.canonical_device_name("/dev/vda") == "/dev/sda"
assert g.blockdev_getsize64("/dev/hdb") == 16 * MIB
fails(errno.ENOENT, g.blockdev_getsize64, "/dev/sdz")

# Writes to a read-only disk stay in the machine.
g.pwrite_device("/dev/sdb", b"overlay", 0)
assert g.pread_device("/dev/sdb", 7, 0) == b"overlay"

# Partitions are there as soon as the call returns, and gone as well.
g.part_init("/dev/sda", "mbr")
for start in range(2048, 2048 + 3 * 20480, 20480):
    g.part_add("/dev/sda", "p", start, start + 20479)
    g.blockdev_getsize64(g.list_partitions()[-1])
assert len(g.list_partitions()) == 3
g.part_del("/dev/sda", 3)
assert g.list_partitions() == ["/dev/sda1", "/dev/sda2"]
fails(errno.ENOENT, g.blockdev_getsize64, "/dev/sda3")
g.part_disk("/dev/sda", "gpt")
assert [part["part_num"] for part in g.part_list("/dev/sda")] == [1]

# What is part of the appliance, and what no call needs.
parts = """for program in xfs_repair rsync setfiles; do
    command -v "$program" > /dev/null || echo "no $program"
done
command -v qemu-img qemu-nbd debootstrap
for directory in /lib/udev /usr/lib/udev /etc/udev; do
    ls -d "$directory"/hwdb.bin "$directory"/hwdb.d/* 2> /dev/null
done
[ -s /etc/lvm/lvm.conf ] || echo no lvm.conf
lvm lvmconfig --type current > /dev/null || echo bad lvm.conf
:"""
found = g.debug("sh", [parts])
assert found.strip() == "", found

# A path needs a filesystem first.
try:
    g.touch("/file")
    raise AssertionError("touched a file of nothing")
except RuntimeError as error:
    assert "mount" in str(error), error

g.mkfs("ext4", "/dev/sda1")
g.mount("/dev/sda1", "/")
fails(errno.ENOENT, g.stat, "/none")

# Bytes come back as they went in.
data = os.urandom(3 * MIB)
g.write("/random", data)
g.write_append("/random", b"tail")
assert g.read_file("/random") == data + b"tail"
assert g.checksum("sha256", "/random") == hashlib.sha256(data + b"tail").hexdigest()
names = [f"entry {number}" for number in range(2000)]
g.mkdir("/many")
for name in names[:50]:
    g.touch(f"/many/{name}")
assert g.ls("/many") == sorted(names[:50])
assert len(g.readdir("/many")) == 52
assert [status["st_size"] for status in g.lstatnslist("/many", names[:50])] == [0] * 50

# What runs programs of the appliance on the guest's files, or its kernel.
assert g.feature_available(["inotify", "rsync", "selinuxrelabel"])
g.inotify_init(0)
watch = g.inotify_add_watch("/many", 0x100)
g.rsync("/many/", "/copy", archive=True, deletedest=True)
assert g.ls("/copy") == g.ls("/many")
g.touch("/many/new")
g.mkdir("/many/directory")
events = g.inotify_read()
assert [(event["in_wd"], event["in_name"]) for event in events] == [
    (watch, "new"),
    (watch, "directory"),
], events
g.inotify_close()
g.write("/contexts", "/copy(/.*)? system_u:object_r:copy_t:s0\n")
g.selinux_relabel("/contexts", "/copy")
label = g.getxattr(f"/copy/{names[7]}", "security.selinux")
assert label.rstrip(b"\0") == b"system_u:object_r:copy_t:s0", label
g.write("/elf", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\0\xb7\0\x01" + bytes(43))
assert g.file_architecture("/elf") == "aarch64"

# Files stream both ways, with progress that never runs backwards.
seen = []
events = g.set_event_callback(
    lambda event, handle, buffer, numbers: seen.append((numbers[2], numbers[3])),
    guestfs.EVENT_PROGRESS,
)
with open("large", "wb") as large:
    for _ in range(200):
        large.write(os.urandom(MIB))
g.upload("large", "/large")
g.download("/large", "back")
with open("large", "rb") as one, open("back", "rb") as two:
    while block := one.read(MIB):
        assert block == two.read(MIB)
    assert two.read(1) == b""
if seen:
    assert all(0 <= position <= total for position, total in seen), seen
g.delete_event_callback(events)

# The library cancels in the middle, and the handle works on.
ended = threading.Event()


def cancel():
    # What is asked for between two calls is forgotten.
    while not ended.wait(0.05):
        g.user_cancel()


thread = threading.Thread(target=cancel)
thread.start()
try:
    g.download("/dev/sda", "device")
    raise AssertionError("the download came to its end")
except RuntimeError as error:
    assert "cancel" in str(error).lower(), error
finally:
    ended.set()
    thread.join()
assert os.path.getsize("device") < 512 * MIB
g.ping_daemon()

g.umount_all()
g.shutdown()
g.close()
with open("readonly.img", "rb") as image:
    assert not any(image.read()), "a read-only disk was written to"
print("DONE")
