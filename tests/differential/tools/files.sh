# Files of a disk: virt-ls, virt-cat, virt-edit, virt-diff, and what virt-copy-in,
# virt-copy-out, virt-tar-in and virt-tar-out run, on disks without a system.
#: timeout 900
#: mask [A-Z][a-z]{2} +[0-9]+ [0-9]{2}:[0-9]{2}
truncate -s 64M disk.img other.img
mkdir -p tree/directory; echo 'contents of the file' >tree/directory/file; ln -s directory/file tree/link; chmod -R u=rwX,go=rX tree
tar --owner=0 --group=0 -cf tree.tar -C tree .
guestfish --format=raw -a disk.img -a other.img run : mkfs ext4 /dev/sda : mkfs ext4 /dev/sdb : mount /dev/sdb / : touch /only-there
guestfish --rw --format=raw -a disk.img -m /dev/sda copy-in tree / : mkdir /unpacked
guestfish --rw --format=raw -a disk.img -m /dev/sda tar-in tree.tar /unpacked
guestfish --ro --format=raw -a disk.img -m /dev/sda copy-out /tree/directory . : tar-out /unpacked back.tar
cat directory/file; tar -tf back.tar | sort
virt-ls --format=raw -a disk.img -m /dev/sda /
virt-ls --format=raw -a disk.img -m /dev/sda -lR /unpacked
virt-ls --format=raw -a disk.img -m /dev/sda -lR --csv --checksum=sha1 --uids /unpacked
virt-cat --format=raw -a disk.img -m /dev/sda /unpacked/directory/file /unpacked/link
-virt-cat --format=raw -a disk.img -m /dev/sda /none
virt-edit --format=raw -a disk.img -m /dev/sda /tree/directory/file -e 's/contents/text/'
virt-edit --format=raw -a disk.img -m /dev/sda -b .old /unpacked/directory/file -e 's/$/!/'
virt-cat --format=raw -a disk.img -m /dev/sda /tree/directory/file /unpacked/directory/file /unpacked/directory/file.old
guestfish --ro --format=raw -a disk.img -m /dev/sda ll /tree/directory : stat /unpacked/directory/file | grep -E '^-|mode|size|uid'
