# guestmount: a disk as a directory of this machine.
#: timeout 900
truncate -s 64M disk.img; mkdir there
guestfish --format=raw -a disk.img run : mkfs ext4 /dev/sda : mount /dev/sda / : mkdir /directory : write /directory/file contents : ln-s directory/file /link
guestmount --format=raw -a disk.img -m /dev/sda --rw there --pid-file=guestmount.pid
ls there; cat there/link; echo; stat -c '%A %s %u:%g' there/directory/file
echo more >>there/directory/file; cat there/directory/file; mkdir there/new; touch -d @1000000000 there/new/file; chmod 640 there/new/file
cp -a there/directory there/copy; mv there/copy/file there/copy/moved; rm there/link; ln there/directory/file there/hard
ln -s to/nowhere there/symlink; readlink there/symlink; truncate -s 3 there/hard; setfattr -n user.name -v value there/hard; getfattr --only-values -n user.name there/hard; echo
-cat there/none
-mkdir there/new
find there | sort; df --output=fstype there | tail -1
guestunmount there; while kill -0 $(cat guestmount.pid) 2>/dev/null; do sleep 0.1; done
guestfish --ro --format=raw -a disk.img -m /dev/sda find / : cat /directory/file : stat /new/file | grep -v -e dev -e ino -e ctime -e atime -e blk
guestmount --format=raw -a disk.img -m /dev/sda --ro there --pid-file=guestmount.pid
-touch there/read-only
cat there/copy/moved
guestunmount there; while kill -0 $(cat guestmount.pid) 2>/dev/null; do sleep 0.1; done
