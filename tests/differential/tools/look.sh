# virt-df, virt-filesystems and virt-alignment-scan, on tables of both kinds.
#: timeout 900
#: mask (?m),[0-9A-F]{4}-[0-9A-F]{4}$
truncate -s 400M mbr.img; truncate -s 500M gpt.img; truncate -s 130M plain.img
printf 'label: dos\nstart=2048,size=204800,bootable\nsize=102400,type=82\ntype=5\nsize=200000\nstart=515073,type=7\n' | sfdisk -q mbr.img
printf 'label: gpt\nfirst-lba: 34\nstart=40,size=2000,type=21686148-6449-6E6F-744E-656564454649\nstart=2048,size=614400,name=root\nsize=204800,type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n' | sfdisk -q gpt.img
guestfish --format=raw -a mbr.img -a gpt.img -a plain.img run : mkfs ext4 /dev/sda1 label:boot : mkswap /dev/sda2 label:swap : mkfs ext2 /dev/sda5 : mkfs ext3 /dev/sda6 label:other : mkfs xfs /dev/sdb2 label:root : mkfs vfat /dev/sdb3 : mkfs-btrfs /dev/sdc
virt-df --format=raw -a mbr.img -a gpt.img
virt-df --format=raw -a mbr.img -a gpt.img -h
virt-df --format=raw -a mbr.img -i --csv
virt-df --format=raw -a gpt.img --csv
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --all
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --filesystems --extra
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --partitions
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --block-devices
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --blkdevs --long --csv
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --lvs
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --all --long --csv
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --all --long --uuid --csv
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img --all --long --no-title
virt-filesystems --format=raw -a mbr.img -a gpt.img -a plain.img -l -h
-virt-alignment-scan --format=raw -a mbr.img
-virt-alignment-scan --format=raw -a gpt.img -q
-virt-alignment-scan --format=raw -a plain.img
