//! The system calls that no safe wrapper covers: loop devices, and `fork`.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

/// What the kernel calls `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// What the kernel calls `struct loop_config`.
#[repr(C)]
pub(crate) struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_PARTSCAN: u32 = 8;

mod raw {
    use super::LoopConfig;
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(set_read_only, 0x125D, i32);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);
}

/// The number of a loop device that nobody uses yet.
pub(crate) fn free_loop(control: &File) -> nix::Result<u64> {
    // SAFETY: the request takes no argument, and the descriptor is open.
    let number = unsafe { raw::loop_ctl_get_free(control.as_raw_fd()) }?;
    u64::try_from(number).map_err(|_| Errno::ENODEV)
}

/// Puts `file` behind the loop device `device`, with partitions, until the
/// last user of the device closes it. `block_size` 0 is the kernel's choice.
pub(crate) fn configure_loop(
    device: &File,
    file: &File,
    readonly: bool,
    block_size: u32,
) -> nix::Result<()> {
    let readonly = if readonly { LO_FLAGS_READ_ONLY } else { 0 };
    let config = LoopConfig {
        fd: u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?,
        block_size,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN | readonly,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: `config` is the structure that this request reads, laid out as
    // the kernel's, and outlives the call.
    unsafe { raw::loop_configure(device.as_raw_fd(), &config) }?;
    // A device that its last user made read-only stays so under the next one.
    let no = 0;
    // SAFETY: `no` is the integer that this request reads, and outlives the call.
    unsafe { raw::set_read_only(device.as_raw_fd(), &no) }?;
    Ok(())
}

/// Forks. The stand-in is still single-threaded wherever it calls this.
pub(crate) fn fork() -> nix::Result<Option<Pid>> {
    // SAFETY: the process has one thread, so the child's copy of every lock is
    // in a state that the child can use.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// The path of an open descriptor, for programs that want a name.
pub(crate) fn fd_path(fd: RawFd) -> String {
    format!("/proc/self/fd/{fd}")
}
