//! Extended attributes, ACLs, capabilities and SELinux contexts.

mod capabilities;
mod relabel;

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use protocol::api::{AttributesActions, SelinuxRelabelOptions, SetfilesOptions, Xattr};
use protocol::{Context, EncodedList, Error, Filename, GuestPath, List, Result};

use capabilities::Capabilities;
use relabel::Relabel;

use crate::acl::{self, Acl};
use crate::guest::{Guest, file_type};
use crate::{Daemon, xattr};

/// Where the kernel has the daemon's security context.
const OWN_CONTEXT: &str = "/proc/self/attr/current";

/// What errors call it.
const OWN_CONTEXT_NAME: &str = "SELinux context of the daemon";

impl AttributesActions for Daemon {
    fn getxattrs(&mut self, path: GuestPath) -> Result<List<Xattr>> {
        let attributes = all(&self.guest.handle(&path)?).context(&path)?;
        Ok(attributes.into())
    }

    fn lgetxattrs(&mut self, path: GuestPath) -> Result<List<Xattr>> {
        let attributes = all(&self.guest.handle_nofollow(&path)?).context(&path)?;
        Ok(attributes.into())
    }

    fn setxattr(&mut self, xattr: &[u8], val: &[u8], vallen: i32, path: GuestPath) -> Result<()> {
        let value = checked_value(val, vallen)?;
        let handle = self.guest.handle(&path)?;
        xattr::set(&handle, xattr, &value).context(&path)
    }

    fn lsetxattr(&mut self, xattr: &[u8], val: &[u8], vallen: i32, path: GuestPath) -> Result<()> {
        let value = checked_value(val, vallen)?;
        let handle = self.guest.handle_nofollow(&path)?;
        xattr::set(&handle, xattr, &value).context(&path)
    }

    fn removexattr(&mut self, xattr: &[u8], path: GuestPath) -> Result<()> {
        let handle = self.guest.handle(&path)?;
        xattr::remove(&handle, xattr).context(&path)
    }

    fn lremovexattr(&mut self, xattr: &[u8], path: GuestPath) -> Result<()> {
        let handle = self.guest.handle_nofollow(&path)?;
        xattr::remove(&handle, xattr).context(&path)
    }

    fn getxattr(&mut self, path: GuestPath, name: &[u8]) -> Result<Vec<u8>> {
        let handle = self.guest.handle(&path)?;
        xattr::get(&handle, name).context(&path)
    }

    fn lgetxattr(&mut self, path: GuestPath, name: &[u8]) -> Result<Vec<u8>> {
        let handle = self.guest.handle_nofollow(&path)?;
        xattr::get(&handle, name).context(&path)
    }

    fn internal_lxattrlist(
        &mut self,
        path: GuestPath,
        names: Vec<Filename>,
    ) -> Result<List<Xattr>> {
        // Neither a missing directory nor a file that cannot be read is an error.
        let directory = self.guest.handle(&path).ok();
        let mut found = EncodedList::default();
        for name in &names {
            let handle = nofollow(&self.guest, &path, directory.as_ref(), name);
            let attributes = match handle.map(|handle| all(&handle)) {
                Some(Err(error)) if error.errno() == Some(Errno::E2BIG) => {
                    return Err(error).context(&path);
                }
                attributes => attributes.and_then(Result::ok),
            };
            let count = match &attributes {
                Some(attributes) => format!("{}\0", attributes.len()).into_bytes(),
                None => Vec::new(),
            };
            let before = Xattr {
                attrname: Vec::new(),
                attrval: count,
            };
            found.push(&before).context(&path)?;
            found
                .append(&attributes.unwrap_or_default())
                .context(&path)?;
        }
        Ok(found.into())
    }

    fn setcon(&mut self, context: &[u8]) -> Result<()> {
        std::fs::write(OWN_CONTEXT, [context, b"\0"].concat()).context(OWN_CONTEXT_NAME)
    }

    fn getcon(&mut self) -> Result<Vec<u8>> {
        let mut context = std::fs::read(OWN_CONTEXT).context(OWN_CONTEXT_NAME)?;
        while matches!(context.last(), Some(b'\0' | b'\n')) {
            context.pop();
        }
        Ok(context)
    }

    fn acl_get_file(&mut self, path: GuestPath, acltype: &str) -> Result<String> {
        let name = acl_attribute(acltype)?;
        let handle = self.guest.handle(&path)?;
        let acl = match xattr::get(&handle, name.as_bytes()) {
            Ok(value) => Acl::from_xattr(&value).context(&path)?,
            Err(Errno::ENODATA) => {
                let stat = fstat(&handle).context(&path)?;
                if name == acl::ACCESS {
                    Acl::from_mode(stat.st_mode)
                } else if file_type(&stat) == SFlag::S_IFDIR {
                    Acl::default()
                } else {
                    return Err(Error::os(Errno::EACCES, &path));
                }
            }
            Err(errno) => return Err(Error::os(errno, &path)),
        };
        Ok(acl.to_text())
    }

