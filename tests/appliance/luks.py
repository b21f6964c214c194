"""Encrypted devices through the Python binding, and where their keys may not be."""

import os
import subprocess
import warnings

import guestfs

# Calls that others have replaced are to work all the same.
warnings.simplefilter("ignore", DeprecationWarning)

MIB = 1 << 20
# What may be seen nowhere. It is in every key, and no program prints it by itself.
SECRET = "zq7"
FIRST = SECRET + "-first-secret"
SECOND = SECRET + "-second secret "
WRONG = SECRET + "-wrong-secret"
LONG = SECRET + "L" * 100_000
# The stock daemon can be tried as well; what it does not do is left out.
STOCK = "STOCK" in os.environ


def fails(words, call, *args, **options):
    """The call must fail with these words, and not tell a key."""
    try:
        call(*args, **options)
    except RuntimeError as error:
        text = str(error)
        assert SECRET not in text, text
        for word in [words] if isinstance(words, str) else words:
            assert word in text, f"{word!r} is not in {text!r}"
        return text
    raise AssertionError(f"{call.__name__}{args} did not fail")


def host_luks(image, version, key):
    """A device with cheap key derivation, made outside."""
    with open("key", "w") as file:
        file.write(key)
    derivation = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    subprocess.run(
        ["cryptsetup", "-q", "luksFormat", "--type", version, *derivation]
        + [image, "key"],
        check=True,
    )
    os.remove("key")


# Its header alone, which finds out how large the device is.
with open("cheap.img", "wb") as image:
    image.truncate(32 * MIB)
host_luks("cheap.img", "luks2", LONG)
os.truncate("cheap.img", 16 * MIB)

g = guestfs.GuestFS(python_return_dict=True)
log = []
g.set_event_callback(
    lambda event, handle, buffer, numbers: log.append(buffer),
    guestfs.EVENT_APPLIANCE | guestfs.EVENT_LIBRARY,
)
g.set_verbose(True)
sizes = {"one.img": 48, "two.img": 48, "blank.img": 48, "pv.img": 128, "gpt.img": 64}
for name, size in sizes.items():
    g.disk_create(name, "raw", size * MIB)
    if name in ("one.img", "two.img"):
        host_luks(name, "luks1" if name == "one.img" else "luks2", FIRST)
    g.add_drive(name, format="raw")
# The less memory, the cheaper cryptsetup has to make its derivation.
g.set_memsize(512)
g.launch()
print("BOOTED", flush=True)

LUKS1, LUKS2, BLANK, PV, GPT = (f"/dev/sd{letter}" for letter in "abcde")


def sh(script):
    return g.debug("sh", [script])


def mappings():
    """The names that device-mapper has, whatever the nodes are called."""
    return sorted(sh("cat /sys/block/dm-*/dm/name 2>/dev/null; true").splitlines())


assert g.feature_available(["luks"])
assert mappings() == []

# Everything that can be seen of programs while they run is kept and searched
# afterwards: their arguments, their environment, and files.
sh("mkdir /tmp/watch; touch /tmp/watch/start")
sh(
    "setsid sh -c 'while ! test -e /tmp/watch/stop; do"
    " cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ;"
    " find /tmp /run /var/tmp /dev/shm -xdev -newer /tmp/watch/start -type f"
    " -size -64k ! -path \"/tmp/watch/*\" -exec cat {} +;"
    " sleep 0.5; done >/tmp/watch/seen 2>/dev/null; touch /tmp/watch/stopped'"
    " >/dev/null 2>&1 </dev/null &"
)

