//! libblkid's functions, loaded at run time.
#![allow(unsafe_code, reason = "these are C functions")]

use std::ffi::{CStr, c_char, c_int, c_longlong, c_ulonglong, c_void};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{NonNull, null};

use nix::errno::Errno;
use protocol::{Error, Result};

use super::Library;
use super::run::unusable;

const BLKID_SUBLKS_LABEL: c_int = 1 << 1;
const BLKID_SUBLKS_UUID: c_int = 1 << 3;
const BLKID_SUBLKS_TYPE: c_int = 1 << 5;
const BLKID_SUBLKS_SECTYPE: c_int = 1 << 6;
const BLKID_SUBLKS_USAGE: c_int = 1 << 7;
const BLKID_SUBLKS_VERSION: c_int = 1 << 8;
/// Since version 2.39; older ones ignore it.
const BLKID_SUBLKS_FSINFO: c_int = 1 << 11;

/// What the program asks for without options.
pub(super) const TAGS: c_int =
    BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_SECTYPE;

/// What the program asks for in a low-level probe.
pub(super) const ALL_TAGS: c_int =
    TAGS | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_VERSION | BLKID_SUBLKS_FSINFO;

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
type Value = unsafe extern "C" fn(
    Handle,
    c_int,
    *mut *const c_char,
    *mut *const c_char,
    *mut usize,
) -> c_int;
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
    device_size: Long = "blkid_probe_get_size";
    enable_superblocks: Switch = "blkid_probe_enable_superblocks";
    set_superblocks_flags: Switch = "blkid_probe_set_superblocks_flags";
    enable_topology: Switch = "blkid_probe_enable_topology";
    safeprobe: Int = "blkid_do_safeprobe";
    fullprobe: Int = "blkid_do_fullprobe";
    values: Int = "blkid_probe_numof_values";
    value: Value = "blkid_probe_get_value";
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
        let unusable = |error: libloading::Error| unusable(Library::Blkid, &error);
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

/// What a search has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something was recognised.
    Found,
    /// Nothing was.
    Nothing,
    /// There are the signatures of several things.
    Ambivalent,
}

/// What a search looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Chains {
    /// Superblocks, with these tags.
    pub(super) superblocks: Option<c_int>,
    /// Partition tables.
    pub(super) partitions: bool,
    /// How the device wants to be read.
    pub(super) topology: bool,
}

/// Searches of a device.
impl Probe<'_> {
    /// The size of the device, in bytes.
    pub(super) fn size(&self) -> i64 {
        // SAFETY: the probe is there.
        unsafe { (self.functions.device_size)(self.handle) }
    }

    /// Looks for all that there is, and takes care that it is only one thing.
    ///
    /// # Errors
    ///
    /// The errno of reading.
    pub(super) fn safeprobe(&self, chains: Chains) -> Result<Outcome> {
        self.search(chains, self.functions.safeprobe, "blkid_do_safeprobe")
    }

    /// Looks for the first of each kind.
    ///
    /// # Errors
    ///
    /// The errno of reading.
    pub(super) fn fullprobe(&self, chains: Chains) -> Result<Outcome> {
        self.search(chains, self.functions.fullprobe, "blkid_do_fullprobe")
    }

    fn search(&self, chains: Chains, function: Int, name: &str) -> Result<Outcome> {
        let functions = self.functions;
        let switches = [
            (
                functions.enable_superblocks,
                c_int::from(chains.superblocks.is_some()),
            ),
            (
                functions.set_superblocks_flags,
                chains.superblocks.unwrap_or_default(),
            ),
            (functions.enable_partitions, c_int::from(chains.partitions)),
            (functions.enable_topology, c_int::from(chains.topology)),
        ];
        for (switch, value) in switches {
            // SAFETY: the probe is there.
            check(unsafe { switch(self.handle, value) }, name)?;
        }
        Errno::clear();
        // SAFETY: the probe is there, with its device.
        match unsafe { function(self.handle) } {
            0 => Ok(Outcome::Found),
            1 => Ok(Outcome::Nothing),
            -2 => Ok(Outcome::Ambivalent),
            failed => check(failed, name).map(|()| Outcome::Nothing),
        }
    }

    /// What the last search has found, in the order of the library.
    pub(super) fn values(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        // SAFETY: the probe is there.
        let count = unsafe { (self.functions.values)(self.handle) };
        (0..count).filter_map(|number| self.value(number)).collect()
    }

    fn value(&self, number: c_int) -> Option<(Vec<u8>, Vec<u8>)> {
        let (mut name, mut data, mut len) = (null(), null(), 0);
        // SAFETY: the probe is there, and the pointers are to variables.
        let wrong =
            unsafe { (self.functions.value)(self.handle, number, &mut name, &mut data, &mut len) };
        if wrong != 0 || name.is_null() || data.is_null() {
            return None;
        }
        // SAFETY: the probe keeps the name, which is a string, and `len` bytes of data.
        let (name, data) = unsafe {
            (
                CStr::from_ptr(name).to_bytes(),
                std::slice::from_raw_parts(data.cast::<u8>(), len),
            )
        };
        // A string has its NUL in its length, and maybe more than one.
        let data = data.split(|&byte| byte == 0).next().unwrap_or_default();
        Some((name.to_vec(), data.to_vec()))
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
        let table = self.handle;
        self.all_partitions()
            .filter(move |partition| partition.table() == Some(table))
    }

    /// The partitions that are in this table, and in tables inside its partitions.
    pub(super) fn all_partitions(&self) -> impl Iterator<Item = Partition<'a>> {
        let (functions, list) = (self.functions, self.list);
        // SAFETY: the probe is there.
        let count = unsafe { (functions.count)(list) };
        (0..count).filter_map(move |n| {
            // SAFETY: the probe is there, and has as many partitions.
            let handle = unsafe { (functions.partition)(list, n) }?;
            Some(Partition { functions, handle })
        })
    }
}

/// A partition, as long as the probe is there.
pub(super) struct Partition<'a> {
    functions: &'a Functions,
    handle: Handle,
}

impl Partition<'_> {
    fn table(&self) -> Option<Handle> {
        // SAFETY: the probe is there.
        unsafe { (self.functions.table_of)(self.handle) }
    }

    /// The kind of table that it is in.
    pub(super) fn scheme(&self) -> Vec<u8> {
        self.table().map_or(Vec::new(), |table| {
            // SAFETY: the probe is there.
            text(unsafe { (self.functions.table_kind)(table) })
        })
    }

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
