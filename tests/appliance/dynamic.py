"""Windows dynamic disks: three disks of one group, with a volume of each kind."""

import guestfs

GROUP = "03c0c4fc-8b6f-402a-8431-4be2e5823b1c"
PRIVATE_HEADER = 6 * 512
VOLUMES = ["Volume1", "Volume2", "Stripe1", "Mirror1", "Raid1"]


def device(volume):
    return f"/dev/mapper/ldm_vol_Group1-Dg0_{volume}"


def made(*volumes):
    """These volumes are there, and no others."""
    assert g.list_ldm_volumes() == sorted(map(device, volumes)), g.list_ldm_volumes()


def fails(*words):
    """A context in which a call must fail, with all these words in its error."""

    class Fails:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            assert kind is RuntimeError, "it did not fail"
            missing = [word for word in words if word not in str(error)]
            assert not missing, (missing, str(error))
            return True

    return Fails()


g = guestfs.GuestFS(python_return_dict=True)
for disk in range(3):
    g.add_drive(f"ldm{disk}", format="raw")
g.launch()
print("BOOTED")

# Launching made them all. A mirror and RAID 5 are made of partitions.
made(*VOLUMES)
parts = g.list_ldm_partitions()
assert len(parts) == 5 and all("Mirror1" in p or "Raid1" in p for p in parts), parts
assert g.ldmtool_scan() == [GROUP]
assert g.ldmtool_scan_devices(["/dev/sdb"]) == [GROUP]
assert g.ldmtool_diskgroup_name(GROUP) == "Group1-Dg0"
assert g.ldmtool_diskgroup_volumes(GROUP) == VOLUMES
assert g.ldmtool_diskgroup_disks(GROUP) == ["Disk1", "Disk2", "Disk3"]
kinds = [g.ldmtool_volume_type(GROUP, volume) for volume in VOLUMES]
assert kinds == ["simple", "spanned", "striped", "mirrored", "RAID5"], kinds
hints = [g.ldmtool_volume_hint(GROUP, volume) for volume in VOLUMES]
assert hints == ["E:", "", "F:", "G:", ""], hints
assert len(g.ldmtool_volume_partitions(GROUP, "Raid1")) == 3
sizes = [g.blockdev_getsize64(device(volume)) >> 20 for volume in VOLUMES]
assert sizes == [8, 16, 16, 8, 16], sizes

# What the partition table says is no filesystem; the volumes are.
found = g.list_filesystems()
assert found == {device(volume): "unknown" for volume in VOLUMES}, found
for volume in VOLUMES:
    g.mkfs("ntfs" if volume == "Volume1" else "ext4", device(volume), label=volume)
found = g.list_filesystems()
assert found[device("Volume1")] == "ntfs" and found[device("Raid1")] == "ext4", found
assert len(found) == 5 and g.vfs_label(device("Stripe1")) == "Stripe1", found
for volume in VOLUMES[1:]:
    g.mount(device(volume), "/")
    g.write("/file", volume * 100000)
    g.umount("/")

# All are removed, and made again, with what was on them.
g.ldmtool_remove_all()
made()
assert g.list_ldm_partitions() == []
g.ldmtool_remove_all()
g.ldmtool_create_all()
g.ldmtool_create_all()
made(*VOLUMES)
for volume in VOLUMES[1:]:
    g.mount(device(volume), "/")
    assert g.read_file("/file") == (volume * 100000).encode(), volume
    g.umount("/")

# A volume in use stays, and is named.
g.mount(device("Volume2"), "/")
with fails("Volume2", "mounted"):
    g.ldmtool_remove_all()
made("Volume2")
assert g.read_file("/file")[:7] == b"Volume2"
g.umount("/")
g.ldmtool_remove_all()
made()

# Without the second disk, what can do without it is there.
header = g.pread_device("/dev/sdb", 8, PRIVATE_HEADER)
assert header == b"PRIVHEAD"
g.pwrite_device("/dev/sdb", b"\0" * 8, PRIVATE_HEADER)
g.ldmtool_create_all()
made("Volume1", "Mirror1", "Raid1")
for volume in ["Mirror1", "Raid1"]:
    g.mount_ro(device(volume), "/")
    assert g.read_file("/file") == (volume * 100000).encode(), volume
    g.umount("/")
g.ldmtool_remove_all()
made()
assert g.list_ldm_partitions() == []

# With the third alone nothing can be made, nothing is left, and the reason is given.
g.pwrite_device("/dev/sda", b"\0" * 8, PRIVATE_HEADER)
with fails("Volume1", "Disk1", "missing"):
    g.ldmtool_create_all()
made()
assert g.list_ldm_partitions() == []
g.pwrite_device("/dev/sdc", b"\0" * 8, PRIVATE_HEADER)
assert g.ldmtool_scan() == []
g.ldmtool_create_all()
with fails(GROUP):
    g.ldmtool_diskgroup_name(GROUP)
for disk in ["/dev/sda", "/dev/sdb", "/dev/sdc"]:
    g.pwrite_device(disk, header, PRIVATE_HEADER)
g.ldmtool_create_all()
made(*VOLUMES)
g.ldmtool_remove_all()

g.shutdown()
g.close()
print("DONE")
