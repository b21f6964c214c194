# virt-make-fs, of a directory and of archives.
#: timeout 900
mkdir -p tree/directory; echo 'contents of the file' >tree/directory/file; ln -s directory/file tree/link
head -c 300000 /dev/zero | tr '\0' x >tree/large; chmod -R u=rwX,go=rX tree
tar --owner=0 --group=0 -cf tree.tar -C tree . && gzip -k tree.tar
virt-make-fs tree plain.img --size=8M
virt-make-fs --type=ext4 --partition=mbr --label=label --size=+32M tree.tar ext4.img
virt-make-fs --type=xfs --partition=gpt --size=400M tree.tar xfs.img
virt-make-fs --type=btrfs --size=200M --label=label tree btrfs.img
virt-make-fs --format=qcow2 --type=ext3 tree.tar ext3.qcow2
-virt-make-fs --type=none tree.tar none.img
qemu-img info --output=json ext3.qcow2 | grep -E '"(format|virtual-size)"'
#: for IMAGE in plain.img ext4.img xfs.img btrfs.img
virt-filesystems --format=raw -a IMAGE --all --long --csv
#: end
#: for IMAGE in ext4.img xfs.img
virt-ls --format=raw -a IMAGE -m /dev/sda1 -lR / | grep -v lost+found
virt-cat --format=raw -a IMAGE -m /dev/sda1 /directory/file
#: end
virt-cat --format=raw -a plain.img -m /dev/sda /link
guestfish --ro --format=raw -a btrfs.img -m /dev/sda checksum md5 /large : find /
md5sum <tree/large