# Opened, used, closed.
for device, kind in (LUKS1, "1"), (LUKS2, "2"):
    assert g.vfs_type(device) == "crypto_LUKS"
    assert g.luks_uuid(device) == g.vfs_uuid(device)
    fails("No key available", g.luks_open, device, WRONG, "luks")
    fails("No key available", g.luks_open, device, "", "luks")
    # The end of a line is part of a key.
    fails("No key available", g.cryptsetup_open, device, FIRST + "\n", "luks")
    assert mappings() == []
    g.luks_open(device, FIRST, "luks")
    assert mappings() == ["luks"]
    assert g.list_dm_devices() == ["/dev/mapper/luks"]
    assert g.list_filesystems()["/dev/mapper/luks"] == "unknown"
    fails("exists", g.luks_open, device, FIRST, "luks")
    fails(["in use"], g.luks_format, device, FIRST, 0)
    g.mkfs("ext4", "/dev/mapper/luks", label=f"in-luks{kind}")
    filesystems = g.list_filesystems()
    assert filesystems["/dev/mapper/luks"] == "ext4", filesystems
    assert device not in filesystems, filesystems
    g.mount("/dev/mapper/luks", "/")
    g.write("/file", device)
    fails(["/dev/mapper/luks", "in use"], g.luks_close, "/dev/mapper/luks")
    fails(["/dev/mapper/luks", "in use"], g.cryptsetup_close, "/dev/mapper/luks")
    assert g.cat("/file") == device
    g.umount_all()
    g.luks_close("/dev/mapper/luks")
    assert mappings() == []
    assert g.list_dm_devices() == []
    g.luks_open_ro(device, FIRST, "read-only")
    assert g.blockdev_getro("/dev/mapper/read-only")
    g.mount_ro("/dev/mapper/read-only", "/")
    assert g.cat("/file") == device
    g.umount_all()
    g.luks_close("/dev/mapper/read-only")
    g.cryptsetup_open(device, FIRST, "generic", readonly=True)
    assert g.blockdev_getro("/dev/mapper/generic")
    g.cryptsetup_close("/dev/mapper/generic")
    g.cryptsetup_open(device, FIRST, "generic", crypttype=f"luks{kind}")
    g.cryptsetup_close("/dev/mapper/generic")
    fails([], g.cryptsetup_open, device, FIRST, "x", crypttype=f"luks{3 - int(kind)}")
    fails([], g.cryptsetup_open, device, FIRST, "x", crypttype="bitlk")
    fails([], g.cryptsetup_open, device, FIRST, "x", crypttype="--help")
    assert mappings() == []

# Both at a time, with the same content below two names.
g.luks_open(LUKS1, FIRST, "b-one")
g.luks_open(LUKS2, FIRST, "a-two")
assert g.list_dm_devices() == ["/dev/mapper/a-two", "/dev/mapper/b-one"]
assert g.findfs_label("in-luks2") == "/dev/mapper/a-two"
assert g.vfs_label("/dev/mapper/b-one") == "in-luks1"
fails([], g.cryptsetup_open, LUKS1, FIRST, "again")
g.luks_close("/dev/mapper/b-one")
g.luks_close("/dev/mapper/a-two")

# Names.
for name in ["", "a/b", "..", "x" * 200] + ([] if STOCK else ["a\nb", "\x1b[1m"]):
    fails([], g.luks_open, LUKS2, FIRST, name)
fails("exists" if not STOCK else [], g.luks_open, LUKS2, FIRST, "control")
if not STOCK:
    g.luks_open(LUKS2, FIRST, "-dash")
    g.luks_close("/dev/mapper/-dash")
    g.luks_open(LUKS2, FIRST, "two words")
    fails("exists", g.luks_open, LUKS1, FIRST, "two words")
    assert g.list_dm_devices() == ["/dev/mapper/two\\x20words"]
    g.luks_close("/dev/mapper/two\\x20words")
assert mappings() == []

# What is not encrypted.
for call in g.luks_open, g.luks_open_ro, g.cryptsetup_open:
    fails(BLANK, call, BLANK, FIRST, "luks")
fails([], g.luks_uuid, BLANK)
fails([], g.luks_add_key, BLANK, FIRST, SECOND, 1)
fails([], g.luks_kill_slot, BLANK, FIRST, 1)
g.mkfs("ext2", BLANK)
fails("ext2", g.cryptsetup_open, BLANK, FIRST, "luks")
for device in BLANK, "/dev/mapper/none", "/dev/sdz":
    fails(device, g.luks_close, device)
    fails(device, g.cryptsetup_close, device)
