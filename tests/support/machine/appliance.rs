//! The appliance to boot, and the part of qemu's command line that is for it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel, its initial files, and the root filesystem.
pub(super) struct Appliance {
    directory: PathBuf,
}

impl Appliance {
    /// Has supermin build what is not up to date, in the place where the library
    /// looks for it, so that one build serves all tests.
    pub(super) fn build() -> Self {
        let variable = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .unwrap_or_else(|| panic!("{name} is not set; use cargo xtask test appliance"))
        };
        let parts = variable("LIBGUESTFS_PATH").join("supermin.d");
        let cache =
            variable("LIBGUESTFS_CACHEDIR").join(format!(".guestfs-{}", nix::unistd::geteuid()));
        std::fs::create_dir_all(&cache).expect("cache");
        let directory = cache.join("appliance.d");
        let output = Command::new("timeout")
            .args(["300", "supermin", "--build", "--if-newer", "--copy-kernel"])
            .arg("--lock")
            .arg(cache.join("lock"))
            .args(["-f", "ext2", "--host-cpu", "x86_64"])
            .arg(parts)
            .arg("-o")
            .arg(&directory)
            .output()
            .expect("timeout");
        assert!(output.status.success(), "supermin: {output:?}");
        Self { directory }
    }

    /// The machine, its kernel and the kernel's command line.
    pub(super) fn arguments(&self, network: bool) -> Vec<String> {
        let settings = std::env::var("LIBGUESTFS_BACKEND_SETTINGS").unwrap_or_default();
        let accelerator = match settings.contains("force_tcg") {
            true => "tcg",
            false => "kvm:tcg",
        };
        let machine = format!("accel={accelerator}");
        let file = |name| self.file(name).display().to_string();
        let (kernel, initrd) = (file("kernel"), file("initrd"));
        let append = self.command_line(network);
        let mut arguments = vec!["-no-user-config", "-nodefaults", "-display", "none"];
        arguments.extend(["-machine", &machine, "-cpu", "max", "-m", "1280"]);
        arguments.extend(["-no-reboot", "-rtc", "driftfix=slew"]);
        arguments.extend(["-kernel", &kernel, "-initrd", &initrd, "-append", &append]);
        arguments.extend(["-object", "rng-random,filename=/dev/urandom,id=rng0"]);
        arguments.extend(["-device", "virtio-rng-pci,rng=rng0"]);
        if network {
            arguments.extend(["-netdev", "user,id=usernet,net=169.254.0.0/16"]);
            arguments.extend(["-device", "virtio-net-pci,netdev=usernet"]);
        }
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// The root filesystem as a disk, which stays as it is.
    pub(super) fn disk(&self) -> [String; 4] {
        let root = super::option(
            "if=none,id=appliance,format=raw,snapshot=on,cache=unsafe,file=",
            &self.file("root"),
            "",
        );
        let device = "scsi-hd,bus=scsi.0,drive=appliance";
        ["-drive", &root, "-device", device].map(str::to_owned)
    }

    fn command_line(&self, network: bool) -> String {
        let mut words = vec![
            "panic=1",
            "console=ttyS0",
            "edd=off",
            "udevtimeout=6000",
            "udev.event-timeout=6000",
            "no_timer_check",
            "printk.time=1",
            "cgroup_disable=memory",
            "usbcore.nousb",
            "cryptomgr.notests",
            "tsc=reliable",
            "8250.nr_uarts=1",
            "selinux=0",
        ];
        words.push(match std::env::var("LIBGUESTFS_DEBUG").as_deref() {
            Ok("1") => "guestfs_verbose=1",
            _ => "quiet",
        });
        if network {
            words.push("guestfs_network=1");
        }
        let root = format!("root=UUID={}", uuid(&self.file("root")));
        words.push(&root);
        words.push("TERM=linux");
        words.join(" ")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The UUID of an ext2 filesystem, from its superblock.
fn uuid(image: &Path) -> String {
    let mut bytes = [0; 16];
    File::open(image)
        .and_then(|file| file.read_exact_at(&mut bytes, 0x468))
        .expect("the appliance's root");
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
