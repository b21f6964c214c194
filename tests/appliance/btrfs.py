"""Btrfs: subvolumes, quotas, devices, and work that takes its time."""

import os
import struct
import time

import guestfs

from expect import fails, same

MIB = 1 << 20
# The stock daemon can be tried as well; what it does not do is left out.
STOCK = "STOCK" in os.environ

g = guestfs.GuestFS(python_return_dict=True)
for number in range(4):
    g.disk_create(f"disk{number}", "raw", 320 * MIB)
    # The third has large sectors.
    sector = 4096 if number == 2 else 512
    g.add_drive(f"disk{number}", format="raw", label=["one", "two", "large", "slow"][number], blocksize=sector)
g.launch()
print("BOOTED", flush=True)
ONE, TWO, LARGE, SLOW = (f"/dev/sd{letter}" for letter in "abcd")


def sh(command):
    return g.debug("sh", [command]).strip()


def until(what, test):
    """What the kernel does by itself ends some time."""
    for _ in range(600):
        if found := test():
            return found
        time.sleep(0.1)
    raise AssertionError(f"it never came: {what}")


def features(device):
    """The state and the features in a superblock that this is about."""
    superblock = g.pread_device(device, 4096, 64 * 1024)
    same(superblock[64:72], b"_BHRfS_M")
    (state,) = struct.unpack_from("<Q", superblock, 56)
    (incompatible,) = struct.unpack_from("<Q", superblock, 188)
    known = {"seeding": state >> 32, "extref": incompatible >> 6, "skinny": incompatible >> 8}
    return {name for name, bit in known.items() if bit & 1}


# Subvolumes: made, shown, chosen and deleted.
g.mkfs_btrfs([ONE], label="volumes")
g.mount(ONE, "/")
same(g.btrfs_subvolume_list("/"), [])
same(g.btrfs_subvolume_get_default("/"), 5)
g.btrfs_subvolume_create("/s1")
g.mkdir("/dir")
g.btrfs_subvolume_create("/dir/s2")
g.write("/s1/file", b"before")
g.btrfs_subvolume_snapshot("/s1", "/dir/snap", ro=True)
g.write("/s1/file", b"after")
same(g.cat("/dir/snap/file"), "before")
fails("Read-only", g.write, "/dir/snap/file", b"no")
paths = {one["btrfssubvolume_path"]: one["btrfssubvolume_id"] for one in g.btrfs_subvolume_list("/")}
same(sorted(paths), ["dir/s2", "dir/snap", "s1"])
shown = g.btrfs_subvolume_show("/dir/snap")
same((shown["Name"], shown["Subvolume ID"], shown["Flags"]), ("snap", str(paths["dir/snap"]), "readonly"))
source = g.btrfs_subvolume_show("/s1")
same(shown["Parent UUID"], source["UUID"])
same(source["Snapshot(s)"], "dir/snap")
fails("", g.btrfs_subvolume_show, "/dir")
fails("", g.btrfs_subvolume_delete, "/dir")
g.btrfs_subvolume_delete("/dir/s2")
same(g.ls("/dir"), ["snap"])
g.btrfs_subvolume_set_default(paths["s1"], "/")
same(g.btrfs_subvolume_get_default("/"), paths["s1"])
g.umount_all()
same(g.btrfs_subvolume_get_default(ONE), paths["s1"])
g.mount(ONE, "/")
same(g.cat("/file"), "after")
g.btrfs_subvolume_set_default(5, "/")
g.umount_all()

# Quotas, groups of them, and a limit that holds.
g.mount(ONE, "/")
fails("", g.btrfs_qgroup_show, "/")
g.btrfs_quota_enable("/", True)


def groups():
    return [one["btrfsqgroup_id"] for one in g.btrfs_qgroup_show("/")]


def members(group):
    """The groups in this one."""
    table = sh("btrfs qgroup show -c --raw /sysroot 2>/dev/null")
    rows = [line.split() for line in table.splitlines()]
    return next(row[3] for row in rows if row[0] == group)


