# virt-format, with every layout.
#: timeout 900
truncate -s 320M disk.img
virt-format --format=raw -a disk.img
virt-filesystems --format=raw -a disk.img --all --long --csv
virt-format --format=raw -a disk.img --filesystem=ext4 --label=label
virt-filesystems --format=raw -a disk.img --all --long --csv
virt-format --format=raw -a disk.img --partition=mbr --filesystem=ntfs --label=label --wipe
virt-filesystems --format=raw -a disk.img --all --long --csv
virt-format --format=raw -a disk.img --partition=none --filesystem=vfat --label=LABEL
virt-filesystems --format=raw -a disk.img --all --long --csv
virt-format --format=raw -a disk.img --partition=gpt --filesystem=btrfs
virt-filesystems --format=raw -a disk.img --all --long --csv
virt-format --format=raw -a disk.img --partition=gpt --filesystem=xfs --wipe
virt-filesystems --format=raw -a disk.img --all --long --csv
-virt-format --format=raw -a disk.img --filesystem=none
-virt-format --format=raw -a disk.img --lvm=wrong
cmp -n 1048576 disk.img /dev/zero | cut -d' ' -f1-2
