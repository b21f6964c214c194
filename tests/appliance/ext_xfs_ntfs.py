"""What ext2/3/4, XFS and NTFS have of their own, with sectors of both sizes."""

import os
import time
import uuid
import warnings

import guestfs

from expect import fails, same

# Calls that others have replaced are to work all the same.
warnings.simplefilter("ignore", DeprecationWarning)

MIB = 1 << 20
# The stock daemon can be tried as well; what it does not do is left out.
STOCK = "STOCK" in os.environ

g = guestfs.GuestFS(python_return_dict=True)
for name, size, sector in ("a", 1600, 512), ("b", 1600, 4096):
    g.disk_create(name, "raw", size * MIB)
    g.add_drive(name, format="raw", blocksize=sector)
g.launch()
print("BOOTED", flush=True)

# One partition for each kind of filesystem, and one more for what goes with it.
SIZES = {"ext": 64, "journal": 16, "ntfs": 64, "clone": 64, "xfs": 400, "btrfs": 300}
SIZES |= {"vfat": 64, "exfat": 64, "f2fs": 128, "swap": 16}


def content(name):
    with open(name, "rb") as file:
        return file.read()


def journal(device):
    """The UUID of the journal that this filesystem has elsewhere."""
    return g.tune2fs_l(device).get("Journal UUID")


def kept(device, *, kind):
    """What is written comes back when the filesystem was away."""
    g.mount(device, "/")
    g.write("/kept", kind * 1000)
    g.umount_all()
    g.mount_ro(device, "/")
    same(g.cat("/kept"), kind * 1000)
    g.umount_all()
    same(g.vfs_type(device), kind)


def all_of_ext(device, sector):
    for kind, small in ("ext2", 1024), ("ext3", 2048), ("ext4", 4096):
        size = max(small, sector)
        fails("", g.mkfs_b, kind, 1000, device)
        if sector == 4096:
            fails("", g.mkfs_b, kind, 1024, device)
        g.mkfs_b(kind, size, device)
        found = g.tune2fs_l(device)
        same(found["Block size"], str(size))
        same("has_journal" in found["Filesystem features"], kind != "ext2")
        # A mount in a later second than the last check.
        time.sleep(1.1)
        kept(device, kind=kind)

        # Its label and its identity.
        g.set_e2label(device, f"an {kind}")
        same((g.get_e2label(device), g.vfs_label(device)), (f"an {kind}", f"an {kind}"))
        fails("", g.set_e2label, device, "seventeen letters")
        wanted = str(uuid.uuid4())
        if kind == "ext4":
            # Its checksums are made with the UUID, so it is checked before that changes.
            fails("" if STOCK else "freshly checked", g.set_e2uuid, device, wanted)
            g.e2fsck_f(device)
        g.set_e2uuid(device, wanted)
        same((g.get_e2uuid(device), g.vfs_uuid(device)), (wanted, wanted))
        fails("", g.set_e2uuid, device, "nonsense")
        same(g.get_e2uuid(device), wanted)
        g.set_e2uuid(device, "clear")
        same(g.get_e2uuid(device), "")
        g.set_e2uuid(device, "random")
        same(uuid.UUID(g.get_e2uuid(device)).version, 4)

        # Attributes that the kernel heeds, and generations.
        g.mount(device, "/")
        g.write("/file", b"first")
        before = g.get_e2attrs("/file")
        assert "i" not in before, before
        g.set_e2attrs("/file", "i")
        same(sorted(g.get_e2attrs("/file")), sorted(before + "i"))
        fails("not permitted", g.write, "/file", b"second")
        fails("not permitted", g.rm, "/file")
        g.set_e2attrs("/file", "i", clear=True)
        same(g.get_e2attrs("/file"), before)
        g.write("/file", b"second")
        fails("", g.set_e2attrs, "/file", "z")
        fails("No such file", g.get_e2attrs, "/none")
        if kind == "ext4":
            # It is part of the checksums, so that the kernel does not change it.
            before = g.get_e2generation("/file")
            fails("not supported", g.set_e2generation, "/file", 12345)
            same(g.get_e2generation("/file"), before)
        else:
            g.set_e2generation("/file", 12345)
            same(g.get_e2generation("/file"), 12345)
        fails("No such file", g.set_e2generation, "/none", 1)
        fails("No such file", g.get_e2generation, "/none")
        g.rmdir("/lost+found")
        g.mklost_and_found("/")
        same(g.is_dir("/lost+found"), 1)
        # It has room for what is found, so that nothing must be allocated then.
        assert g.statns("/lost+found")["st_size"] > size
        fails("", g.mklost_and_found, "/file")
        # A mounted filesystem is not checked.
        fails("", g.e2fsck_f, device)
        g.umount_all()
        g.e2fsck_f(device)
        same(g.fsck(kind, device), 0)


