//! POSIX access control lists: their text form, and the form in which Linux
//! keeps them in extended attributes.

use std::fmt::Write;

use nix::errno::Errno;
use protocol::{Error, Result};

use crate::accounts::Accounts;

/// The extended attribute that holds the list that guards a file.
pub(crate) const ACCESS: &str = "system.posix_acl_access";
/// The extended attribute that holds what new entries of a directory inherit.
pub(crate) const DEFAULT: &str = "system.posix_acl_default";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
/// What stands in for the number in entries that have none.
const NO_ID: u32 = u32::MAX;

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
        let entries = entries
            .iter()
            .map(|&[t0, t1, p0, p1, i0, i1, i2, i3]| {
                Ok(Entry {
                    tag: Tag::from_number(u16::from_le_bytes([t0, t1])).ok_or_else(malformed)?,
                    permissions: u16::from_le_bytes([p0, p1]) & 7,
                    id: u32::from_le_bytes([i0, i1, i2, i3]),
                })
            })
            .collect::<Result<_>>()?;
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

    /// Whether there are no entries at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Reads the long or the short text form.
    ///
    /// # Errors
    ///
    /// EINVAL if it cannot be understood.
    pub(crate) fn from_text(text: &str) -> Result<Self> {
        let mut names = Names::default();
        let mut entries = Vec::new();
        for line in text.split('\n') {
            let line = line.split('#').next().unwrap_or_default();
            let mut parts = line.split(',').peekable();
            while let Some(part) = parts.next() {
                let part = part.trim();
                // A comma may end a line, but not stand alone.
                if part.is_empty() && parts.peek().is_none() {
                    break;
                }
                entries.push(Entry::from_text(part, &mut names).ok_or_else(|| {
                    Error::os(Errno::EINVAL, format!("'{part}' is no entry of an ACL"))
                })?);
            }
        }
        entries.sort_by_key(|entry| (entry.tag, entry.id));
        Ok(Self { entries })
    }

    /// Checks that the entries belong together.
    ///
    /// # Errors
    ///
    /// EINVAL if one that must be there is missing, or one is there twice.
    pub(crate) fn check(&self) -> Result<()> {
        let count = |tag| self.entries.iter().filter(|entry| entry.tag == tag).count();
        let named = count(Tag::User) + count(Tag::Group) > 0;
        let twice = self
            .entries
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if (a.tag, a.id) == (b.tag, b.id)));
        let complete = [Tag::Owner, Tag::OwningGroup, Tag::Other]
            .into_iter()
            .all(|tag| count(tag) == 1);
        if !complete || twice || (named && count(Tag::Mask) == 0) {
            return Err(Error::from(Errno::EINVAL));
        }
        Ok(())
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

impl Entry {
    fn from_text(text: &str, names: &mut Names) -> Option<Self> {
        let mut fields = text.split(':');
        let word = fields.next()?;
        let second = fields.next()?;
        let third = fields.next();
        // Some archives have the number of a name as a fourth field.
        let number = fields.next().and_then(number);
        if fields.next().is_some() {
            return None;
        }
        let (tag, permissions) = match (word, second, third) {
            ("user" | "u", "", Some(permissions)) => (Tag::Owner, permissions),
            ("user" | "u", _, Some(permissions)) => (Tag::User, permissions),
            ("group" | "g", "", Some(permissions)) => (Tag::OwningGroup, permissions),
            ("group" | "g", _, Some(permissions)) => (Tag::Group, permissions),
            ("mask" | "m", "", Some(permissions)) => (Tag::Mask, permissions),
            ("mask" | "m", permissions, None) => (Tag::Mask, permissions),
            ("other" | "o", "", Some(permissions)) => (Tag::Other, permissions),
            ("other" | "o", permissions, None) => (Tag::Other, permissions),
            _ => return None,
        };
        let id = match tag {
            Tag::User => number.or_else(|| names.user(second))?,
            Tag::Group => number.or_else(|| names.group(second))?,
            _ => NO_ID,
        };
        Some(Self {
            tag,
            id,
            permissions: permissions_from(permissions)?,
        })
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
        number(name).or_else(|| self.users().number(name))
    }

    fn group(&mut self, name: &str) -> Option<u32> {
        number(name).or_else(|| self.groups().number(name))
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

/// A number as C has it: decimal, octal or hexadecimal.
fn number(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(digits, 16).ok();
    }
    if text.len() > 1 && text.starts_with('0') {
        return u32::from_str_radix(text, 8).ok();
    }
    if text.starts_with('+') {
        return None;
    }
    text.parse().ok()
}

fn letters(permissions: u16) -> String {
    [(4, 'r'), (2, 'w'), (1, 'x')]
        .into_iter()
        .map(|(bit, letter)| if permissions & bit == 0 { '-' } else { letter })
        .collect()
}

fn permissions_from(text: &str) -> Option<u16> {
    if text.is_empty() || text.len() > 3 {
        return None;
    }
    let mut permissions = 0;
    for letter in text.chars() {
        let bit = match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            '-' => 0,
            _ => return None,
        };
        if permissions & bit != 0 {
            return None;
        }
        permissions |= bit;
    }
    Some(permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Acl::from_text(text).ok().map(|acl| acl.to_numeric_text())
    }

    #[test]
    fn both_text_forms_are_understood() {
        let long = "user::rwx\nuser:500:rw-\ngroup::--x\nmask::rwx\nother::--x\n";
        assert_eq!(
            text("u::rwx,g::x,mask:rwx,o::x,u:500:rw").as_deref(),
            Some(long)
        );
        assert_eq!(text(long).as_deref(), Some(long));
        assert_eq!(
            text("u:0500:r,g:0x10:r").as_deref(),
            Some("user:320:r--\ngroup:16:r--\n")
        );
        assert_eq!(text("# none\n\n u::r #x\n").as_deref(), Some("user::r--\n"));
        assert_eq!(text("").as_deref(), Some(""));
        for wrong in [
            "u:rwx,g::x",
            "u::rwx,,g::x",
            "u::rr",
            "u::",
            "d:u::r",
            "m:5:r",
            "u::R",
        ] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
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
        assert!(acl.check().is_ok());
        assert_eq!(Acl::from_xattr(&acl.to_xattr()).unwrap(), acl);
        assert!(Acl::from_xattr(&[2, 0, 0]).is_err());
        assert!(Acl::from_xattr(&[2, 0, 0, 0, 1]).is_err());
        assert!(Acl::from_xattr(&[2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn incomplete_lists_are_found() {
        for wrong in ["u::r,g::r", "u::r,g::r,o::r,u:1:r", "u::r,u::r,g::r,o::r"] {
            assert!(Acl::from_text(wrong).unwrap().check().is_err(), "{wrong}");
        }
        assert!(Acl::from_mode(0o750).check().is_ok());
        assert_eq!(
            Acl::from_mode(0o754).to_numeric_text(),
            "user::rwx\ngroup::r-x\nother::r--\n"
        );
    }
}