first = f"0/{paths['s1']}"
snap = f"0/{paths['dir/snap']}"
same(groups(), ["0/5", first, snap])
g.btrfs_qgroup_create("1/100", "/")
fails("File exists", g.btrfs_qgroup_create, "1/100", "/")
fails("", g.btrfs_qgroup_create, "nonsense", "/")
same(groups(), ["0/5", first, snap, "1/100"])
same(members("1/100"), "-")
g.btrfs_qgroup_assign(first, "1/100", "/")
same(members("1/100"), first)
fails("", g.btrfs_qgroup_assign, "1/100", first, "/")
g.btrfs_qgroup_remove(first, "1/100", "/")
assert members("1/100") != first
fails("No such file", g.btrfs_qgroup_remove, first, "1/100", "/")
g.btrfs_qgroup_destroy("1/100", "/")
same(groups(), ["0/5", first, snap])
fails("No such file", g.btrfs_qgroup_destroy, "1/100", "/")
g.write("/s1/counted", os.urandom(3 * MIB))
g.btrfs_filesystem_sync("/")


def counted():
    until("the rescan", lambda: "no rescan" in sh("btrfs quota rescan -s /sysroot"))
    found = {one["btrfsqgroup_id"]: one for one in g.btrfs_qgroup_show("/")}
    return found[first]


until("the rescan", lambda: "no rescan" in sh("btrfs quota rescan -s /sysroot"))
g.btrfs_quota_rescan("/")
assert counted()["btrfsqgroup_rfer"] >= 3 * MIB, counted()
assert counted()["btrfsqgroup_excl"] >= 3 * MIB, counted()
g.btrfs_qgroup_limit("/s1", 4 * MIB)
fails("quota exceeded", g.fill, 65, 8 * MIB, "/s1/large")
g.rm("/s1/large")
fails("Invalid argument", g.btrfs_qgroup_limit, "/dir", MIB)
fails("No such file", g.btrfs_quota_rescan, "/none")
g.btrfs_quota_enable("/", False)
fails("", g.btrfs_qgroup_show, "/")
g.fill(65, 8 * MIB, "/s1/large")
g.umount_all()

# Defragmented, which compresses as well where that is asked.
g.mount(ONE, "/")
g.touch("/pieces")
for odd in False, True:
    # What is written between two others has to go elsewhere.
    for number in range(odd, 64, 2):
        g.pwrite("/pieces", bytes([number]) * 4096, number * 4096)
    g.btrfs_filesystem_sync("/")


def pieces():
    lines = g.debug("sh", ["filefrag -e /sysroot/pieces"]).splitlines()
    return int(lines[-1].split(":")[1].split()[0])


before = pieces()
assert before >= 60, before
checksum = g.checksum("sha256", "/pieces")
g.btrfs_filesystem_defragment("/pieces", flush=True)
g.btrfs_filesystem_sync("/")
assert pieces() < before / 4, (before, pieces())
g.btrfs_filesystem_defragment("/", flush=True, compress="lzo")
fails("", g.btrfs_filesystem_defragment, "/pieces", compress="nonsense")
same(g.checksum("sha256", "/pieces"), checksum)
# What is written before is on the disk when this returns.
g.write("/synced", b"MARK-of-what-was-written" * 1000)
g.btrfs_filesystem_sync("/")
with open("disk0", "rb") as image:
    assert b"MARK-of-what-was-written" in image.read()
g.umount_all()

# Several devices: replaced, and shown by any of them.
g.mkfs_btrfs([ONE, TWO], datatype="raid1", metadata="raid1")
same(g.btrfs_filesystem_show(ONE), [ONE, TWO])
same(g.btrfs_filesystem_show(TWO), [ONE, TWO])
fails("", g.btrfs_filesystem_show, SLOW)
g.mount(TWO, "/")
data = os.urandom(2 * MIB)
g.write("/data", data)
g.btrfs_replace(ONE, LARGE, "/")
same(sorted(g.btrfs_filesystem_show(TWO)), [TWO, LARGE])
same(g.vfs_type(ONE), "")
fails("", g.btrfs_replace, ONE, SLOW, "/")
g.umount_all()
fails("No such file", g.btrfs_filesystem_show, "/dev/sdz")
g.mount(LARGE, "/")
same(g.read_file("/data"), data)
# One copy is destroyed: a scrub finds and corrects it.
g.btrfs_filesystem_sync("/")
g.umount_all()
with open("disk1", "r+b") as image:
    content = image.read()
    where = content.index(data[: 64 * 1024])
    image.seek(where)
    image.write(bytes(64 * 1024))
