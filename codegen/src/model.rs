//! The resolved form of the IDL: what the emitters read.
//!
//! A [`Model`] exists only when every check has passed, so the emitters need
//! no error handling: names are unique, references resolve, option bits are
//! dense and start at 0.

use std::path::PathBuf;

/// Everything that the IDL directory describes.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// One per `.idl` file, ordered by area and then by name.
    pub modules: Vec<Module>,
    /// One per file of `idl/worker`: the calls between the daemon and its workers, which are no
    /// part of the library's protocol.
    pub workers: Vec<Module>,
}

/// One `.idl` file.
#[derive(Debug, Clone)]
pub struct Module {
    /// The folder below `idl/`: `appliance`, `block`, `file`, `filesystem`, `guest` or `worker`.
    pub area: String,
    /// The file's name without `.idl`; unique over all areas.
    pub name: String,
    /// The file, as the caller of codegen named it.
    pub path: PathBuf,
    /// The `//!` lines.
    pub doc: Doc,
    /// Feature groups, in file order.
    pub features: Vec<Feature>,
    /// Structures, in file order.
    pub structs: Vec<Struct>,
    /// Actions, in file order.
    pub actions: Vec<Action>,
}

/// A description: the first line, and the paragraphs after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doc {
    /// One sentence.
    pub summary: String,
    /// The rest, in a small Markdown subset; may be empty.
    pub body: String,
}

/// A group of actions that is available as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Feature {
    /// The name that clients ask for.
    pub name: String,
    /// What the feature gives.
    pub doc: Doc,
    /// All must hold for the feature to be available.
    pub probes: Vec<Probe>,
    /// The library whose worker process serves the feature (`worker augeas;`).
    pub worker: Option<String>,
}

/// One condition for a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `always;`
    Always,
    /// `program "mkfs.xfs";`: the program is on PATH.
    Program(String),
    /// `kernel_filesystem "btrfs";`: the kernel knows the filesystem, perhaps after loading its module.
    KernelFilesystem(String),
    /// `path "/proc/sys/fs/inotify";`: the path exists in the appliance.
    Path(String),
    /// `library "libhivex.so.0";`: the shared library can be loaded.
    Library(String),
}

/// A structure on the wire.
#[derive(Debug, Clone)]
pub struct Struct {
    /// Its name; `guestfs_int_` is put before it in the `.x` file.
    pub name: String,
    /// What it describes.
    pub doc: Doc,
    /// Not part of the public API.
    pub internal: bool,
    /// In wire order.
    pub fields: Vec<Field>,
}

/// A field of a structure.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: FieldType,
    /// What it means and in which unit; may be empty.
    pub doc: Doc,
}

/// Types of structure fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// XDR `int`.
    Int32,
    /// XDR `unsigned int`.
    UInt32,
    /// XDR `hyper`.
    Int64,
    /// XDR `unsigned hyper`.
    UInt64,
    /// XDR `hyper`, a number of bytes.
    Bytes,
    /// 32 opaque bytes.
    Uuid,
    /// XDR `float`; -1 when there is no value.
    OptPercent,
    /// XDR `int` that holds one byte.
    Char,
    /// Bytes without a NUL.
    String,
    /// A string that names a device.
    Device,
    /// Any bytes.
    Buffer,
}

impl FieldType {
    /// How the IDL calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Int32 => "int32",
            Self::UInt32 => "uint32",
            Self::Int64 => "int64",
            Self::UInt64 => "uint64",
            Self::Bytes => "bytes",
            Self::Uuid => "uuid",
            Self::OptPercent => "optpercent",
            Self::Char => "char",
            Self::String => "string",
            Self::Device => "device",
            Self::Buffer => "buffer",
        }
    }
}

/// Who may call an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everyone.
    Public,
    /// Only the library, behind functions of its own.
    Internal,
    /// People who debug the daemon.
    Debug,
}

