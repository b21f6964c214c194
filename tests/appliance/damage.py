"""Disks that are damaged while a machine looks at them, the same in each run.
With DAMAGE_TIMES in the environment every call and its time are printed.

The machine's disks are files here, and what is written to them here is there at
once for a machine that forgets what it had read. So a disk is damaged in a place,
asked about, and put back, hundreds of times in one boot.
"""

import json
import os
import random
import re
import select
import signal
import time
import warnings

import guestfs

# Calls that others replace are tried, too.
warnings.simplefilter("ignore", DeprecationWarning)

MIB = 1 << 20
SOUND = "/dev/sda"
# Under emulation a call takes a second at most; a busy machine is slower.
LIMIT = 150
SEED = 0x9E3779B97F4A7C15

# A boot is slow, so a complaint does not end it.
complaints = []


class Watch:
    """A process that ends this one when a call takes too long: while it waits for an
    answer, the library lets no other thread run."""

    def __init__(self):
        reader, self.pipe = os.pipe()
        if os.fork() == 0:
            os.close(self.pipe)
            asked = b""
            while select.select([reader], [], [], LIMIT if asked else None)[0]:
                said = os.read(reader, 1 << 16)
                if not said:
                    os._exit(0)
                asked = said.rpartition(b"\n")[2]
            print(f"{asked.decode()}: no answer in {LIMIT} s", flush=True)
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(1)
        os.close(reader)

    def begin(self, asked):
        """A call begins."""
        os.write(self.pipe, asked[:1000].replace("\n", " ").encode())

    def end(self):
        """It has ended."""
        os.write(self.pipe, b"\n")


class Disk:
    """A disk, how it is when it is whole, and where damaging it matters."""

    def __init__(self, name, path, device, places):
        self.name, self.path, self.device, self.places = name, path, device, places
        # The appliance itself may know the disk by another name.
        self.node = f"/dev/disk/guestfs/{label(device)}"
        self.whole = {}
        self.used = []

    def keep(self):
        """Takes the disk as it is now for whole."""
        with open(self.path, "rb") as image:
            self.whole = dict(pieces(image))
        # Where there is anything, in sectors.
        self.used = [
            start + offset
            for start, piece in self.whole.items()
            for offset in range(0, len(piece), 512)
            if any(piece[offset : offset + 512])
        ]

    def mutation(self, numbers, sizes=(1, 8, 64)):
        """Some bytes, and a place for them: in what is looked at first, or anywhere."""
        if self.places and (not self.used or numbers.random() < 0.6):
            start, end = numbers.choice(self.places)
            place = numbers.randrange(start, end)
        else:
            place = numbers.choice(self.used) + numbers.randrange(512)
            end = place + 64
        data = numbers.choice(
            [
                bytes(numbers.choice(sizes)),
                b"\xff" * numbers.choice(sizes),
                b"\xff\xff\xff\x7f",
                b"\0\0\0\x80",
                bytes(numbers.randrange(256) for _ in range(numbers.choice(sizes))),
            ]
        )
        return place, data[: end - place]

    def put(self, place, data):
        """Writes to the disk behind the machine's back."""
        with open(self.path, "r+b") as image:
            os.pwrite(image.fileno(), data, place)

    def mend(self):
        """Makes the disk whole again, whatever was written to it."""
        with open(self.path, "r+b") as image:
            for start, piece in pieces(image):
                whole = self.whole.get(start, bytes(len(piece)))
                if piece != whole:
                    os.pwrite(image.fileno(), whole, start)
            for start, whole in self.whole.items():
                if os.pread(image.fileno(), len(whole), start) != whole:
                    os.pwrite(image.fileno(), whole, start)


def label(device):
    """The label under which a disk is added."""
    return f"disk{device[-1]}"


def pieces(image):
    """What a sparse file holds, in aligned pieces."""
    size, step, place = os.fstat(image.fileno()).st_size, 64 << 10, 0
    while place < size:
        try:
            place = os.lseek(image.fileno(), place, os.SEEK_DATA) // step * step
        except OSError:
            return
        piece = os.pread(image.fileno(), step, place)
        if any(piece):
            yield place, piece
        place += step