g.blockdev_flushbufs(TWO)
g.mount(LARGE, "/")
same(g.btrfs_scrub_status("/")["btrfsscrub_data_bytes_scrubbed"], 0)
g.btrfs_scrub_start("/")
until("the scrub's end", lambda: "finished" in sh("btrfs scrub status /sysroot"))
status = g.btrfs_scrub_status("/")
same(status["btrfsscrub_csum_errors"], 16)
same((status["btrfsscrub_corrected_errors"], status["btrfsscrub_uncorrectable_errors"]), (16, 0))
assert status["btrfsscrub_data_bytes_scrubbed"] >= 4 * MIB, status
fails("", g.btrfs_scrub_cancel, "/")
fails("No such file", g.btrfs_scrub_start, "/none")
g.umount_all()
with open("disk1", "rb") as image:
    image.seek(where)
    same(image.read(64 * 1024), data[: 64 * 1024])

# Work that takes its time, on a device that makes it do so: stopped, and taken up.
sh("modprobe dm-delay 2>/dev/null; true")
g.pvcreate(SLOW)
g.vgcreate("vg", [SLOW])
g.lvcreate("slow", "vg", 300)
slow = "/dev/vg/slow"


LINEAR = sh("dmsetup table vg-slow")


def loaded(table):
    sh(f"dmsetup suspend vg-slow && echo '{table}' | dmsetup reload vg-slow && dmsetup resume vg-slow")


def delay(writes):
    """A write takes so many milliseconds from now on, however fast the machine is."""
    start, length, _, device, offset = LINEAR.split()
    loaded(f"{start} {length} delay {device} {offset} 0 {device} {offset} {writes}")


g.mkfs("btrfs", slow)
g.mount(slow, "/")
same(g.btrfs_balance_status("/")["btrfsbalance_status"], "none")
for call in g.btrfs_balance_pause, g.btrfs_balance_cancel, g.btrfs_balance_resume:
    fails("", call, "/")
fails("No such file", g.btrfs_filesystem_balance, "/none")
with open("data", "wb") as file:
    file.write(os.urandom(16 * MIB))
g.upload("data", "/data")
g.btrfs_filesystem_sync("/")
sums = g.checksum("sha256", "/data")
place = sh("filefrag -v /sysroot/data")
g.btrfs_filesystem_balance("/")
same(g.btrfs_balance_status("/")["btrfsbalance_status"], "none")
assert sh("filefrag -v /sysroot/data") != place, place


def balance(stop):
    """What this does to a balance that runs; one that had ended before is started again."""
    for _ in range(10):
        sh("btrfs balance start --full-balance --bg /sysroot >/dev/null 2>&1 </dev/null")
        for _ in range(50):
            running = g.btrfs_balance_status("/")
            if running["btrfsbalance_status"] == "running":
                break
            time.sleep(0.1)
        try:
            stop()
        except RuntimeError:
            continue
        return running
    raise AssertionError("no balance was there to be stopped")


delay(200)
running = balance(lambda: g.btrfs_balance_pause("/"))
same(running["btrfsbalance_status"], "running")
assert running["btrfsbalance_total"] >= running["btrfsbalance_balanced"], running
paused = g.btrfs_balance_status("/")
same(paused["btrfsbalance_status"], "paused")
assert 0 < paused["btrfsbalance_left"] <= 100, paused
fails("", g.btrfs_balance_pause, "/")
fails("", g.btrfs_filesystem_balance, "/")
loaded(LINEAR)
# It is where it was when the filesystem comes back.
g.umount_all()
g.mount_options("skip_balance", slow, "/")
same(g.btrfs_balance_status("/")["btrfsbalance_status"], "paused")
g.btrfs_balance_resume("/")
same(g.btrfs_balance_status("/")["btrfsbalance_status"], "none")
delay(200)
balance(lambda: g.btrfs_balance_cancel("/"))
same(g.btrfs_balance_status("/")["btrfsbalance_status"], "none")
fails("", g.btrfs_balance_cancel, "/")
fails("", g.btrfs_balance_resume, "/")
loaded(LINEAR)



def speed(limit):
    """How many bytes a second a scrub reads from now on, or all that it can."""
    sh(f"echo {limit} >/sys/fs/btrfs/{g.vfs_uuid(slow)}/devinfo/1/scrub_speed_max")


