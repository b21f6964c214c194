//! Reading the text forms of an access control list: the long one, the short
//! one, and any mixture, as libacl takes them.

use crate::number;

use super::{Entry, Names, Tag};

/// What is left of a text.
pub(super) struct Reader<'t> {
    rest: &'t str,
    /// Entries may end in a number that counts more than the name, as in archives.
    numbers: bool,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str, numbers: bool) -> Self {
        Self {
            rest: text,
            numbers,
        }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'t str {
        self.rest
    }

    /// All entries, in the order of the text; `None` if what [`Reader::rest`]
    /// begins with is no entry.
    pub(super) fn entries(&mut self, names: &mut Names) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        while !self.rest.is_empty() {
            let before = self.rest;
            let Some(entry) = self.entry(names) else {
                self.rest = before;
                return None;
            };
            entries.push(entry);
            self.skip_blanks();
            if self.skip(',') {
                self.skip_blanks();
            }
        }
        Some(entries)
    }

    fn entry(&mut self, names: &mut Names) -> Option<Entry> {
        self.skip_blanks();
        let (tag, name) = match self.rest.chars().next()? {
            'u' => self.named("user", Tag::Owner, Tag::User)?,
            'g' => self.named("group", Tag::OwningGroup, Tag::Group)?,
            'm' => (self.unnamed("mask", Tag::Mask)?, ""),
            'o' => (self.unnamed("other", Tag::Other)?, ""),
            _ => return None,
        };
        let permissions = self.permissions()?;
        let number = if self.numbers && self.skip(':') {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            self.take(end).parse().ok()
        } else {
            None
        };
        let id = match tag {
            Tag::User => number.or_else(|| names.user(name))?,
            Tag::Group => number.or_else(|| names.group(name))?,
            _ => super::NO_ID,
        };
        Some(Entry {
            tag,
            id,
            permissions,
        })
    }

    /// The beginning of an entry that may have a name.
    fn named(&mut self, word: &str, without: Tag, with: Tag) -> Option<(Tag, &'t str)> {
        self.word(word)?;
        let name = self.name();
        Some((if name.is_empty() { without } else { with }, name))
    }

    /// The beginning of an entry that has none; its colon may be missing.
    fn unnamed(&mut self, word: &str, tag: Tag) -> Option<Tag> {
        self.word(word)?;
        self.skip_blanks();
        self.skip(':');
        Some(tag)
    }

    /// The word, or its first letter.
    fn word(&mut self, word: &str) -> Option<()> {
        let after = self.rest.strip_prefix(word);
        let short = || self.rest.strip_prefix(|first| word.starts_with(first));
        self.rest = after.or_else(short)?;
        self.skip_blanks();
        (self.skip(':') || self.rest.starts_with(',')).then_some(())
    }

    /// A name and the colon after it. Blanks before a name belong to it.
    fn name(&mut self) -> &'t str {
        let mut ahead = Reader::new(self.rest, false);
        ahead.skip_blanks();
        let blanks = self.rest.len() - ahead.rest.len();
        let end = ahead.rest.find([':', ',', '\r', '\n']);
        let name = self.take(blanks + end.unwrap_or(ahead.rest.len()));
        self.skip(':');
        name
    }

    fn permissions(&mut self) -> Option<u16> {
        let mut permissions = 0;
        for count in 0..3 {
            let bit = match self.rest.chars().next() {
                Some('r') => 4,
                Some('w') => 2,
                Some('x') => 1,
                Some('-') => 0,
                _ if count > 0 => break,
                _ => return None,
            };
            if permissions & bit != 0 {
                return None;
            }
            permissions |= bit;
            self.take(1);
        }
        Some(permissions)
    }

    /// Passes over blanks and line ends, and then a comment up to its line's end.
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        if self.rest.starts_with('#') {
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn skip(&mut self, letter: char) -> bool {
        let after = self.rest.strip_prefix(letter);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn take(&mut self, len: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

/// The number of a user or group. Negative ones have 16 bits, as they had once.
pub(super) fn id(text: &str) -> Option<u32> {
    match number::parse(text)? {
        number if number < 0 => Some((number & 0xffff) as u32),
        number => number.try_into().ok(),
    }
}
