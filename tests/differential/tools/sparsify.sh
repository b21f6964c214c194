# virt-sparsify in place: filesystems, swap and an unused partition.
#: timeout 900
#: mask \[ *[0-9]+\.[0-9]\]
truncate -s 700M disk.img
printf 'label: gpt\nstart=2048,size=204800\nsize=204800\nsize=102400\nsize=700000\n' | sfdisk -q disk.img
guestfish --format=raw -a disk.img run : mkfs ext4 /dev/sda1 : mkfs ext2 /dev/sda2 : mkswap /dev/sda3 : mkfs xfs /dev/sda4
#: for NUMBER in 1 4
guestfish --format=raw -a disk.img -m /dev/sdaNUMBER fill 120 30000000 /gone : fill-pattern abcd 3000000 /kept : sync : rm /gone
#: end
echo "$(($(stat -c %b disk.img) / 2048 / 32)) times 32 MiB"
virt-sparsify --format=raw --in-place disk.img | sed 's/ *[0-9.]*%.*$//; s/\r.*$//'
echo "$(($(stat -c %b disk.img) / 2048 / 32)) times 32 MiB"
virt-filesystems --format=raw -a disk.img --all --long --csv
guestfish --ro --format=raw -a disk.img run : mount-ro /dev/sda1 / : ls / : checksum md5 /kept : umount / : mount-ro /dev/sda4 / : ls / : checksum md5 /kept
guestfish --ro --format=raw -a disk.img run : e2fsck-f /dev/sda1
