# The other tools, each with a machine of its own.
#: lane appliance
#: timeout 900
#: mask \[ *[0-9]+\.[0-9]\]
mkdir -p tree/directory; echo 'contents of the file' >tree/directory/file; head -c 300000 /dev/zero | tr '\0' x >tree/large; chmod -R u=rwX,go=rX tree
tar --owner=0 --group=0 --format=gnu -czf tree.tar.gz -C tree .
virt-make-fs --type=vfat --partition=mbr --label=LABEL --size=40M tree.tar.gz vfat.img
virt-make-fs --type=ntfs --partition=gpt --label=label --size=40M tree ntfs.img
truncate -s 400M lvm.img
virt-format --format=raw -a lvm.img --partition=gpt --lvm=/dev/VG/LV --filesystem=ext4 --label=label
virt-filesystems --format=raw -a vfat.img -a ntfs.img -a lvm.img --all --long --csv --extra
virt-df --format=raw -a vfat.img -a ntfs.img -a lvm.img --csv
virt-cat --format=raw -a ntfs.img -m /dev/sda1 /directory/file
guestfish --format=raw -a lvm.img -m /dev/VG/LV tar-in tree.tar.gz / compress:gzip : fill 120 80000000 /gone : sync : rm /gone : tar-out / back.tar
tar -tf back.tar | sort
echo "$(($(stat -c %b lvm.img) / 2048 / 64)) times 64 MiB"
virt-sparsify --format=raw lvm.img sparse.img | tr '\r' '\n' | grep -v -e '%' -e '#' -e '^$' -e '^Create overlay' -e 'Copy to'
echo "$(($(stat -c %b sparse.img) / 2048 / 64)) times 64 MiB"
virt-sparsify --format=raw --in-place lvm.img | tr '\r' '\n' | grep -v -e '%' -e '#' -e '^$'
echo "$(($(stat -c %b lvm.img) / 2048 / 64)) times 64 MiB"
guestfish --ro --format=raw -a lvm.img -m /dev/VG/LV find / : checksum md5 /large
guestfish --ro --format=raw -a sparse.img -m /dev/VG/LV find / : checksum md5 /large
mkdir there; guestmount --format=raw -a sparse.img -m /dev/VG/LV --rw there --pid-file=guestmount.pid
cat there/directory/file; echo more >>there/directory/file; mv there/directory there/moved; find there | sort
guestunmount there; while kill -0 $(cat guestmount.pid) 2>/dev/null; do sleep 0.1; done
virt-cat --format=raw -a sparse.img -m /dev/VG/LV /moved/file