# The call waits until the scrub has ended, so this one is started otherwise.
speed(64 * 1024)
sh("btrfs scrub start /sysroot >/dev/null 2>&1 </dev/null")
until("the scrub", lambda: "running" in sh("btrfs scrub status /sysroot"))
fails("", g.btrfs_scrub_start, "/")
g.btrfs_scrub_cancel("/")
assert "aborted" in sh("btrfs scrub status /sysroot")
done = g.btrfs_scrub_status("/")
fails("", g.btrfs_scrub_cancel, "/")
speed(0)
g.btrfs_scrub_resume("/")
until("the scrub's end", lambda: "finished" in sh("btrfs scrub status /sysroot"))
finished = g.btrfs_scrub_status("/")
assert finished["btrfsscrub_data_bytes_scrubbed"] >= 16 * MIB, finished
assert done["btrfsscrub_data_bytes_scrubbed"] < finished["btrfsscrub_data_bytes_scrubbed"], (done, finished)
fails("", g.btrfs_scrub_resume, "/")
same(g.checksum("sha256", "/data"), sums)
g.umount_all()
same(g.btrfs_fsck(slow), None)
g.lvm_remove_all()

# What is set in a superblock, of a device with large sectors too.
for device in ONE, LARGE:
    g.mkfs("btrfs", device)
    assert "seeding" not in features(device)
    g.btrfs_set_seeding(device, True)
    assert "seeding" in features(device)
    if not STOCK:
        g.btrfs_set_seeding(device, False)
        assert "seeding" not in features(device)
        g.btrfs_set_seeding(device, True)
    g.mount(device, "/")
    fails("Read-only", g.touch, "/file")
    g.umount_all()
    g.btrfstune_seeding(device, False)
    assert "seeding" not in features(device)
    g.btrfstune_seeding(device, True)
    assert "seeding" in features(device)
    fails("", g.btrfstune_seeding, device, True)
    g.btrfstune_seeding(device, False)
    fails("", g.btrfstune_seeding, SLOW, True)
    g.mount(device, "/")
    g.touch("/file")
    g.umount_all()

# Features that old filesystems lack.
sh("mkfs.btrfs -q -f -O ^extref,^skinny-metadata,^no-holes -R ^free-space-tree /dev/disk/guestfs/one")
same(features(ONE), set())
g.btrfstune_enable_extended_inode_refs(ONE)
same(features(ONE), {"extref"})
g.btrfstune_enable_skinny_metadata_extent_refs(ONE)
same(features(ONE), {"extref", "skinny"})
for call in g.btrfstune_enable_extended_inode_refs, g.btrfstune_enable_skinny_metadata_extent_refs:
    fails("", call, SLOW)

# Rescued: a superblock from its copy, and the tree of chunks from all of the device.
g.mkfs("btrfs", ONE, label="rescued")
g.mount(ONE, "/")
g.write("/kept", b"kept")
g.umount_all()
g.pwrite_device(ONE, bytes(4096), 64 * 1024)
same(g.vfs_type(ONE), "")
if STOCK:
    fails("", g.btrfs_rescue_super_recover, ONE)
else:
    g.btrfs_rescue_super_recover(ONE)
same((g.vfs_type(ONE), g.vfs_label(ONE)), ("btrfs", "rescued"))
g.btrfs_rescue_super_recover(ONE)
g.btrfs_rescue_chunk_recover(ONE)
g.mount(ONE, "/")
same(g.cat("/kept"), "kept")
g.umount_all()
for call in g.btrfs_rescue_super_recover, g.btrfs_rescue_chunk_recover:
    fails("", call, SLOW)

# An image of the metadata, made in the guest, from which a filesystem is restored.
if not STOCK:
    g.mkfs("ext4", TWO)
    g.mount(TWO, "/")
    g.btrfs_image([ONE], "/image")
    g.btrfs_image([ONE], "/small", compresslevel=9)
    assert 0 < g.filesize("/small") < g.filesize("/image")
    fails("", g.btrfs_image, [SLOW], "/none")
    g.wipefs(ONE)
    same(g.vfs_type(ONE), "")
    sh("btrfs-image -r /sysroot/small /dev/disk/guestfs/one")
    g.umount_all()
    same(g.vfs_label(ONE), "rescued")
    g.mount_ro(ONE, "/")
    same(g.ls("/"), ["kept"])
    g.umount_all()

g.shutdown()
g.close()
print("DONE")
