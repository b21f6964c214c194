# virt-resize: filesystems and logical volumes, in tables of both kinds.
#: lane appliance
#: timeout 900
#: mask \[ *[0-9]+\.[0-9]\]
#: mask (?m),vg,,,,\d+,/dev/sd..$
truncate -s 200M mbr.img; truncate -s 400M mbr-large.img gpt-large.img; truncate -s 250M gpt.img
printf 'label: dos\nstart=2048,size=102400,bootable\ntype=8e\n' | sfdisk -q mbr.img
printf 'label: gpt\nstart=2048,size=204800,name=first\nsize=102400,name=second\nname=third,type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n' | sfdisk -q gpt.img
guestfish --format=raw -a mbr.img -a gpt.img run : mkfs ext4 /dev/sda1 label:boot : pvcreate /dev/sda2 : vgcreate VG1 /dev/sda2 : lvcreate LV VG1 64 : mkfs ext4 /dev/VG1/LV : mkfs ext3 /dev/sdb1 label:first : mkfs ntfs /dev/sdb2 : pvcreate /dev/sdb3 : vgcreate VG2 /dev/sdb3 : lvcreate LV VG2 40 : mkfs ext2 /dev/VG2/LV : mount /dev/sda1 / : fill-pattern abcd 3000000 /file : umount / : mount /dev/VG1/LV / : fill-pattern efgh 3000000 /file : umount / : mount /dev/sdb1 / : fill-pattern ijkl 3000000 /file : umount / : mount /dev/VG2/LV / : fill-pattern mnop 3000000 /file
virt-resize --format=raw --output-format=raw --resize sda1=+50M --expand /dev/sda2 --LV-expand /dev/VG1/LV mbr.img mbr-large.img | tr '\r' '\n' | grep -v -e '%' -e '#' -e '^$'
virt-resize --format=raw --output-format=raw --expand /dev/sda1 --delete /dev/sda2 --quiet gpt.img gpt-large.img
sfdisk -d mbr-large.img | grep -v -e '-id' -e ^device
sfdisk -d gpt-large.img | sed 's/uuid=.*,//' | grep -v -e '-id' -e ^device
# Of a group's disks the stock daemon tells the appliance's names.
virt-filesystems --format=raw -a mbr-large.img -a gpt-large.img --all --long --csv | sort
virt-df --format=raw -a mbr-large.img -a gpt-large.img --csv
guestfish --ro --format=raw -a mbr-large.img -a gpt-large.img run : mount-ro /dev/sda1 / : checksum md5 /file : umount / : mount-ro /dev/VG1/LV / : checksum md5 /file : umount / : mount-ro /dev/sdb1 / : checksum md5 /file : umount / : mount-ro /dev/VG2/LV / : checksum md5 /file : umount / : e2fsck-f /dev/sda1 : e2fsck-f /dev/VG1/LV : e2fsck-f /dev/sdb1 : lvs
