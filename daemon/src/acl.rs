//! POSIX access control lists: their text form, and the form in which Linux
//! keeps them in extended attributes.

mod text;

use std::fmt::Write;
use std::os::fd::AsFd;

use nix::errno::Errno;
use protocol::{Error, Result};

use crate::accounts::Accounts;
use crate::xattr;
use text::Reader;

/// The extended attribute that holds the list that guards a file.
pub(crate) const ACCESS: &str = "system.posix_acl_access";
/// The extended attribute that holds what new entries of a directory inherit.
pub(crate) const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
/// What stands in for the number in entries that have none.
const NO_ID: u32 = u32::MAX;

/// Takes the lists off a file that it inherited from its directory, or had before, but for those
/// that `is_own` says are its own. The permission bits stay.
pub(crate) fn remove_others(file: &impl AsFd, is_own: impl Fn(&str) -> bool) {
    for name in [ACCESS, DEFAULT] {
        if !is_own(name) {
            // Most files have none, and some filesystems have none at all.
            let _ = xattr::remove(file, name.as_bytes());
        }
    }
}

/// An access control list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Acl {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    tag: Tag,
    id: u32,
    /// read 4, write 2, execute 1
    permissions: u16,
}

/// In the order in which the entries of a list stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner = 0x01,
    User = 0x02,
    OwningGroup = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

impl Acl {
    /// The list that says what permission bits say.
    pub(crate) fn from_mode(mode: u32) -> Self {
        let entry = |tag, shift: u32| Entry {
            tag,
            id: NO_ID,
            permissions: ((mode >> shift) & 7) as u16,
        };
        Self {
            entries: vec![
                entry(Tag::Owner, 6),
                entry(Tag::OwningGroup, 3),
                entry(Tag::Other, 0),
            ],
        }
    }