class Machine:
    """A handle whose every call is watched."""

    def __init__(self, names, extra=()):
        """Disks of the kinds that were prepared, and blank ones (name, size)."""
        with open("images.json", encoding="utf-8") as prepared:
            prepared = {image["name"]: image for image in json.load(prepared)}
        self.watch = Watch()
        self.g = guestfs.GuestFS(python_return_dict=True)
        self.console = []
        self.g.set_event_callback(
            lambda event, handle, text, numbers: self.console.append(text),
            guestfs.EVENT_APPLIANCE,
        )
        self.g.disk_create("sound.img", "raw", 16 * MIB)
        self.g.add_drive("sound.img", format="raw")
        self.disks = {}
        for index, name in enumerate([*names, *(name for name, _ in extra)]):
            path = f"{name}.img"
            if index >= len(names):
                self.g.disk_create(path, "raw", dict(extra)[name])
            device = f"/dev/sd{chr(ord('b') + index)}"
            self.g.add_drive(path, format="raw", label=label(device))
            places = prepared.get(name, {}).get("metadata", [])
            self.disks[name] = Disk(name, path, device, places)
        self.g.launch()
        print("BOOTED", flush=True)
        self.g.mkfs("ext4", SOUND)
        # What is told of a complaint, to repeat it.
        self.harm = {}
        self.before = None

    @property
    def damage(self):
        """What is damaged now, as a complaint repeats it."""
        return "; ".join(self.harm.values()) or "nothing damaged"

    def about(self, what):
        """What the machine is asked about next, if that is no damaged disk."""
        self.harm = {"": what}

    def shell(self, command):
        """Runs a command in the appliance, as its own operator might."""
        return self.watched(self.g.debug, "sh", [command])

    def complain(self, what):
        complaints.append(f"{self.damage}: {what}")
        print(complaints[-1], flush=True)

    def watched(self, call, *args, **options):
        """The call, and the end of all when it takes too long or the machine ends."""
        asked = f"{self.damage}: {call.__name__}{str(args)[:200]}"
        start = time.monotonic()
        self.watch.begin(asked)
        try:
            return call(*args, **options)
        except UnicodeDecodeError:
            # An answer with bytes of the damage in it.
            return ""
        except RuntimeError as error:
            if re.search("unexpected(ly| end)|died|no longer|lost the", str(error)):
                told = b"".join(self.console)[-3000:].decode(errors="replace")
                kernel = re.search("Oops|BUG:|general protection|Kernel panic", told)
                what = "the kernel died" if kernel else "the daemon ended"
                print(f"{asked}: {what}: {error}\n{told}", flush=True)
                os._exit(1)
            raise
        finally:
            self.watch.end()
            if "DAMAGE_TIMES" in os.environ:
                print(f"{time.monotonic() - start:.2f} s: {asked}", flush=True)

    def ask(self, subjects, call, *args, **options):
        """The answer to a call, or None for an error; see `done`."""
        answer = []
        self.done(subjects, call, *args, into=answer, **options)
        return answer[0] if answer else None

    def done(self, subjects, call, *args, into=None, **options):
        """Whether the call succeeds. If not, the error must name one of the subjects,
        give a reason, and leave the machine as it was."""
        asked = f"{call.__name__}{str(args)[:200]}"
        try:
            answer = self.watched(call, *args, **options)
            if into is not None:
                into.append(answer)
            return True
        except RuntimeError as error:
            text = str(error)
        # A file that ends in its middle has no room for a reason.
        if "cancelled by daemon" in text:
            return False
        if not any(subject in text for subject in subjects):
            self.complain(f"{asked} does not name {subjects[0]}: {text}")
        reason = text.removeprefix(call.__name__)
        for subject in subjects:
            reason = reason.replace(subject, "")
        if not re.search("[A-Za-z]{4}", reason):
            self.complain(f"{asked} gives no reason: {text}")
        if self.watched(self.g.vfs_type, SOUND) != "ext4":
            self.complain(f"{asked}: {SOUND} is not what it was")
        return False

    def damaged(self, disk, place, data):
        """Damages a disk, and has the machine forget what it had read of it."""
        self.harm[disk.name] = f"{disk.name} at {place}: {data.hex()}"
        disk.put(place, data)
        self.watched(self.g.blockdev_flushbufs, disk.device)

    def mended(self, *disks):
        for disk in disks:
            disk.mend()
            self.harm.pop(disk.name, None)
            self.watched(self.g.blockdev_flushbufs, disk.device)

    def shortened(self, disk, length):
        """A device that ends where the disk goes on; removed by `whole`."""
        self.about(f"{disk.name} cut to {length}")
        self.shell(
            f"dmsetup create short --table '0 {length // 512} linear {disk.node} 0'"
            " && udevadm settle"
        )
        return "/dev/mapper/short"

    def whole(self):
        self.shell("udevadm settle; dmsetup remove --retry short")
        self.harm = {}

    def traces(self):
        """What a call must not leave behind. The daemon's children are those of its process."""
        return self.shell(
            "cat /proc/mounts; losetup --list --noheadings --output NAME,BACK-FILE;"
            " cat /proc/swaps; ls -A /tmp; dmsetup ls | sort; cat /proc/mdstat;"
            " pgrep -l -P $(pgrep -o -x guestfsd) | grep -v -w -e sh -e pgrep -e exe || true"
        )

    def check(self):
        """Nothing is left, and what is asked about all disks has an answer."""
        after = self.traces()
        if self.before is not None and after != self.before:
            self.complain(f"left something behind: {self.before} {after}")
        self.before = after

    def everything(self):
        """What is asked about all disks at once."""
        self.ask(["/dev/"], self.g.list_partitions)
        found = self.watched(self.g.list_filesystems)
        if found.get(SOUND) != "ext4":
            self.complain(f"list_filesystems: {found}")

    def end(self):
        self.check()
        self.g.shutdown()
        self.g.close()
        assert not complaints
        print("DONE")


def numbers(name):
    """The same numbers for a name in each run."""
    return random.Random(f"{SEED} {name}")
