//! libblkid's functions, loaded at run time.
#![allow(unsafe_code, reason = "these are C functions")]

use std::ffi::{CStr, c_char, c_int, c_longlong, c_ulonglong, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use protocol::{Error, Result};

use super::Library;
use super::run::unusable;

/// `blkid_probe`, `blkid_partlist`, `blkid_parttable`, `blkid_partition`
type Handle = NonNull<c_void>;

type New = unsafe extern "C" fn() -> Option<Handle>;
type Free = unsafe extern "C" fn(Handle);
type SetDevice = unsafe extern "C" fn(Handle, c_int, c_longlong, c_longlong) -> c_int;
type Switch = unsafe extern "C" fn(Handle, c_int) -> c_int;
type Get = unsafe extern "C" fn(Handle) -> Option<Handle>;
type Nth = unsafe extern "C" fn(Handle, c_int) -> Option<Handle>;
type Text = unsafe extern "C" fn(Handle) -> *const c_char;
type Int = unsafe extern "C" fn(Handle) -> c_int;
type Long = unsafe extern "C" fn(Handle) -> c_longlong;
type Bits = unsafe extern "C" fn(Handle) -> c_ulonglong;

/// The library.
pub(super) struct Blkid {
    functions: Functions,
    /// Goes last: the functions are in it.
    _library: libloading::Library,
}

macro_rules! functions {
    ($($name:ident: $ty:ty = $symbol:literal;)+) => {
        /// The functions that are used.
        struct Functions {
            $($name: $ty,)+
        }

        impl Functions {
            fn find(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of blkid.h, in all versions of this soname.
                unsafe {
                    Ok(Self {
                        $($name: *library.get(concat!($symbol, "\0").as_bytes())?,)+
                    })
                }
            }
        }
    };
}

functions! {
    new_probe: New = "blkid_new_probe";
    free_probe: Free = "blkid_free_probe";
    set_device: SetDevice = "blkid_probe_set_device";
    enable_superblocks: Switch = "blkid_probe_enable_superblocks";
    enable_partitions: Switch = "blkid_probe_enable_partitions";
    get_partitions: Get = "blkid_probe_get_partitions";
    table: Get = "blkid_partlist_get_table";
    count: Int = "blkid_partlist_numof_partitions";
    partition: Nth = "blkid_partlist_get_partition";
    table_kind: Text = "blkid_parttable_get_type";
    table_id: Text = "blkid_parttable_get_id";
    table_of: Get = "blkid_partition_get_table";
    number: Int = "blkid_partition_get_partno";
    start: Long = "blkid_partition_get_start";
    size: Long = "blkid_partition_get_size";
    is_extended: Int = "blkid_partition_is_extended";
    is_logical: Int = "blkid_partition_is_logical";
    kind: Int = "blkid_partition_get_type";
    kind_text: Text = "blkid_partition_get_type_string";
    guid: Text = "blkid_partition_get_uuid";
    name: Text = "blkid_partition_get_name";
    flags: Bits = "blkid_partition_get_flags";
}

impl Blkid {
    /// Loads the library.
    ///
    /// # Errors
    ///
    /// ENOTSUP when it is missing.
    pub(super) fn load() -> Result<Self> {
        let unusable = |error| unusable(Library::Blkid, error);
        // SAFETY: nothing that libblkid does when it is loaded and unloaded needs care.
        let library =
            unsafe { libloading::Library::new(Library::Blkid.file()) }.map_err(unusable)?;
        let functions = Functions::find(&library).map_err(unusable)?;
        Ok(Self {
            functions,
            _library: library,
        })
    }

    /// Begins to look at what is on a device.
    ///
    /// # Errors
    ///
    /// When its size cannot be found, or there is not enough memory.
    pub(super) fn probe(&self, device: OwnedFd) -> Result<Probe<'_>> {
        // SAFETY: it takes nothing.
        let handle = unsafe { (self.functions.new_probe)() }
            .ok_or_else(|| Error::os(Errno::ENOMEM, "blkid_new_probe"))?;
        let probe = Probe {
            functions: &self.functions,
            handle,
            device,
        };
        let fd = probe.device.as_raw_fd();
        // SAFETY: the probe is there, and the descriptor is open as long as it is.
        let done = unsafe { (self.functions.set_device)(handle, fd, 0, 0) };
        check(done, "blkid_probe_set_device")?;
        Ok(probe)
    }
}

/// The errno of a function that has failed.
fn check(done: c_int, function: &str) -> Result<()> {
    if done == 0 {
        return Ok(());
    }
    Err(match Errno::last() {
        errno if errno as c_int == 0 => Error::new(format!("{function} failed")),
        errno => Error::os(errno, function),
    })
}

