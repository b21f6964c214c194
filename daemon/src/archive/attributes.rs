//! Attributes of files in archives.

use std::os::fd::AsFd;

use nix::errno::Errno;
use protocol::Error;

use super::member::{ACL_ACCESS, ACL_DEFAULT, Member, SELINUX, XATTR_PREFIX};
use crate::acl::{self, Acl};
use crate::{logging, xattr};

const CONTEXT: &[u8] = b"security.selinux";

/// Which attributes to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) xattrs: bool,
    pub(crate) selinux: bool,
    pub(crate) acls: bool,
}

impl Wanted {
    pub(crate) fn any(self) -> bool {
        self.xattrs || self.selinux || self.acls
    }
}

/// Gives a file the attributes of a member. What the filesystem cannot hold is
/// left out: archives are unpacked onto other filesystems than they came from.
/// Where ACLs are wanted, a file has those of its member only, and none that its
/// directory hands down.
pub(crate) fn restore(file: &impl AsFd, member: &Member, wanted: Wanted) {
    let attributes = &member.attributes;
    // First: what the others say of the same attributes counts more.
    if wanted.xattrs {
        for (name, value) in &attributes.xattrs {
            let result = xattr::set(file, name, value);
            report(member, name, result.map_err(Error::from));
        }
    }
    if wanted.acls {
        acl::remove_others(file, |name| {
            wanted.xattrs
                && attributes
                    .xattrs
                    .iter()
                    .any(|(own, _)| own == name.as_bytes())
        });
        for (name, text) in [
            (acl::ACCESS, &attributes.acl_access),
            (acl::DEFAULT, &attributes.acl_default),
        ] {
            if let Some(text) = text {
                let result = Acl::from_archive(&String::from_utf8_lossy(text))
                    .and_then(|acl| Ok(xattr::set(file, name.as_bytes(), &acl.to_xattr())?));
                report(member, name.as_bytes(), result);
            }
        }
    }
    if wanted.selinux
        && let Some(context) = &attributes.selinux
    {
        // The kernel's tools store contexts with their NUL.
        let mut value = context.clone();
        value.push(0);
        let result = xattr::set(file, CONTEXT, &value);
        report(member, CONTEXT, result.map_err(Error::from));
    }
}

fn report(member: &Member, name: &[u8], result: Result<(), Error>) {
    if let Err(error) = result {
        logging::debug(format_args!(
            "{}: {}: {error}",
            String::from_utf8_lossy(&member.name),
            String::from_utf8_lossy(name),
        ));
    }
}

/// The attributes of a file, as records of an extended header. A filesystem
/// that has no attributes gives none.
pub(crate) fn records(file: &impl AsFd, wanted: Wanted) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let all = match xattr::all(file) {
        Err(Errno::EOPNOTSUPP) => Vec::new(),
        all => all?,
    };
    let mut records = Vec::new();
    for (name, value) in all {
        let acl_key = match name.as_slice() {
            name if name == acl::ACCESS.as_bytes() => Some(ACL_ACCESS),
            name if name == acl::DEFAULT.as_bytes() => Some(ACL_DEFAULT),
            _ => None,
        };
        if wanted.acls
            && let Some(key) = acl_key
            && let Ok(acl) = Acl::from_xattr(&value)
        {
            records.push((key.to_vec(), acl.to_numeric_text().into_bytes()));
        }
        if wanted.selinux && name == CONTEXT {
            let context = value.strip_suffix(b"\0").unwrap_or(&value);
            records.push((SELINUX.to_vec(), context.to_vec()));
        }
        if wanted.xattrs {
            records.push((encode_key(&name), value));
        }
    }
    Ok(records)
}

fn encode_key(name: &[u8]) -> Vec<u8> {
    let mut key = XATTR_PREFIX.to_vec();
    for &byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            _ => key.push(byte),
        }
    }
    key
}