    /// Reads the value of the extended attribute.
    ///
    /// # Errors
    ///
    /// EINVAL if it is malformed.
    pub(crate) fn from_xattr(value: &[u8]) -> Result<Self> {
        let malformed = || Error::with_errno(Errno::EINVAL, "malformed access control list");
        let (version, entries) = value.split_first_chunk::<HEADER>().ok_or_else(malformed)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(malformed());
        }
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            return Err(malformed());
        }
        let mut entries: Vec<Entry> = entries
            .iter()
            .map(|&[t0, t1, p0, p1, i0, i1, i2, i3]| {
                Ok(Entry {
                    tag: Tag::from_number(u16::from_le_bytes([t0, t1])).ok_or_else(malformed)?,
                    permissions: u16::from_le_bytes([p0, p1]) & 7,
                    id: u32::from_le_bytes([i0, i1, i2, i3]),
                })
            })
            .collect::<Result<_>>()?;
        // The kernel takes users and groups in any order.
        entries.sort_by_key(|entry| (entry.tag, entry.id));
        Ok(Self { entries })
    }

    /// The value of the extended attribute.
    pub(crate) fn to_xattr(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for entry in &self.entries {
            value.extend_from_slice(&(entry.tag as u16).to_le_bytes());
            value.extend_from_slice(&entry.permissions.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        value
    }

    /// Reads the text forms.
    ///
    /// # Errors
    ///
    /// EINVAL if it cannot be understood. Whether the entries make up a list
    /// is for the kernel to say, when it is set.
    pub(crate) fn from_text(text: &str) -> Result<Self> {
        Self::read(Reader::new(text, false))
    }

    /// Reads the form that archives have, where the numbers of names may follow.
    ///
    /// # Errors
    ///
    /// Those of [`Acl::from_text`].
    pub(crate) fn from_archive(text: &str) -> Result<Self> {
        Self::read(Reader::new(text, true))
    }

    fn read(mut reader: Reader<'_>) -> Result<Self> {
        let Some(mut entries) = reader.entries(&mut Names::default()) else {
            let shown: String = reader.rest().chars().take(80).collect();
            return Err(Error::os(Errno::EINVAL, format!("at '{shown}'")));
        };
        entries.sort_by_key(|entry| (entry.tag, entry.id));
        Ok(Self { entries })
    }

    /// The long text form, an entry a line, with names where the appliance
    /// knows them, and with a note where the mask takes something away.
    pub(crate) fn to_text(&self) -> String {
        self.render(&mut Names::default(), true)
    }

    /// The long text form with numbers and without notes.
    pub(crate) fn to_numeric_text(&self) -> String {
        let mut names = Names {
            numeric: true,
            ..Names::default()
        };
        self.render(&mut names, false)
    }

    fn render(&self, names: &mut Names, notes: bool) -> String {
        let mask = self
            .entries
            .iter()
            .find(|entry| entry.tag == Tag::Mask)
            .map(|entry| entry.permissions);
        let mut text = String::new();
        for entry in &self.entries {
            let (word, name) = match entry.tag {
                Tag::Owner => ("user", String::new()),
                Tag::User => ("user", names.user_name(entry.id)),
                Tag::OwningGroup => ("group", String::new()),
                Tag::Group => ("group", names.group_name(entry.id)),
                Tag::Mask => ("mask", String::new()),
                Tag::Other => ("other", String::new()),
            };
            let permissions = letters(entry.permissions);
            // Writing to a string cannot fail.
            let _ = write!(text, "{word}:{name}:{permissions}");
            let masked = matches!(entry.tag, Tag::User | Tag::OwningGroup | Tag::Group);
            let effective = entry.permissions & mask.unwrap_or(7);
            if notes && masked && effective != entry.permissions {
                let _ = write!(text, "\t#effective:{}", letters(effective));
            }
            text.push('\n');
        }
        text
    }
}

impl Tag {
    fn from_number(number: u16) -> Option<Self> {
        [
            Self::Owner,
            Self::User,
            Self::OwningGroup,
            Self::Group,
            Self::Mask,
            Self::Other,
        ]
        .into_iter()
        .find(|&tag| tag as u16 == number)
    }
}

/// Looks names up when the first one is needed.
#[derive(Default)]
struct Names {
    numeric: bool,
    users: Option<Accounts>,
    groups: Option<Accounts>,
}

impl Names {
    fn users(&mut self) -> &Accounts {
        self.users.get_or_insert_with(Accounts::users)
    }

    fn groups(&mut self) -> &Accounts {
        self.groups.get_or_insert_with(Accounts::groups)
    }

    fn user(&mut self, name: &str) -> Option<u32> {
        text::id(name).or_else(|| self.users().number(name))
    }

    fn group(&mut self, name: &str) -> Option<u32> {
        text::id(name).or_else(|| self.groups().number(name))
    }

    fn user_name(&mut self, id: u32) -> String {
        let name = if self.numeric {
            None
        } else {
            self.users().name(id)
        };
        name.map_or_else(|| id.to_string(), str::to_owned)
    }

    fn group_name(&mut self, id: u32) -> String {
        let name = if self.numeric {
            None
        } else {
            self.groups().name(id)
        };
        name.map_or_else(|| id.to_string(), str::to_owned)
    }
}

fn letters(permissions: u16) -> String {
    [(4, 'r'), (2, 'w'), (1, 'x')]
        .into_iter()
        .map(|(bit, letter)| if permissions & bit == 0 { '-' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Acl::from_text(text).ok().map(|acl| acl.to_numeric_text())
    }

    #[test]
    fn entries_of_an_attribute_are_put_in_order() {
        let sorted = Acl::from_text("u::rwx,u:5:r,u:500:w,g::r,g:5:x,g:9:r,m::rwx,o::-").unwrap();
        let value = sorted.to_xattr();
        let (header, entries) = value.split_at(HEADER);
        let reversed: Vec<u8> = entries.rchunks(ENTRY).flatten().copied().collect();
        let read = Acl::from_xattr(&[header, &reversed].concat()).unwrap();
        assert_eq!(read, sorted);
    }

    #[test]
    fn text_is_read_as_by_libacl() {
        let long = "user::rwx\nuser:500:rw-\ngroup::--x\nmask::rwx\nother::--x\n";
        for (from, to) in [
            ("u::rwx,g::x,mask:rwx,o::x,u:500:rw", long),
            (long, long),
            ("u:0500:r,g:0x10:r", "user:320:r--\ngroup:16:r--\n"),
            ("u:-1:r,u:+5:r", "user:5:r--\nuser:65535:r--\n"),
            ("u::r #x\n\tg::r,#y", "user::r--\ngroup::r--\n"),
            ("u::rwxg::rwo:x", "user::rwx\ngroup::rw-\nother::--x\n"),
            ("g ::-, o :r", "group::---\nother::r--\n"),
            ("m::r,\r\no::--x", "mask::r--\nother::--x\n"),
            ("", ""),
        ] {
            assert_eq!(text(from).as_deref(), Some(to), "{from}");
        }
        for wrong in [
            "u:rwx,g::x",
            "u::rwx,,g::x",
            ",u::r",
            "u::rr",
            "u::rwxr",
            "u::",
            "u",
            "us::r",
            "users::r",
            "d:u::r",
            "m:5:r",
            "m : : r",
            "u::R",
            "u:5 :r",
            "u:4294967296:r",
            // A blank is a name too, which nobody has.
            "u : :r",
            "u:: r",
            "u::rw:1",
            // Comments are for the ends of lines with an entry.
            "#a\nu::r",
        ] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_of_archives_count_more_than_names() {
        let read = |text| Acl::from_archive(text).map(|acl| acl.to_numeric_text());
        let named = "user::rw-,user:of-another-machine:r--:500,group::r--\nother::---\n";
        let expected = "user::rw-\nuser:500:r--\ngroup::r--\nother::---\n";
        assert_eq!(read(named).unwrap(), expected);
        assert_eq!(read(expected).unwrap(), expected);
        assert!(Acl::from_text(named).is_err());
    }

    #[test]
    fn what_the_mask_takes_away_is_noted() {
        // No appliance has a user of this number.
        let acl = Acl::from_text("u::rw,u:3999999:rwx,g::rw,m::r,o::-").unwrap();
        assert_eq!(
            acl.to_text(),
            "user::rw-\nuser:3999999:rwx\t#effective:r--\ngroup::rw-\t#effective:r--\n\
             mask::r--\nother::---\n"
        );
    }

    #[test]
    fn attributes_survive_both_ways() {
        let acl = Acl::from_text("u::rwx,u:500:r,g::r,m::r,o::-").unwrap();
        assert_eq!(Acl::from_xattr(&acl.to_xattr()).unwrap(), acl);
        assert!(Acl::from_xattr(&[2, 0, 0]).is_err());
        assert!(Acl::from_xattr(&[2, 0, 0, 0, 1]).is_err());
        assert!(Acl::from_xattr(&[2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn the_mode_is_a_list_too() {
        assert_eq!(
            Acl::from_mode(0o754).to_numeric_text(),
            "user::rwx\ngroup::r-x\nother::r--\n"
        );
    }
}
