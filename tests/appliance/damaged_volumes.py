"""Damaged partition tables, volumes, arrays and encrypted disks; disks that are
alike; and disks that are full or fail below a volume."""

import struct
import uuid
import zlib

from damage import MIB, SOUND, Machine, numbers

# How often each disk is damaged.
ROUNDS = 3

TABLES = ["mbr", "logical", "gpt", "dynamic"]
NAMES = [*TABLES, "lvm", "luks1", "luks2"]
ARRAY = ["member-one", "member-two"]
BLANK = [*((name, 16 * MIB) for name in ARRAY), ("one", 64 * MIB), ("two", 64 * MIB)]
KEY = "a key"

machine = Machine(NAMES, BLANK)
g, ask, shell = machine.g, machine.ask, machine.shell
disks = machine.disks
members = [disks[name].device for name in ARRAY]


def tables(device, turn):
    for call in [g.part_get_parttype, g.part_list, g.vfs_type]:
        ask([device], call, device)
    number = turn % 7 + 1
    asked = [
        (g.part_get_bootable, number),
        (g.part_get_mbr_id, number),
        (g.part_get_mbr_part_type, number),
        (g.part_get_gpt_type, number),
        (g.part_get_gpt_guid, number),
        (g.part_get_gpt_attributes, number),
        (g.part_get_name, number),
        (g.part_get_disk_guid,),
        (g.part_add, "p", 12000, 13000),
        (g.part_del, number),
        (g.part_set_bootable, number, True),
        (g.part_resize, number, 5000),
        (g.part_expand_gpt,),
        (g.part_set_name, number, "name"),
        (g.part_set_gpt_type, number, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
        (g.part_set_disk_guid_random,),
    ]
    for step in range(3):
        call, *args = asked[(turn * 3 + step) % len(asked)]
        ask([device], call, device, *args)
    # The kernel's opinion; what is in the partitions is asked about later.
    ask([device], g.blockdev_rereadpt, device)


def volumes(device, turn):
    about = [device, "example"]
    ask([device], g.vfs_type, device)
    ask(about, g.lvm_scan, activate=False)
    for call in [g.pvs_full, g.vgs_full, g.lvs_full]:
        ask(about, call)
    ask(about, g.vg_activate, True, ["example"])
    found = ask(about, g.lvs)
    for volume in found or []:
        ask([volume], g.vfs_type, volume)
        ask([volume], g.pread_device, volume, 512, 0)
    if turn % 3 == 0:
        ask([*about, "/dev/example/new"], g.lvcreate, "new", "example", 1)
    elif turn % 3 == 1:
        ask(about, g.pvresize, device)
    else:
        ask(about, g.vgrename, "example", "renamed")
        ask([*about, "renamed"], g.vgrename, "renamed", "example")
    ask([*about, "volume group"], g.vg_activate_all, False)


def encrypted(device, turn):
    for call in [g.vfs_type, g.luks_uuid]:
        ask([device], call, device)
    call = [g.luks_open, g.cryptsetup_open][turn % 2]
    if machine.done([device], call, device, KEY, "opened"):
        ask(["/dev/mapper/opened"], g.pread_device, "/dev/mapper/opened", 512, 0)
        ask(["/dev/mapper/opened"], g.luks_close, "/dev/mapper/opened")
    if turn % 3 == 2:
        ask([device], g.luks_add_key, device, KEY, "another key", 1)
    ask([device], g.luks_kill_slot, device, KEY, 7)


def array(device, turn):
    ask([device], g.vfs_type, device)
    # As when a machine starts; mdadm's status says whether all are complete.
    shell("mdadm --assemble --scan --run >/dev/null 2>&1; udevadm settle")
    for name in ask([device], g.list_md_devices) or []:
        ask([name], g.md_stat, name)
        ask([name], g.md_detail, name)
        ask([name], g.vfs_type, name)
        ask([name], g.md_stop, name)
    if turn % 4 == 0:
        about = [*members, "new"]
        if machine.done(about, g.md_create, "new", members, level="raid1"):
            shell("udevadm settle")
            for name in g.list_md_devices():
                ask([name], g.md_stop, name)


EXAMINED = {name: tables for name in TABLES}
EXAMINED |= {"lvm": volumes, "luks1": encrypted, "luks2": encrypted, "member-one": array}

g.md_create("array", members, level="raid1")
for name in g.list_md_devices():
    g.mkfs("ext4", name)
    # udev looks at what was written to.
    shell("udevadm settle")
    g.md_stop(name)
g.sync()
for disk in disks.values():
    disk.keep()
disks["member-one"].places = [[4096, 4096 + 260]]

# The machine started with all volumes.
g.vg_activate_all(False)
machine.check()
for turn in range(ROUNDS):
    for name, examined in EXAMINED.items():
        disk = disks[name]
        place, data = disk.mutation(numbers(f"{name} {turn}"))
        machine.damaged(disk, place, data)
        examined(disk.device, turn)
        # The tables are damaged at once when all disks are asked about.
        if name not in TABLES:
            machine.mended(disk, *(disks[other] for other in ARRAY if name in ARRAY))
        elif name == TABLES[-1]:
            machine.everything()
            machine.mended(*(disks[table] for table in TABLES))
            for table in TABLES:
                # A dynamic disk is in use since the machine started.
                ask([disks[table].device], g.blockdev_rereadpt, disks[table].device)
    machine.check()
for name, examined in EXAMINED.items():
    for turn, length in enumerate([512, 4096, 1 * MIB]):
        device = machine.shortened(disks[name], length)
        # A second name for a volume's disk is not what is looked for here.
        if examined is tables:
            for call in [g.part_get_parttype, g.part_list, g.vfs_type]:
                ask([device], call, device)
        elif examined is encrypted:
            encrypted(device, turn)
        else:
            ask([device], g.vfs_type, device)
        machine.whole()
        machine.mended(disks[name])
machine.check()

# Whatever is alike: two names for each disk, both with the same UUIDs.
for name in ["lvm", "gpt", "luks2", "member-one"]:
    machine.about(f"two disks like {name}")
    sectors = g.blockdev_getsz(disks[name].device)
    twins = ["/dev/mapper/first", "/dev/mapper/second"]
    for twin in twins:
        shell(f"dmsetup create {twin[12:]} --table '0 {sectors} linear {disks[name].node} 0'")
    shell("udevadm settle")
    for twin in twins:
        ask([twin], g.vfs_type, twin)
        ask([twin], g.part_list, twin)
    machine.everything()
    if name == "lvm":
        about = [*twins, disks[name].device, "example"]
        for call in [g.pvs_full, g.vgs_full, g.lvs_full]:
            ask(about, call)
        ask(about, g.vg_activate, True, ["example"])
        ask([*about, "volume group"], g.vg_activate_all, False)
    elif name == "luks2":
        # One of them is open when the other one is asked for.
        assert machine.done(twins, g.cryptsetup_open, twins[0], KEY, "opened")
        ask(["opened", twins[1]], g.cryptsetup_open, twins[1], KEY, "opened")
        g.cryptsetup_close("/dev/mapper/opened")
    elif name == "member-one":
        shell("mdadm --assemble --scan --run >/dev/null 2>&1; udevadm settle")
        for found in g.list_md_devices():
            ask([found], g.md_detail, found)
            ask([found], g.md_stop, found)
    shell("udevadm settle; dmsetup remove --retry first; dmsetup remove --retry second")
    machine.mended(*disks.values())
machine.check()


def must_fail(subjects, words, call, *args, **options):
    """The call must fail, and say about what and why."""
    try:
        machine.watched(call, *args, **options)
    except RuntimeError as error:
        text = str(error)
        named = any(subject in text for subject in subjects)
        if not named or not any(word in text.lower() for word in words):
            machine.complain(f"{call.__name__}{str(args)[:100]}: {text}")
        if g.vfs_type(SOUND) != "ext4":
            machine.complain(f"{call.__name__}: {SOUND} is not what it was")
    else:
        machine.complain(f"{call.__name__}{str(args)[:100]} did not fail")


# Partitions of a GPT that overlap, with sums that say that all is well.
gpt = disks["gpt"]
machine.about("a GPT whose partitions overlap")
with open(gpt.path, "rb") as image:
    image.seek(512)
    header = bytearray(image.read(92))
    image.seek(1024)
    entries = bytearray(image.read(128 * 128))
    image.seek(-512, 2)
    backup = bytearray(image.read(92))
first, last = struct.unpack_from("<QQ", entries, 32)
struct.pack_into("<Q", entries, 128 + 32, first + 8)
for sector in [header, backup]:
    struct.pack_into("<I", sector, 88, zlib.crc32(entries))
    struct.pack_into("<I", sector, 16, 0)
    struct.pack_into("<I", sector, 16, zlib.crc32(sector))
size = 8 * MIB
for place, data in [(512, header), (1024, entries), (size - 33 * 512, entries), (size - 512, backup)]:
    gpt.put(place, data)
g.blockdev_flushbufs(gpt.device)
ask([gpt.device], g.part_list, gpt.device)
ask([gpt.device], g.part_get_parttype, gpt.device)
must_fail([gpt.device], ["overlap"], g.part_add, gpt.device, "p", first, last)
ask([gpt.device], g.blockdev_rereadpt, gpt.device)
machine.everything()
machine.mended(gpt)
g.blockdev_rereadpt(gpt.device)

# No room: in a table, in a volume group, on a filesystem.
one, two = disks["one"].device, disks["two"].device
machine.about("a disk without room")
g.part_init(one, "mbr")
for number in range(4):
    g.part_add(one, "p", 2048 + number * 2048, 4095 + number * 2048)
must_fail([one], ["too many", "any more"], g.part_add, one, "p", 20480, 22527)
must_fail([one], ["outside", "overlap", "can't", "unable"], g.part_resize, one, 4, 1 << 30)
g.part_init(one, "mbr")
g.pvcreate(two)
g.vgcreate("filled", [two])
must_fail(["filled"], ["insufficient free space"], g.lvcreate, "big", "filled", 1000)
g.lvcreate("lv", "filled", 20)
must_fail(["/dev/filled/lv"], ["insufficient free space"], g.lvresize, "/dev/filled/lv", 1000)
must_fail(["filled"], ["already exists"], g.lvcreate, "lv", "filled", 8)
g.mkfs("ext2", "/dev/filled/lv")
must_fail(["/dev/filled/lv"], ["only"], g.resize2fs_size, "/dev/filled/lv", 1 << 40)
g.mount("/dev/filled/lv", "/")
g.write("/kept", b"kept")
with open("large", "wb") as large:
    large.write(b"large" * (8 * MIB))
must_fail(["/large"], ["no space left"], g.upload, "large", "/large")
must_fail(["/large"], ["no space left"], g.fallocate64, "/large", 1 << 30)
must_fail(["/large"], ["no space left"], g.fill_pattern, "pattern", 40 * MIB, "/large")
must_fail(["/large"], ["no space left"], g.cp, "/large", "/larger")
assert g.read_file("/kept") == b"kept"
g.umount("/")
g.vgremove("filled")
machine.check()

# A volume whose disk fails behind its middle.
machine.about("a volume on a disk that fails")
EIO = ["input/output error", "i/o error", "cannot read", "can't read", "error reading", "failed"]
g.vgcreate("failing", [two])
g.lvcreate("lv", "failing", 48)
shell(
    "set $(dmsetup table failing-lv) && dmsetup suspend failing-lv"
    ' && printf "0 49152 linear $4 $5\\n49152 49152 error\\n" | dmsetup reload failing-lv'
    " && dmsetup resume failing-lv"
)
must_fail(["/dev/failing/lv"], EIO, g.pread_device, "/dev/failing/lv", 4096, 40 * MIB)
must_fail(["/dev/failing/lv"], EIO, g.pwrite_device, "/dev/failing/lv", b"x" * 4096, 40 * MIB)
must_fail(["/dev/failing/lv"], EIO, g.zero_device, "/dev/failing/lv")
must_fail(["/dev/failing/lv"], EIO, g.copy_device_to_device, "/dev/failing/lv", one)
must_fail(["/dev/failing/lv"], EIO, g.checksum_device, "md5", "/dev/failing/lv")
ask(["/dev/failing/lv"], g.mkfs, "ext4", "/dev/failing/lv")
machine.everything()
g.vgremove("failing")
shell(f"dmsetup create broken --table '0 {64 * 2048} error'")
broken = "/dev/mapper/broken"
machine.before = None
machine.check()
for call, *args in [
    (g.luks_format, broken, KEY, 0),
    (g.luks_open, broken, KEY, "opened"),
    (g.cryptsetup_open, broken, KEY, "opened"),
    (g.luks_uuid, broken),
    (g.pvresize, broken),
    (g.md_create, "broken", [broken, one]),
    (g.mkswap, broken),
    (g.ntfsfix, broken),
    (g.ntfsresize, broken),
    (g.set_label, broken, "label"),
    (g.sfdisk_l, broken),
    (g.part_get_gpt_type, broken, 1),
    (g.scrub_device, broken),
]:
    must_fail([broken], EIO + ["not", "no ", "corrupt", "unable", "exited with"], call, *args)
shell("udevadm settle; dmsetup remove --retry broken")
# The arrays' scan may have been told of it.
machine.before = None
machine.check()

# A disk that may not be written to.
machine.about("a read-only disk")
g.part_disk(one, "gpt")
g.mkfs("ext4", f"{one}1")
for device in [one, f"{one}1"]:
    g.blockdev_setro(device)
RO = ["read-only", "read only", "not permitted", "permission denied", "write-protected", "writable"]
RO += ["cannot open", "can't open", "unable to", "failed to", "exited with"]
for call, *args in [
    (g.part_del, one, 1),
    (g.part_set_name, one, 1, "name"),
    (g.part_set_gpt_type, one, 1, "0FC63DAF-8483-4772-8E79-3D69D8477DE4"),
    (g.part_set_bootable, one, 1, True),
    (g.wipefs, one),
    (g.zero_device, one),
    (g.luks_format, f"{one}1", KEY, 0),
    (g.set_label, f"{one}1", "label"),
    (g.set_uuid, f"{one}1", str(uuid.UUID(int=1))),
    (g.resize2fs_size, f"{one}1", 20 * MIB),
    (g.mkswap, f"{one}1"),
    (g.swapon_device, f"{one}1"),
    (g.zerofree, f"{one}1"),
]:
    must_fail([one], RO + ["swap"], call, *args)
for device in [f"{one}1", one]:
    g.blockdev_setrw(device)
assert [part["part_num"] for part in g.part_list(one)] == [1]
assert g.vfs_type(f"{one}1") == "ext4"
machine.end()