def journals(device, other, sector):
    """Filesystems whose journal is on another device."""
    size = max(sector, 1024)
    g.mke2journal(size, other)
    same(g.vfs_type(other), "jbd")
    first = g.vfs_uuid(other)
    g.mke2fs_J("ext4", size, device, other)
    same(journal(device), first)
    fails("" if STOCK else device, g.mke2fs_J, "ext4", 2 * size, device, other)
    fails("", g.mke2fs_J, "xfs", size, device, other)

    g.mke2journal_L(size, "a journal", other)
    same((g.vfs_type(other), g.vfs_label(other)), ("jbd", "a journal"))
    assert g.vfs_uuid(other) != first
    g.mke2fs_JL("ext3", size, device, "a journal")
    same(journal(device), g.vfs_uuid(other))
    kept(device, kind="ext3")
    fails("", g.mke2fs_JL, "ext3", size, device, "nothing")
    fails("", g.mke2journal_L, size, "seventeen letters", other)

    wanted = str(uuid.uuid4())
    g.mke2journal_U(size, wanted, other)
    same((g.vfs_type(other), g.vfs_uuid(other)), ("jbd", wanted))
    g.mke2fs_JU("ext4", size, device, wanted)
    same(journal(device), wanted)
    fails("", g.mke2fs_JU, "ext4", size, device, str(uuid.uuid4()))
    fails("", g.mke2journal_U, size, "nonsense", other)


def all_of_ntfs(device, other):
    g.mkfs("ntfs", device, label="windows")
    same([g.ntfs_3g_probe(rw, device) for rw in (False, True)], [0, 0])
    kept(device, kind="ntfs")
    # A file is read by its number, without mounting.
    data = os.urandom(MIB)
    g.mount(device, "/")
    g.write("/large", data)
    number = g.statns("/large")["st_ino"]
    g.umount_all()
    g.ntfscat_i(device, number, "large")
    same(content("large"), data)
    g.ntfscat_i(device, 0, "table")
    same(content("table")[:4], b"FILE")
    fails("", g.ntfscat_i, device, -1, "none")

    # Cloned: whole, and what there is without the files.
    g.ntfsclone_out(device, "clone")
    assert len(data) < os.path.getsize("clone") < 32 * MIB
    g.zero(other)
    g.ntfsclone_in("clone", other)
    same((g.vfs_type(other), g.vfs_label(other)), ("ntfs", "windows"))
    g.mount(other, "/")
    same(g.read_file("/large"), data)
    g.umount_all()
    g.ntfsclone_out(device, "metadata", metadataonly=True, ignorefscheck=True, force=True)
    assert data[:MIB] not in content("metadata")
    with open("nonsense", "wb") as file:
        file.write(bytes(4096))
    fails("", g.ntfsclone_in, "nonsense", other)
    g.wipefs(other)
    fails("", g.ntfsclone_out, other, "none")
    fails("", g.ntfscat_i, other, 0, "none")
    assert g.ntfs_3g_probe(True, other) != 0

    g.ntfsresize_size(device, 32 * MIB)
    fails("scheduled for check", g.ntfsresize_size, device, 48 * MIB)
    g.ntfsfix(device)
    g.mount(device, "/")
    assert g.statvfs("/")["blocks"] * g.statvfs("/")["bsize"] <= 32 * MIB
    same(g.read_file("/large"), data)
    g.umount_all()
    fails("", g.ntfsresize_size, other, 32 * MIB)


def all_of_xfs(device):
    g.mkfs("xfs", device)
    g.xfs_admin(device, label="first")
    same(g.vfs_label(device), "first")
    wanted = str(uuid.uuid4())
    g.xfs_admin(device, uuid=wanted)
    same((g.vfs_uuid(device), g.vfs_label(device)), (wanted, "first"))
    fails("", g.xfs_admin, device, label="thirteen long")
    fails("", g.xfs_admin, device, lazycounter=False)
    kept(device, kind="xfs")
    g.mount(device, "/")
    fails("", g.xfs_admin, device, label="mounted")
    g.umount_all()
    same(g.vfs_label(device), "first")
    g.xfs_admin(device, label="--")
    same(g.vfs_label(device), "")
    same(g.xfs_repair(device), 0)


for disk, sector in ("/dev/sda", 512), ("/dev/sdb", 4096):
    g.part_init(disk, "gpt")
    # All in one call, which adding them one by one is not.
    g.sfdisk(disk, 0, 0, 0, [f",{size * MIB // sector}" for size in SIZES.values()])
    same(g.part_get_parttype(disk), "gpt")
    part = {name: f"{disk}{number}" for number, name in enumerate(SIZES, 1)}
    same([one["part_size"] for one in g.part_list(disk)], [size * MIB for size in SIZES.values()])
    all_of_ext(part["ext"], sector)
    journals(part["ext"], part["journal"], sector)
    all_of_ntfs(part["ntfs"], part["clone"])
    all_of_xfs(part["xfs"])
    same(g.xfs_info(part["xfs"])["xfs_sectsize"], sector)
    for kind in "btrfs", "vfat", "exfat", "f2fs":
        g.mkfs(kind, part[kind])
        kept(part[kind], kind=kind)
    g.mkswap(part["swap"])
    g.swapon_device(part["swap"])
    g.swapoff_device(part["swap"])

    # What has an identity that can be another gets another.
    g.mkfs("ext4", part["ext"])
    g.mkfs("ext2", part["journal"])
    for name in ["ext", "journal", "xfs", "btrfs"] + ([] if STOCK else ["swap"]):
        device = part[name]
        before = g.vfs_uuid(device)
        g.set_uuid_random(device)
        after = g.vfs_uuid(device)
        assert uuid.UUID(after).version == 4 and after != before, (name, before, after)
        same(g.findfs_uuid(after), device)
    for name in "clone", "exfat":
        fails("", g.set_uuid_random, part[name])
    kinds = {"ext": "ext4", "journal": "ext2", "clone": "unknown"}
    found = g.list_filesystems()
    same({device: found.get(device) for device in part.values()}, {part[name]: kinds.get(name, name) for name in SIZES})

g.shutdown()
g.close()
print("DONE")
