//! Made-up `/dev` and `/sys` trees with real device nodes, and a real loop
//! device where one is opened.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use protocol::{Device, Result};
use tempfile::TempDir;

use super::Devices;
use crate::command::Command;

/// Of a driver that no machine has.
const MAJOR: u64 = 4000;

struct Tree {
    dir: TempDir,
    next: u64,
}

impl Tree {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for part in ["dev/disk/by-path", "dev/vg", "sys/block", "sys/dev/block"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        Self { dir, next: 0 }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn node(&mut self, name: &str) {
        self.next += 1;
        self.node_of(name, makedev(MAJOR, self.next));
    }

    fn node_of(&self, name: &str, number: u64) {
        mknod(
            &self.path().join("dev").join(name),
            SFlag::S_IFBLK,
            Mode::S_IRWXU,
            number,
        )
        .unwrap();
    }

    /// A disk with partitions, as the kernel shows it.
    fn disk(&mut self, name: &str, partitions: &[&str]) {
        self.node(name);
        let dir = self.path().join("sys/block").join(name);
        fs::create_dir_all(dir.join("queue")).unwrap();
        fs::create_dir(dir.join("device")).unwrap();
        for partition in partitions {
            fs::create_dir(dir.join(partition)).unwrap();
            self.node(partition);
        }
    }

    fn by_path(&self, link: &str, name: &str) {
        let link = self.path().join("dev/disk/by-path").join(link);
        symlink(format!("../../{name}"), link).unwrap();
    }

    fn devices(&self) -> Devices {
        Devices::in_tree(self.path())
    }
}

fn paths(devices: Result<Vec<Device>>) -> Vec<String> {
    devices
        .unwrap()
        .iter()
        .map(|device| device.as_str().to_owned())
        .collect()
}

/// Disks that the kernel found in another order than they are on the bus.
fn shuffled() -> Tree {
    let mut tree = Tree::new();
    tree.disk("vdb", &["vdb1", "vdb2", "vdb10"]);
    tree.disk("vda", &["vda1"]);
    tree.disk("vdc", &[]);
    tree.by_path("pci-0000:00:02.0-scsi-0:0:2:0", "vda");
    tree.by_path("pci-0000:00:02.0-scsi-0:0:2:0-part1", "vda1");
    tree.by_path("pci-0000:00:02.0-scsi-0:0:0:0", "vdb");
    tree.by_path("pci-0000:00:02.0-scsi-0:0:10:0", "vdc");
    // The same disk again, as newer versions of udev have it.
    tree.by_path("virtio-pci-0000:00:02.0-scsi-0:0:0:0", "vdb");
    tree
}

#[test]
fn disks_are_in_bus_order() {
    let tree = shuffled();
    let devices = tree.devices();
    assert_eq!(paths(devices.disks()), ["/dev/vdb", "/dev/vda", "/dev/vdc"]);
    assert_eq!(
        paths(devices.partitions()),
        ["/dev/vdb1", "/dev/vdb2", "/dev/vdb10", "/dev/vda1"]
    );
}

#[test]
fn names_are_translated_both_ways() {
    let tree = shuffled();
    let devices = tree.devices();
    for (name, path) in [
        ("/dev/sda", "/dev/vdb"),
        ("/dev/sda10", "/dev/vdb10"),
        ("/dev/hdb", "/dev/vda"),
        ("/dev/sdb1", "/dev/vda1"),
        ("/dev/vdc", "/dev/vdc"),
    ] {
        let device = devices.translate(name).unwrap();
        assert_eq!(device.as_str(), path, "{name}");
        assert_eq!(device.name(), name);
        assert!(devices.is_name(name.as_bytes()), "{name}");
    }
    for (path, name) in [
        ("/dev/vdb", "/dev/sda"),
        ("/dev/vdb10", "/dev/sda10"),
        ("/dev/vda1", "/dev/sdb1"),
        ("/dev/vg/lv", "/dev/vg/lv"),
        ("/dev/vdbb", "/dev/vdbb"),
        ("tmpfs", "tmpfs"),
    ] {
        assert_eq!(devices.name_of(path), name, "{path}");
    }
}

#[test]
fn a_volume_whose_name_ends_in_a_digit_is_no_partition() {
    let mut tree = shuffled();
    tree.disk("dm-0", &[]);
    fs::create_dir_all(tree.path().join("dev/vg")).unwrap();
    symlink("../dm-0", tree.path().join("dev/vg/lv1")).unwrap();
    symlink("../dm-0", tree.path().join("dev/vg/lv")).unwrap();
    let devices = tree.devices();
    let volume = devices.translate("/dev/vg/lv1").unwrap();
    let (disk, number) = devices.split(&volume);
    assert_eq!((disk.as_str(), number), ("/dev/vg/lv1", None));
    let (disk, number) = devices.split(&devices.translate("/dev/sda10").unwrap());
    assert_eq!((disk.as_str(), number), ("/dev/vdb", Some(10)));
}

#[test]
fn no_disk_has_two_names() {
    let mut tree = Tree::new();
    // The kernel found the appliance's own disk first.
    tree.disk("vdb", &["vdb1"]);
    tree.by_path("pci-0000:00:02.0-scsi-0:0:0:0", "vdb");
    let devices = tree.devices();
    assert_eq!(paths(devices.disks()), ["/dev/vdb"]);
    for (name, path) in [("/dev/sda", "/dev/vdb"), ("/dev/vda1", "/dev/vdb1")] {
        assert_eq!(devices.translate(name).unwrap().as_str(), path, "{name}");
    }
    // As they would be told of the appliance's disk in its usual place, which has no partitions.
    for (name, errno) in [
        ("/dev/sdb", Errno::ENOENT),
        ("/dev/sdb1", Errno::ENOENT),
        ("/dev/vdb", Errno::EINVAL),
        ("/dev/vdb1", Errno::ENOENT),
    ] {
        let error = devices.translate(name).unwrap_err();
        assert_eq!(error.errno(), Some(errno), "{name}");
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn what_programs_say_has_the_callers_names() {
    let tree = shuffled();
    let devices = tree.devices();
    assert_eq!(
        devices.with_callers_names("x: /dev/vda1: no '/dev/vdb'; /dev/vg/lv, /dev/vdc.\n/dev/"),
        "x: /dev/sdb1: no '/dev/sda'; /dev/vg/lv, /dev/sdc.\n/dev/"
    );
}

#[test]
fn without_bus_positions_the_kernel_order_counts() {
    let mut tree = Tree::new();
    for name in ["sdb", "sdaa", "sda", "loop0", "dm-0", "zram0"] {
        tree.disk(name, &[]);
    }
    let devices = tree.devices();
    assert_eq!(
        paths(devices.disks()),
        ["/dev/sda", "/dev/sdb", "/dev/sdaa"]
    );
    assert_eq!(devices.translate("/dev/vdb").unwrap().as_str(), "/dev/sdb");
}

#[test]
fn the_appliance_is_not_among_the_disks() {
    let mut tree = shuffled();
    let own = fs::metadata("/").unwrap().dev();
    tree.node_of("vdd", own);
    tree.by_path("pci-0000:00:02.0-scsi-0:0:1:0", "vdd");
    fs::create_dir_all(tree.path().join("sys/block/vdd")).unwrap();
    tree.disk("vde", &[]);
    tree.by_path("pci-0000:00:02.0-scsi-0:0:20:0", "vde");
    let devices = tree.devices();
    assert_eq!(
        paths(devices.disks()),
        ["/dev/vdb", "/dev/vda", "/dev/vdc", "/dev/vde"]
    );
    assert_eq!(devices.translate("/dev/sdd").unwrap().as_str(), "/dev/vde");
    // Nor can it be reached by a name that is not translated.
    tree.node_of("root", own);
    let error = devices.translate("/dev/root").unwrap_err();
    assert_eq!(error.to_string(), "/dev/root: expecting a device name");
    assert!(!devices.is_name(b"/dev/root"));
}

#[test]
fn what_is_no_device_is_refused() {
    let mut tree = shuffled();
    fs::write(tree.path().join("dev/file"), "").unwrap();
    tree.node("vg/lv");
    mknod(
        &tree.path().join("dev/null"),
        SFlag::S_IFCHR,
        Mode::S_IRWXU,
        makedev(1, 3),
    )
    .unwrap();
    let devices = tree.devices();
    for name in [
        "/dev/file",
        "/dev/null",
        "/etc/passwd",
        "sda",
        "",
        "/dev/../dev/vda",
        "/dev/sda\0",
    ] {
        let error = devices.translate(name).unwrap_err();
        assert!(
            error.to_string().ends_with(": expecting a device name"),
            "{error}"
        );
        assert!(
            !devices.is_name(name.as_bytes()) || name.starts_with("/dev/sd"),
            "{name}"
        );
    }
    for name in ["/dev/sdz", "/dev/sda77", "/dev/none", "/dev/vg/none"] {
        let error = devices.translate(name).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert_eq!(
            error.to_string(),
            format!("{name}: No such file or directory")
        );
    }
    assert_eq!(
        devices.translate("/dev/vg/lv").unwrap().as_str(),
        "/dev/vg/lv"
    );
    assert!(devices.is_name(b"/dev/vg"), "a volume group");
    assert!(!devices.is_name(b"/dev/"));
    assert!(!devices.is_name(b"/dev/\xff"));
    assert!(
        devices.is_name(b"/dev/sdz"),
        "such a name is always a device's"
    );
}

#[test]
fn sd_names_fall_back_on_other_kinds() {
    // Nothing tells the order here, not even the kernel.
    let mut tree = Tree::new();
    tree.node("vda");
    let devices = tree.devices();
    assert_eq!(devices.translate("/dev/sda").unwrap().as_str(), "/dev/vda");
}

#[test]
fn partitions_split_into_disk_and_number() {
    let mut tree = shuffled();
    tree.disk("md0", &["md0p1"]);
    tree.disk("nvme0n1", &["nvme0n1p2"]);
    let devices = tree.devices();
    let split = |name: &str| {
        let (disk, number) = devices.split(&devices.translate(name).unwrap());
        (disk.as_str().to_owned(), disk.name().to_owned(), number)
    };
    let owned = |path: &str, name: &str, number| (path.to_owned(), name.to_owned(), number);
    assert_eq!(split("/dev/sda10"), owned("/dev/vdb", "/dev/sda", Some(10)));
    assert_eq!(split("/dev/sda"), owned("/dev/vdb", "/dev/sda", None));
    assert_eq!(split("/dev/md0"), owned("/dev/md0", "/dev/md0", None));
    assert_eq!(split("/dev/md0p1"), owned("/dev/md0", "/dev/md0", Some(1)));
    assert_eq!(
        split("/dev/nvme0n1p2"),
        owned("/dev/nvme0n1", "/dev/nvme0n1", Some(2))
    );
    // Links as udev makes them: by label, for an array by name, and by one that has no number.
    let link = |name: &str, target: &str| symlink(target, tree.path().join("dev/vg").join(name));
    for (name, target) in [
        ("data", "../vdb"),
        ("data10", "../vdb10"),
        ("first", "../md0"),
        ("first1", "../md0p1"),
        ("id-part2", "../nvme0n1p2"),
        ("lv1", "../vdb"),
        ("lost1", "../vdz1"),
    ] {
        link(name, target).unwrap();
    }
    let split_link = |name: &str| {
        let (disk, number) = devices.split(&Device::new(format!("/dev/vg/{name}")));
        (disk.as_str().to_owned(), number)
    };
    for (name, disk, number) in [
        ("data", "/dev/vg/data", None),
        ("data10", "/dev/vg/data", Some(10)),
        ("first", "/dev/vg/first", None),
        ("first1", "/dev/vg/first", Some(1)),
        ("id-part2", "/dev/nvme0n1", Some(2)),
        ("lv1", "/dev/vg/lv1", None),
        ("lost1", "/dev/vg/lost1", None),
    ] {
        assert_eq!(split_link(name), (disk.to_owned(), number), "{name}");
    }
}

#[test]
fn md_devices_have_partitions_too() {
    let mut tree = Tree::new();
    tree.disk("md127", &["md127p2", "md127p1"]);
    tree.disk("md1", &[]);
    tree.disk("sda", &["sda1"]);
    let devices = tree.devices();
    assert_eq!(paths(devices.md_devices()), ["/dev/md1", "/dev/md127"]);
    assert_eq!(
        paths(devices.partitions()),
        ["/dev/sda1", "/dev/md127p1", "/dev/md127p2"]
    );
    assert_eq!(paths(devices.disks()), ["/dev/sda"]);
}

#[test]
fn whole_devices_are_those_with_hardware() {
    let mut tree = shuffled();
    fs::create_dir_all(tree.path().join("sys/block/dm-0/dm")).unwrap();
    tree.node("dm-0");
    let devices = tree.devices();
    assert!(devices.is_whole(&Device::new("/dev/vda")));
    assert!(!devices.is_whole(&Device::new("/dev/vda1")));
    assert!(!devices.is_whole(&Device::new("/dev/dm-0")));
}

/// A loop device over a scratch file.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Self {
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .operands([file])
            .run()
            .unwrap();
        Self(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).run();
    }
}

#[test]
fn only_block_devices_are_opened() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[7; 8192]).unwrap();
    let disk = Loop::over(file.path());
    let devices = Devices::new();
    let device = devices.translate(&disk.0).unwrap();
    let opened = devices.open(&device, OFlag::O_RDONLY).unwrap();
    assert_eq!(
        fs::read(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&opened)
        ))
        .unwrap()
        .len(),
        8192
    );
    for path in ["/dev/null", "/dev/tty", "/etc/passwd"] {
        let error = devices.open(&Device::new(path), OFlag::O_RDWR).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOTBLK), "{error}");
    }
    let error = devices
        .open(&Device::named("/dev", "/dev/vg"), OFlag::O_RDONLY)
        .unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EISDIR), "{error}");
    assert!(error.message().contains("/dev/vg/NAME"), "{error}");
    let error = devices
        .open(&Device::named("/dev/none", "/dev/sdq"), OFlag::O_RDONLY)
        .unwrap_err();
    assert_eq!(error.to_string(), "/dev/sdq: No such file or directory");
}
