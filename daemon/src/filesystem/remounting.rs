//! Other options for what is mounted already.
//!
//! mount(8) would find out the name of the mountpoint and go by that, which is elsewhere if the
//! guest has made a link of a directory meanwhile. So its words are understood here, as far as
//! they are for mounts that exist.

use std::os::fd::OwnedFd;

use nix::mount::{MsFlags, mount};
use protocol::Result;

use crate::guest::descriptor_path;
use crate::mounts::{MS_NOSYMFOLLOW, Mount};

/// Words for flags of mount(2): what sets each, and what takes it away.
const FLAGS: [(&str, &str, MsFlags); 16] = [
    ("ro", "rw", MsFlags::MS_RDONLY),
    ("nosuid", "suid", MsFlags::MS_NOSUID),
    ("nodev", "dev", MsFlags::MS_NODEV),
    ("noexec", "exec", MsFlags::MS_NOEXEC),
    ("nosymfollow", "symfollow", MS_NOSYMFOLLOW),
    ("sync", "async", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", "", MsFlags::MS_DIRSYNC),
    ("mand", "nomand", MsFlags::MS_MANDLOCK),
    ("noatime", "atime", MsFlags::MS_NOATIME),
    ("nodiratime", "diratime", MsFlags::MS_NODIRATIME),
    ("relatime", "norelatime", MsFlags::MS_RELATIME),
    ("strictatime", "nostrictatime", MsFlags::MS_STRICTATIME),
    ("lazytime", "nolazytime", MsFlags::MS_LAZYTIME),
    ("iversion", "noiversion", MsFlags::MS_I_VERSION),
    ("silent", "loud", MsFlags::MS_SILENT),
    ("bind", "", MsFlags::MS_BIND),
];

/// Words for programs, of which the kernel is not told.
const FOR_PROGRAMS: [&str; 14] = [
    "remount", "defaults", "auto", "noauto", "nouser", "nousers", "noowner", "nogroup", "_netdev",
    "nofail", "user", "users", "owner", "group",
];

/// What begins such words.
const FOR_PROGRAMS_BEGIN: [&str; 4] = ["x-", "X-", "comment=", "user="];

/// A mount's new options.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    flags: MsFlags,
    /// The filesystem's own, separated by commas.
    data: Vec<u8>,
}

impl Change {
    /// No change yet.
    pub(super) fn keeping(mount: &Mount) -> Self {
        Self {
            flags: mount.flags() | mount.super_flags(),
            data: Vec::new(),
        }
    }

    pub(super) fn set_read_only(&mut self, read_only: bool) {
        self.flags.set(MsFlags::MS_RDONLY, read_only);
    }

    /// What the words of mount(8) ask for, if `remount` is one of them.
    pub(super) fn parse(options: &[u8]) -> Option<Self> {
        let words = words(options);
        if !words.contains(&&b"remount"[..]) {
            return None;
        }
        let mut change = Self {
            flags: MsFlags::empty(),
            data: Vec::new(),
        };
        for word in words {
            change.take(word);
        }
        Some(change)
    }

    fn take(&mut self, word: &[u8]) {
        for (set, clear, flag) in FLAGS {
            if word == set.as_bytes() {
                self.flags |= flag;
                return;
            }
            if word == clear.as_bytes() {
                self.flags -= flag;
                return;
            }
        }
        // Who else may mount gets no privileges by it.
        self.flags |= match word {
            b"user" | b"users" => MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            b"owner" | b"group" => MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            _ => MsFlags::empty(),
        };
        let is = |name: &&str| word == name.as_bytes();
        let begins = |start: &&str| word.starts_with(start.as_bytes());
        if FOR_PROGRAMS.iter().any(is) || FOR_PROGRAMS_BEGIN.iter().any(begins) {
            return;
        }
        if !self.data.is_empty() {
            self.data.push(b',');
        }
        self.data.extend_from_slice(word);
    }

    /// Makes the change to what is mounted on a directory.
    ///
    /// # Errors
    ///
    /// The errno of mount(2): EINVAL if nothing is mounted there, or for a word that the filesystem
    /// does not know.
    pub(super) fn apply(&self, mountpoint: &OwnedFd) -> Result<()> {
        let data = (!self.data.is_empty()).then_some(&self.data[..]);
        let flags = MsFlags::MS_REMOUNT | self.flags;
        let none = None::<&str>;
        Ok(mount(
            none,
            &descriptor_path(mountpoint),
            none,
            flags,
            data,
        )?)
    }
}

/// What is between commas that are not within quotes.
fn words(options: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    options
        .split(|&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        })
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_flags_and_the_rest_is_the_filesystems() {
        assert_eq!(Change::parse(b"ro,noatime"), None);
        assert_eq!(Change::parse(b"x=\"a,remount\""), None);
        let options = b"remount,ro,nodev,,data=journal,dev,x-a.b=c,context=\"a:b,ro\",rw,_netdev";
        let change = Change::parse(options).expect("remount");
        assert_eq!(change.flags, MsFlags::empty());
        assert_eq!(change.data, b"data=journal,context=\"a:b,ro\"");
        let change = Change::parse(b"user,exec,ro,remount").expect("remount");
        let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
        assert_eq!((change.flags, &change.data[..]), (kept, &b""[..]));
        let change = Change::parse(b"nosymfollow,remount").expect("remount");
        assert_eq!((change.flags, &change.data[..]), (MS_NOSYMFOLLOW, &b""[..]));
    }
}