    fn acl_set_file(&mut self, path: GuestPath, acltype: &str, acl: &str) -> Result<()> {
        let name = acl_attribute(acltype)?;
        let parsed =
            Acl::from_text(acl).with_context(|| format!("could not parse acl string: {acl}"))?;
        let handle = self.guest.handle(&path)?;
        xattr::set(&handle, name.as_bytes(), &parsed.to_xattr()).context(&path)
    }

    fn acl_delete_def_file(&mut self, dir: GuestPath) -> Result<()> {
        let handle = self.guest.handle(&dir)?;
        match xattr::remove(&handle, acl::DEFAULT.as_bytes()) {
            Ok(()) | Err(Errno::ENODATA) => Ok(()),
            Err(errno) => Err(Error::os(errno, &dir)),
        }
    }

    fn cap_get_file(&mut self, path: GuestPath) -> Result<String> {
        let handle = self.guest.handle(&path)?;
        match xattr::get(&handle, capabilities::ATTRIBUTE) {
            Ok(value) => Ok(Capabilities::from_xattr(&value).context(&path)?.to_text()),
            Err(Errno::ENODATA) => Ok(String::new()),
            Err(errno) => Err(Error::os(errno, &path)),
        }
    }

    fn cap_set_file(&mut self, path: GuestPath, cap: &str) -> Result<()> {
        let parsed = Capabilities::from_text(cap)
            .with_context(|| format!("could not parse cap string: {cap}"))?;
        let handle = self.guest.handle_nofollow(&path)?;
        if file_type(&fstat(&handle).context(&path)?) != SFlag::S_IFREG {
            let subject = format!("{path}: not a regular file");
            return Err(Error::os(Errno::EINVAL, subject));
        }
        let value = parsed.to_xattr().context(&path)?;
        xattr::set(&handle, capabilities::ATTRIBUTE, &value).context(&path)
    }

    fn selinux_relabel(
        &mut self,
        specfile: &[u8],
        path: GuestPath,
        options: SelinuxRelabelOptions,
    ) -> Result<()> {
        let relabel = Relabel {
            specfile,
            paths: &[path],
            excludes: &[],
            force: options.force.unwrap_or_default(),
        };
        relabel.run(&self.guest)
    }

    fn setfiles(
        &mut self,
        specfile: &[u8],
        paths: Vec<GuestPath>,
        options: SetfilesOptions<'_>,
    ) -> Result<()> {
        let relabel = Relabel {
            specfile,
            paths: &paths,
            excludes: &options.excludes.unwrap_or_default(),
            force: options.force.unwrap_or_default(),
        };
        relabel.run(&self.guest)
    }
}

/// All attributes of a file, sorted by name.
fn all(file: &impl AsFd) -> Result<EncodedList<Xattr>> {
    let mut names = xattr::list(file).context("listxattr")?;
    names.sort();
    let mut all = EncodedList::default();
    for attrname in names {
        let attrval = xattr::get(file, &attrname).context("getxattr")?;
        all.push(&Xattr { attrname, attrval })
            .context("listxattr")?;
    }
    Ok(all)
}

/// What `name` names in a directory of the guest; `None` if there is nothing.
fn nofollow(
    guest: &Guest,
    path: &GuestPath,
    directory: Option<&OwnedFd>,
    name: &Filename,
) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match name.as_bytes() {
        // Above the guest's root there is nothing.
        b".." => guest.handle_nofollow(&path.join(b"..")).ok(),
        _ => openat(directory?, name.as_os_str(), flags, Mode::empty()).ok(),
    }
}

/// The part of a value that is to be set.
///
/// The string has lost the NUL that ends it in the library, and callers may count that as a part of
/// the value: SELinux' labels have one.
fn checked_value(value: &[u8], len: i32) -> Result<Cow<'_, [u8]>> {
    let len = usize::try_from(len)
        .map_err(|_| Error::with_errno(Errno::EINVAL, "vallen must not be negative"))?;
    if len > xattr::VALUE_MAX {
        return Err(Error::with_errno(
            Errno::E2BIG,
            "extended attribute is too large",
        ));
    }
    if len.checked_sub(1) == Some(value.len()) {
        return Ok([value, b"\0"].concat().into());
    }
    value.get(..len).map(Cow::Borrowed).ok_or_else(|| {
        let message = format!("vallen is {len}, but val has only {} bytes", value.len());
        Error::with_errno(Errno::EINVAL, message)
    })
}

fn acl_attribute(acltype: &str) -> Result<&'static str> {
    match acltype {
        "access" => Ok(acl::ACCESS),
        "default" => Ok(acl::DEFAULT),
        _ => Err(Error::with_errno(
            Errno::EINVAL,
            format!("invalid acltype parameter: {acltype}"),
        )),
    }
}
