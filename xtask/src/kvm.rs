//! Whether virtual machines can run on the processor here.
//!
//! That `/dev/kvm` exists says little: inside many virtual machines it does,
//! and qemu then aborts, or the guest dies and the library waits for ever. The
//! only test that counts is to start a kernel.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::process;

/// Under emulation the same kernel takes five seconds; on a processor, one.
const LIMIT: Duration = Duration::from_secs(20);

/// Whether KVM works, tried once in this process.
pub(crate) fn usable() -> bool {
    static USABLE: OnceLock<bool> = OnceLock::new();
    *USABLE.get_or_init(probe)
}

/// What to set in the environment of a program that uses libguestfs, so that it
/// starts qemu itself, and without KVM where that does not work.
pub(crate) fn environment() -> Vec<(&'static str, &'static str)> {
    let mut variables = vec![("LIBGUESTFS_BACKEND", "direct")];
    if !usable() {
        variables.push(("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg"));
    }
    variables
}

/// A word for people.
pub(crate) fn description() -> &'static str {
    if usable() {
        "KVM"
    } else {
        "emulation (KVM does not work here)"
    }
}

fn probe() -> bool {
    let writable = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    let (Some(qemu), Some(kernel)) = (process::find("qemu-system-x86_64"), kernel()) else {
        return false;
    };
    if !writable {
        return false;
    }
    // Without a root filesystem the kernel panics, reboots, and qemu ends with
    // status 0. Every failure of KVM ends otherwise, or not at all.
    let mut command = Command::new(qemu);
    command
        .args(["-machine", "accel=kvm,graphics=off", "-cpu", "max"])
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-no-reboot", "-m", "256", "-append", "panic=-1 quiet"])
        .arg("-kernel")
        .arg(kernel);
    process::output(&mut command, LIMIT).is_ok_and(|finished| finished.status.success())
}

/// A kernel that supermin could pick.
pub(crate) fn kernel() -> Option<PathBuf> {
    let mut kernels: Vec<PathBuf> = std::fs::read_dir("/boot")
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_prefix("vmlinuz-"))
                .is_some_and(|version| PathBuf::from("/lib/modules").join(version).is_dir())
                && std::fs::File::open(path).is_ok()
        })
        .collect();
    kernels.sort();
    kernels.pop()
}