/// A device that is being looked at.
pub(super) struct Probe<'a> {
    functions: &'a Functions,
    handle: Handle,
    device: OwnedFd,
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        // SAFETY: the probe is there, and not used afterwards.
        unsafe { (self.functions.free_probe)(self.handle) };
    }
}

impl Probe<'_> {
    /// The partition table; `None` if there is none that libblkid knows.
    ///
    /// # Errors
    ///
    /// When the device cannot be read.
    pub(super) fn partitions(&self) -> Result<Option<Table<'_>>> {
        let functions = self.functions;
        // SAFETY: the probe is there.
        unsafe {
            check(
                (functions.enable_superblocks)(self.handle, 0),
                "blkid_probe_enable_superblocks",
            )?;
            check(
                (functions.enable_partitions)(self.handle, 1),
                "blkid_probe_enable_partitions",
            )?;
        }
        Errno::clear();
        // SAFETY: the probe is there.
        let Some(list) = (unsafe { (functions.get_partitions)(self.handle) }) else {
            // It does not say whether there is no table or it could not read.
            return match Errno::last() {
                errno @ (Errno::EIO | Errno::ENOMEM) => Err(errno.into()),
                _ => Ok(None),
            };
        };
        // SAFETY: the list is part of the probe.
        let table = unsafe { (functions.table)(list) };
        Ok(table.map(|handle| Table {
            functions,
            list,
            handle,
        }))
    }
}

/// A partition table, as long as the probe is there.
pub(super) struct Table<'a> {
    functions: &'a Functions,
    list: Handle,
    handle: Handle,
}

impl<'a> Table<'a> {
    /// The kind of table.
    pub(super) fn kind(&self) -> Vec<u8> {
        // SAFETY: the probe is there.
        text(unsafe { (self.functions.table_kind)(self.handle) })
    }

    /// What identifies the table.
    pub(super) fn id(&self) -> Vec<u8> {
        // SAFETY: the probe is there.
        text(unsafe { (self.functions.table_id)(self.handle) })
    }

    /// The partitions that are in this table itself.
    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition<'a>> {
        let (functions, list, table) = (self.functions, self.list, self.handle);
        // SAFETY: the probe is there.
        let count = unsafe { (functions.count)(list) };
        (0..count).filter_map(move |n| {
            // SAFETY: the probe is there, and has as many partitions.
            unsafe {
                let handle = (functions.partition)(list, n)?;
                ((functions.table_of)(handle) == Some(table))
                    .then_some(Partition { functions, handle })
            }
        })
    }
}

/// A partition, as long as the probe is there.
pub(super) struct Partition<'a> {
    functions: &'a Functions,
    handle: Handle,
}

impl Partition<'_> {
    /// Its number.
    pub(super) fn number(&self) -> i32 {
        // SAFETY: the probe is there.
        unsafe { (self.functions.number)(self.handle) }
    }

    /// Where it begins, in units of 512 bytes.
    pub(super) fn start(&self) -> u64 {
        // SAFETY: the probe is there.
        unsafe { (self.functions.start)(self.handle) }.cast_unsigned()
    }

    /// How long it is, in units of 512 bytes.
    pub(super) fn size(&self) -> u64 {
        // SAFETY: the probe is there.
        unsafe { (self.functions.size)(self.handle) }.cast_unsigned()
    }

    /// `primary`, `extended` or `logical`.
    pub(super) fn role(&self) -> &'static str {
        // SAFETY: the probe is there.
        unsafe {
            match (
                (self.functions.is_extended)(self.handle),
                (self.functions.is_logical)(self.handle),
            ) {
                (0, 0) => "primary",
                (0, _) => "logical",
                _ => "extended",
            }
        }
    }

    /// Its type, if that is a number.
    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the probe is there.
        unsafe { (self.functions.kind)(self.handle) }
    }

    /// Its type, if that is a text.
    pub(super) fn kind_text(&self) -> Vec<u8> {
        // SAFETY: the probe is there.
        text(unsafe { (self.functions.kind_text)(self.handle) })
    }

    /// Its GUID.
    pub(super) fn guid(&self) -> Vec<u8> {
        // SAFETY: the probe is there.
        text(unsafe { (self.functions.guid)(self.handle) })
    }

    /// Its name.
    pub(super) fn name(&self) -> Vec<u8> {
        // SAFETY: the probe is there.
        text(unsafe { (self.functions.name)(self.handle) })
    }

    /// Its attributes.
    pub(super) fn flags(&self) -> u64 {
        // SAFETY: the probe is there.
        unsafe { (self.functions.flags)(self.handle) }
    }
}

/// What a function gave back; empty for nothing.
fn text(text: *const c_char) -> Vec<u8> {
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: the functions above give strings that are part of the probe, which is there.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}
