//! The system calls on block devices that have no safe wrapper.
#![allow(unsafe_code, reason = "ioctl takes pointers")]

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_uint, c_ulong};
use nix::{NixPath, request_code_none, request_code_read};
use protocol::Result;

use crate::guest::descriptor_path;

/// `_IO(0x12, ...)` and its like of linux/fs.h.
mod raw {
    use super::{c_int, c_uint, c_ulong, request_code_none, request_code_read};

    nix::ioctl_write_ptr_bad!(set_read_only, request_code_none!(0x12, 93), c_int);
    nix::ioctl_read_bad!(read_only, request_code_none!(0x12, 94), c_int);
    nix::ioctl_none_bad!(reread_partitions, request_code_none!(0x12, 95));
    nix::ioctl_none_bad!(flush_buffers, request_code_none!(0x12, 97));
    nix::ioctl_write_int_bad!(set_read_ahead, request_code_none!(0x12, 98));
    nix::ioctl_read_bad!(sector_size, request_code_none!(0x12, 104), c_int);
    // The number says size_t, but the kernel stores an int.
    nix::ioctl_read_bad!(
        block_size,
        request_code_read!(0x12, 112, size_of::<usize>()),
        c_int
    );
    // The same, for an u64.
    nix::ioctl_read_bad!(size, request_code_read!(0x12, 114, size_of::<usize>()), u64);
    nix::ioctl_write_ptr_bad!(discard, request_code_none!(0x12, 119), [u64; 2]);
    nix::ioctl_read_bad!(discard_zeroes, request_code_none!(0x12, 124), c_uint);

    nix::ioctl_none_bad!(free_loop, 0x4C82);
    nix::ioctl_write_int_bad!(set_loop_file, 0x4C00);
    nix::ioctl_none_bad!(clear_loop_file, 0x4C01);
    nix::ioctl_write_ptr_bad!(set_loop_status, 0x4C04, super::LoopInfo);

    /// Keeps the widths of the kernel's arguments and ours in step.
    const _: () = assert!(size_of::<c_ulong>() == size_of::<usize>());
}

/// `struct loop_info64` of linux/loop.h.
#[repr(C)]
struct LoopInfo {
    /// The device and inode of the file, its number as a device, where in it the device begins
    /// and how long it is; all but the last two are what the kernel tells.
    places: [u64; 5],
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

/// `LO_FLAGS_AUTOCLEAR`
const AUTOCLEAR: u32 = 4;

type Get<T> = unsafe fn(RawFd, *mut T) -> nix::Result<c_int>;
type Set<T> = unsafe fn(RawFd, *const T) -> nix::Result<c_int>;

fn get<T: Default>(file: &File, call: Get<T>) -> Result<T> {
    let mut value = T::default();
    // SAFETY: the descriptor is open, and the kernel stores a value of the type
    // that `raw` gives for this request in a place that is ours.
    unsafe { call(file.as_raw_fd(), &raw mut value) }?;
    Ok(value)
}

fn set<T>(file: &File, call: Set<T>, value: &T) -> Result<()> {
    // SAFETY: the descriptor is open, and the kernel reads a value of the type
    // that `raw` gives for this request.
    unsafe { call(file.as_raw_fd(), value) }?;
    Ok(())
}

/// Makes the device read-only, or writable.
///
/// # Errors
///
/// The errno of the system call, as for all of these.
pub(crate) fn set_read_only(file: &File, read_only: bool) -> Result<()> {
    set(file, raw::set_read_only, &c_int::from(read_only))
}

/// Whether the device is read-only.
pub(crate) fn is_read_only(file: &File) -> Result<bool> {
    Ok(get(file, raw::read_only)? != 0)
}

/// Bytes in a logical sector.
pub(crate) fn sector_size(file: &File) -> Result<u32> {
    Ok(u32::try_from(get(file, raw::sector_size)?).unwrap_or_default())
}

/// Bytes in a block of the cache.
pub(crate) fn block_size(file: &File) -> Result<i32> {
    get(file, raw::block_size)
}

/// Bytes on the device.
pub(crate) fn size(file: &File) -> Result<u64> {
    get(file, raw::size)
}

/// Writes out and drops what is cached of the device.
pub(crate) fn flush_buffers(file: &File) -> Result<()> {
    // SAFETY: the descriptor is open, and the request has no argument.
    unsafe { raw::flush_buffers(file.as_raw_fd()) }?;
    Ok(())
}

/// Lets the kernel read the partition table again.
pub(crate) fn reread_partitions(file: &File) -> Result<()> {
    // SAFETY: the descriptor is open, and the request has no argument.
    unsafe { raw::reread_partitions(file.as_raw_fd()) }?;
    Ok(())
}

/// Sets how many units of 512 bytes are read ahead.
pub(crate) fn set_read_ahead(file: &File, sectors: i32) -> Result<()> {
    // SAFETY: the descriptor is open, and the argument is the number itself.
    unsafe { raw::set_read_ahead(file.as_raw_fd(), sectors) }?;
    Ok(())
}

/// Discards `len` bytes from `start`.
pub(crate) fn discard(file: &File, start: u64, len: u64) -> Result<()> {
    set(file, raw::discard, &[start, len])
}

/// Whether the kernel promises that discarded blocks read as zeroes.
pub(crate) fn discard_zeroes(file: &File) -> Result<bool> {
    Ok(get(file, raw::discard_zeroes)? != 0)
}

/// The number of a loop device that nobody uses; `control` is `/dev/loop-control`.
pub(crate) fn free_loop(control: &File) -> nix::Result<i32> {
    // SAFETY: the descriptor is open, and the request has no argument.
    unsafe { raw::free_loop(control.as_raw_fd()) }
}

/// Puts a file behind a loop device until nobody uses the device any more. It is as writable as
/// the file is open for writing.
pub(crate) fn set_loop_file(device: &File, file: &File) -> nix::Result<()> {
    // SAFETY: both descriptors are open, and the argument is one of them.
    unsafe { raw::set_loop_file(device.as_raw_fd(), file.as_raw_fd()) }?;
    let info = LoopInfo {
        places: [0; 5],
        number: 0,
        encryption: [0; 2],
        flags: AUTOCLEAR,
        names: [0; 160],
        init: [0; 2],
    };
    // SAFETY: the descriptor is open, and the kernel reads a structure of this layout.
    let done = unsafe { raw::set_loop_status(device.as_raw_fd(), &raw const info) };
    if done.is_err() {
        // SAFETY: the descriptor is open, and the request has no argument.
        let _ = unsafe { raw::clear_loop_file(device.as_raw_fd()) };
    }
    done.map(drop)
}

/// Swaps to the file of an open descriptor, which must have a swap header. A program would find
/// out the file's name, and open what has that name by then.
pub(crate) fn swap_on(file: &File) -> nix::Result<()> {
    descriptor_path(file).with_nix_path(|path| {
        // SAFETY: the path is a string, and the kernel only reads it.
        Errno::result(unsafe { libc::swapon(path.as_ptr(), 0) }).map(drop)
    })?
}

/// No longer swaps to the file of an open descriptor.
pub(crate) fn swap_off(file: &File) -> nix::Result<()> {
    descriptor_path(file).with_nix_path(|path| {
        // SAFETY: the path is a string, and the kernel only reads it.
        Errno::result(unsafe { libc::swapoff(path.as_ptr()) }).map(drop)
    })?
}
