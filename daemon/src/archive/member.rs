//! What the members of a tar archive are.

/// A member as its headers describe it; its data follow in the archive.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member {
    /// The name as it is in the archive.
    pub(crate) name: Vec<u8>,
    /// The target of a symbolic or hard link.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits, with the set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, i64),
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    /// Bytes in the archive.
    pub(crate) stored: u64,
    /// Where those bytes belong, if the file has holes.
    pub(crate) sparse: Option<Sparse>,
    pub(crate) attributes: Attributes,
}

/// The kinds that the format knows, and that end up in a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    #[default]
    Regular,
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// Stands in the archive for its reader only; nothing to make.
    Note,
    /// The rest of a file whose beginning is in another archive.
    Continuation,
}

impl Member {
    /// The memory that it takes besides its own structure.
    pub(crate) fn memory(&self) -> usize {
        let pieces = self
            .sparse
            .as_ref()
            .map_or(0, |sparse| size_of_val(&*sparse.pieces));
        self.name.len() + self.link.len() + pieces + self.attributes.memory()
    }
}

/// A file with holes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse {
    /// Its length, holes included.
    pub(crate) size: u64,
    /// Offset and length of each piece, in the order of the data.
    pub(crate) pieces: Vec<(u64, u64)>,
}

/// What extended headers may say about a file besides its metadata.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attributes {
    /// Extended attributes.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The access control lists as text, numeric.
    pub(crate) acl_access: Option<Vec<u8>>,
    pub(crate) acl_default: Option<Vec<u8>>,
    /// The SELinux context.
    pub(crate) selinux: Option<Vec<u8>>,
}

impl Attributes {
    /// What they take besides their own size.
    pub(crate) fn memory(&self) -> usize {
        let xattrs = self
            .xattrs
            .iter()
            .map(|(name, value)| size_of::<(Vec<u8>, Vec<u8>)>() + name.len() + value.len());
        let texts = [&self.acl_access, &self.acl_default, &self.selinux];
        let texts = texts.into_iter().flatten().map(Vec::len);
        xattrs.chain(texts).sum()
    }
}

/// The keys of extended headers that hold attributes.
pub(crate) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
pub(crate) const ACL_ACCESS: &[u8] = b"SCHILY.acl.access";
pub(crate) const ACL_DEFAULT: &[u8] = b"SCHILY.acl.default";
pub(crate) const SELINUX: &[u8] = b"RHT.security.selinux";