fails("/dev/sdz", g.luks_uuid, "/dev/sdz")
assert mappings() == []

# Slots and keys. What is added gets a slow derivation on LUKS 2, so little is done after that.
for device, slots in (LUKS1, 8), (LUKS2, 32):
    fails("No key available", g.luks_add_key, device, WRONG, SECOND, 1)
    for slot in 0, slots, -1:
        fails([], g.luks_add_key, device, FIRST, SECOND, slot)
    fails([], g.luks_kill_slot, device, FIRST, slots)
    fails([], g.luks_kill_slot, device, FIRST, 3)
    fails([], g.luks_kill_slot, device, WRONG, 0)
    g.luks_add_key(device, FIRST, SECOND, slots - 1)
    g.cryptsetup_open(device, FIRST, "key")
    g.cryptsetup_close("/dev/mapper/key")
    if device == LUKS1:
        # Unless it is the last one, a slot cannot be cleared by its own key.
        fails("No key available", g.luks_kill_slot, device, FIRST, 0)
    g.luks_kill_slot(device, SECOND, 0)
fails("No key available", g.cryptsetup_open, LUKS1, FIRST, "key")
g.cryptsetup_open(LUKS1, SECOND, "key")
g.cryptsetup_close("/dev/mapper/key")
fails("not active", g.luks_kill_slot, LUKS2, SECOND, 0)
fails("No key available", g.cryptsetup_open, LUKS1, SECOND.rstrip(), "key")
assert mappings() == []

# Formatted here, as slowly as cryptsetup likes.
for slot in -1, 32, 1000:
    fails([], g.luks_format, BLANK, FIRST, slot)
fails([], g.luks_format_cipher, BLANK, FIRST, 0, "no-such-cipher")
fails([], g.luks_format_cipher, BLANK, FIRST, 0, "--help")
g.luks_format(BLANK, FIRST, 5)
assert g.vfs_type(BLANK) == "crypto_LUKS"
uuid = g.luks_uuid(BLANK)
g.cryptsetup_open(BLANK, FIRST, "format")
assert sh("dmsetup table format").split()[3] == "aes-xts-plain64"
g.cryptsetup_close("/dev/mapper/format")
g.luks_format_cipher(BLANK, LONG, 0, "aes-cbc-essiv:sha256")
assert g.luks_uuid(BLANK) != uuid
assert b'"aes-cbc-essiv:sha256"' in g.pread_device(BLANK, 12288, 4096)

if not STOCK:
    fails("base64", g.cryptsetup_open, BLANK, "base64:" + SECRET + "!", "encoded")
assert mappings() == []

# Without a header, all of the device is the content.
g.cryptsetup_open(GPT, LONG, "plain", crypttype="plain")
assert g.blockdev_getsize64("/dev/mapper/plain") == g.blockdev_getsize64(GPT)
g.cryptsetup_close("/dev/mapper/plain")
fails([], g.cryptsetup_open, GPT, SECRET, "plain", crypttype="plain")
assert mappings() == []

# A volume group on an encrypted partition: found once it is unlocked.
g.part_init(GPT, "gpt")
g.part_add(GPT, "p", 2048, 100 * 1024 - 1)
g.upload("cheap.img", f"{GPT}1")
assert f"{GPT}1" not in g.list_filesystems()
fails("No key available", g.cryptsetup_open, f"{GPT}1", LONG[:-1], "pv")
g.cryptsetup_open(f"{GPT}1", LONG, "pv")
g.pvcreate("/dev/mapper/pv")
g.vgcreate("inner", ["/dev/mapper/pv"])
g.lvcreate("root", "inner", 16)
g.lvcreate("home", "inner", 8)
g.mkfs("ext4", "/dev/inner/root")
assert mappings() == ["inner-home", "inner-root", "pv"]
assert g.list_dm_devices() == ["/dev/mapper/pv"]
fails("in use", g.cryptsetup_close, "/dev/mapper/pv")
if not STOCK:
    # Not made by cryptsetup, so not for it to take away.
    fails("/dev/mapper/inner-home", g.cryptsetup_close, "/dev/mapper/inner-home")
    assert g.lvs() == ["/dev/inner/home", "/dev/inner/root"]
