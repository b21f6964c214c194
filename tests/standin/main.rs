//! `hv-standin`: a hypervisor stand-in.
//!
//! The library starts whatever `LIBGUESTFS_HV` names in place of qemu. When
//! that is this program, an unmodified client (guestfish, the Python binding,
//! the virt tools) drives a `guestfsd` that runs right here: no virtual
//! machine, and a launch takes a fraction of a second.
//!
//! * A command line without a `guestfsd.sock` on it is the library asking what
//!   its qemu can do: the real qemu answers ([`qemu::become_real`]).
//! * Any other is a launch. Each `-drive` becomes a loop device
//!   ([`disk::Attached`]), seen as `/dev/sdX` in a private root, `/dev` and
//!   `/sys` that show these disks and no others ([`sandbox`]); then the daemon
//!   is started on a connection to the library's socket.
//! * `hv-standin --direct [--disk FILE]... -- ARGS` does the same without a
//!   library: the channel is standard input. The direct lane uses it.
//! * Under the name `udevadm` (which it has inside the sandbox) it mirrors the
//!   loop devices' partitions as `/dev/sdX1` and so on ([`udevadm`]).
//!
//! Nothing has to be cleaned up, however it ends: loop devices detach
//! themselves when their last user goes, mounts are in a namespace of their
//! own, copies of overlays are files without a name, and the daemon and its
//! children are in a PID namespace whose first process dies with the stand-in.
//!
//! Environment: `GUESTFSD_BIN` is the daemon to run (required), `GUESTFSD_ARGS`
//! are more arguments for it, `STANDIN_QEMU` is the real qemu,
//! `STANDIN_WRAP` a command to run the daemon under, such as `strace -f`, and
//! `STANDIN_SHARE` a directory that it shall find in `/standin/share`, read-only.
//!
//! What it cannot do: device mapper (so LVM and LUKS), hot-plugging, and
//! whatever filesystem this machine's kernel lacks. The appliance lane has
//! those.

mod disk;
mod launch;
mod qemu;
mod sandbox;
mod sys;
mod udevadm;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let result = if name.as_bytes().ends_with(b"udevadm") {
        udevadm::mirror().map(|()| ExitCode::SUCCESS)
    } else if args.first().is_some_and(|arg| arg == "--direct") {
        launch::Launch::direct(&args[1..]).and_then(launch::run)
    } else if qemu::is_probe(&args) {
        Err(qemu::become_real(&args))
    } else {
        qemu::launch(&args).and_then(launch::run)
    };
    result.unwrap_or_else(|error| {
        eprintln!("hv-standin: {error:#}");
        ExitCode::FAILURE
    })
}