/// One remote procedure.
#[derive(Debug, Clone)]
pub struct Action {
    /// Its name, in snake case.
    pub name: String,
    /// Its procedure number.
    pub number: u32,
    /// Who may call it.
    pub visibility: Visibility,
    /// What it does.
    pub doc: Doc,
    /// In order; files are among them although they are not in the message.
    pub params: Vec<Param>,
    /// In order of their bits, which are 0, 1, 2, ...
    pub options: Vec<OptionParam>,
    /// What it gives back.
    pub result: Option<ResultValue>,
    /// The library version that first had it.
    pub since: String,
    /// The last client version that sends it, for `retired` actions.
    pub retired: Option<String>,
    /// The feature group it belongs to.
    pub feature: Option<String>,
    /// Set when callers should use something else.
    pub deprecated: Option<Deprecation>,
    /// It sends progress messages, and callers are told so.
    pub progress: bool,
    /// It sends progress messages that callers are not told of.
    pub progress_undocumented: bool,
    /// The caller may cancel it while the file streams.
    pub cancellable: bool,
    /// What it can carry is bounded by the message size.
    pub limit_protocol: bool,
    /// It had no options once, so bindings keep a form without them.
    pub once_optionless: bool,
    /// Other names in guestfish.
    pub aliases: Vec<String>,
    /// How guestfish prints the result.
    pub output: Option<OutputForm>,
    /// There is no handler yet.
    pub pending: bool,
}

/// What a deprecation points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deprecation {
    /// `deprecated;`
    NoReplacement,
    /// `deprecated by NAME;`
    By(String),
    /// `deprecated by library NAME;`: a function of the client library, not of the daemon.
    ByLibrary(String),
}

/// guestfish's `output` clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// `output hex;`
    Hex,
    /// `output octal;`
    Octal,
}

/// A parameter.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ParamType,
}

/// Types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamType {
    /// `string`: bytes without a NUL.
    String,
    /// `string?`: the same, or nothing.
    NullableString,
    /// `text`: a string that is UTF-8.
    Text,
    /// `guid`: a GUID in text form.
    Guid,
    /// `key`: a secret.
    Key,
    /// `pathname`: an absolute path in the guest.
    Pathname,
    /// `device`: a block device of the appliance.
    Device,
    /// `mountable`: a device or a btrfs subvolume.
    Mountable,
    /// `device_or_path`
    DeviceOrPath,
    /// `mountable_or_path`
    MountableOrPath,
    /// `buffer`: any bytes.
    Buffer,
    /// `int`: 32 bits, signed.
    Int,
    /// `int64`: 64 bits, signed.
    Int64,
    /// `bool`
    Bool,
    /// `file_in`: a stream from the library.
    FileIn,
    /// `file_out`: a stream to the library.
    FileOut,
    /// `descriptor`: an open file, for a worker.
    Descriptor,
    /// `list<...>`
    List(ListItem),
}

/// Element types of list parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListItem {
    /// `list<string>`
    String,
    /// `list<text>`
    Text,
    /// `list<pathname>`
    Pathname,
    /// `list<filename>`: names without a slash.
    Filename,
    /// `list<device>`
    Device,
}

/// An optional argument; its bit is its position.
#[derive(Debug, Clone)]
pub struct OptionParam {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: OptionType,
    /// What it does; may be empty.
    pub doc: Doc,
}

/// Types of optional arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionType {
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `string`
    String,
    /// `text`
    Text,
    /// `list<string>`
    StringList,
}

/// A result with its name on the wire.
#[derive(Debug, Clone)]
pub struct ResultValue {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ResultType,
}

/// Types of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultType {
    /// `int`
    Int,
    /// `int64`
    Int64,
    /// `bool`
    Bool,
    /// `buffer`
    Buffer,
    /// `string`, `text`, `device` or `mountable`
    Scalar(ResultItem),
    /// `list<string>` and its like
    List(ResultItem),
    /// `map<K, V>`
    Map(ResultItem, ResultItem),
    /// a structure
    Struct(String),
    /// `list<STRUCT>`
    StructList(String),
}

/// String-like results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultItem {
    /// Bytes without a NUL.
    String,
    /// A string that is UTF-8.
    Text,
    /// A device of the appliance, sent under the caller's name for it.
    Device,
    /// A device or a btrfs subvolume, sent under the caller's name for it.
    Mountable,
}

impl Module {
    /// These are calls between the daemon and a worker.
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.area == crate::WORKER_AREA
    }
}

impl Action {
    /// The handler gets a `Progress`.
    #[must_use]
    pub fn sends_progress(&self) -> bool {
        self.progress || self.progress_undocumented
    }
}