g.vg_activate_all(False)
g.cryptsetup_close("/dev/mapper/pv")
assert mappings() == []
assert g.lvs() == []
g.cryptsetup_open(f"{GPT}1", LONG, "other")
g.lvm_scan(True)
assert g.lvs() == ["/dev/inner/home", "/dev/inner/root"]
filesystems = g.list_filesystems()
assert filesystems["/dev/inner/root"] == "ext4", filesystems
assert filesystems["/dev/inner/home"] == "unknown", filesystems
assert "/dev/mapper/other" not in filesystems, filesystems

# An encrypted logical volume, at the same time.
g.pvcreate(PV)
g.vgcreate("outer", [PV])
g.lvcreate("crypt", "outer", 40)
g.lvcreate("clear", "outer", 16)
g.mkfs("ext2", "/dev/outer/clear")
g.upload("cheap.img", "/dev/outer/crypt")
assert g.luks_uuid("/dev/outer/crypt") == g.vfs_uuid("/dev/outer/crypt")
g.cryptsetup_open("/dev/outer/crypt", LONG, "lv")
g.mkfs("ext4", "/dev/mapper/lv")
assert g.list_dm_devices() == ["/dev/mapper/lv", "/dev/mapper/other"]
filesystems = g.list_filesystems()
assert filesystems == {
    "/dev/mapper/lv": "ext4",
    "/dev/inner/home": "unknown",
    "/dev/inner/root": "ext4",
    "/dev/outer/clear": "ext2",
}, filesystems
fails([], g.lvremove, "/dev/outer/crypt")
g.mount("/dev/mapper/lv", "/")
g.write("/deep", "below")
assert g.mountpoints() == {"/dev/mapper/lv": "/"}
g.umount_all()
g.cryptsetup_close("/dev/mapper/lv")
g.vg_activate_all(False)
g.cryptsetup_close("/dev/mapper/other")
assert mappings() == []

# A program that dies in the middle leaves neither a dump nor anything else, wherever the kernel is
# to put dumps.
if not STOCK:
    g.debug("core_pattern", ["/tmp/core.%e"])
    for pattern in "/tmp/core.%e", "|/bin/dd of=/tmp/core.piped":
        sh(f"echo '{pattern}' >/proc/sys/kernel/core_pattern")
        sh(
            "setsid sh -c 'until pid=$(grep -lsx cryptsetup /proc/[0-9]*/comm); do sleep 0.1; done;"
            " sleep 1; kill -SEGV $(basename $(dirname $pid))'"
            " >/dev/null 2>&1 </dev/null &"
        )
        fails(["cryptsetup was killed by signal", LUKS2], g.luks_format, LUKS2, FIRST, 0)
        assert sh("ls /tmp/core* 2>/dev/null; true") == "", pattern
        assert mappings() == []
        g.ping_daemon()
        # There would have been one of a program that knows no key.
        sh("sh -c 'kill -SEGV $$'; timeout 30 sh -c 'until ls /tmp/core*; do sleep 0.1; done' && rm /tmp/core*")

sh("touch /tmp/watch/stop; until test -e /tmp/watch/stopped; do sleep 0.1; done")
# It looked when there was something to see.
assert int(sh("grep -ac luksFormat /tmp/watch/seen; true")) > 0
assert int(sh("grep -ac TERM= /tmp/watch/seen; true")) > 0
# From here on the search itself would be found.
told = "".join(log)
assert "<= luks_open (" in told and "cryptsetup" in told and "luksAddKey" in told
seen = int(sh(f"grep -ac {SECRET} /tmp/watch/seen; true"))
if STOCK:
    print("in the log:", SECRET in told, "times in programs and files:", seen)
else:
    assert SECRET not in told
    assert seen == 0, seen

g.shutdown()
g.close()
print("DONE")
