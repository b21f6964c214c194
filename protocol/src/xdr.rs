//! XDR (RFC 4506), as far as the protocol uses it.

use std::fmt;

use crate::wire::MESSAGE_MAX;

/// How much memory a list gets before its first item, at most.
const LIST_START: usize = 1 << 20;

/// Why bytes could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The bytes end too early.
    Truncated,
    /// A boolean is neither 0 nor 1.
    Bool,
    /// A string has a NUL inside.
    Nul,
    /// A string that must be UTF-8 is not.
    Utf8,
    /// A hash table's list has an odd number of strings.
    OddMap,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends too early",
            Self::Bool => "a boolean is neither 0 nor 1",
            Self::Nul => "a string has a NUL character inside",
            Self::Utf8 => "a string is not valid UTF-8",
            Self::OddMap => "a hash table has a key without a value",
        })
    }
}

impl std::error::Error for Malformed {}

/// Reads XDR values off the front of a slice. Nothing is allocated for what
/// the slice does not hold.
#[derive(Debug, Clone, Copy)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// `len` raw bytes, without padding.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self
            .rest
            .split_at_checked(len)
            .ok_or(Malformed::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Malformed::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// `unsigned int`
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// `int`
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    /// `unsigned hyper`
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// `hyper`
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    /// `float`
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn f32(&mut self) -> Result<f32, Malformed> {
        self.u32().map(f32::from_bits)
    }

    /// `bool`
    ///
    /// # Errors
    ///
    /// [`Malformed`]
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Bool),
        }
    }

    /// `opaque[N]`
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let bytes = self.array()?;
        self.raw(padding(N))?;
        Ok(bytes)
    }

    /// `opaque<>`
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`]
    pub fn opaque(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        let bytes = self.raw(len)?;
        self.raw(padding(len))?;
        Ok(bytes)
    }

    /// `string<>`: bytes without a NUL.
    ///
    /// # Errors
    ///
    /// [`Malformed`]
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.opaque()?;
        if bytes.contains(&0) {
            return Err(Malformed::Nul);
        }
        Ok(bytes)
    }

    /// `string<>` that is UTF-8.
    ///
    /// # Errors
    ///
    /// [`Malformed`]
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed::Utf8)
    }

    /// A list, each item read by `item`. An item takes at least 4 bytes, so
    /// the list's length is checked against what is left before allocating.
    ///
    /// # Errors
    ///
    /// [`Malformed`]
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let len = self.u32()? as usize;
        if len > self.rest.len() / 4 {
            return Err(Malformed::Truncated);
        }
        // Items may be larger in memory than on the wire: grow as they come.
        let mut items = Vec::with_capacity(len.min(LIST_START / size_of::<T>().max(1)));
        for _ in 0..len {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// An optional value (`*` in XDR).
    ///
    /// # Errors
    ///
    /// [`Malformed`]
    pub fn optional<T>(
        &mut self,
        item: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.bool()? {
            item(self).map(Some)
        } else {
            Ok(None)
        }
    }
}

fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}

/// Appends XDR values to a message of at most [`MESSAGE_MAX`] bytes.
///
/// What does not fit is not stored; [`Encoder::overflowed`] tells.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
    base: usize,
    overflowed: bool,
}

impl Encoder {
    /// An empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on after `bytes`, which do not count towards the limit.
    pub fn after(bytes: Vec<u8>) -> Self {
        Self {
            base: bytes.len(),
            bytes,
            overflowed: false,
        }
    }

    /// Something did not fit.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The bytes, with those it began with.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes so far, with those it began with.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was appended, and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(self.base);
        self.overflowed = false;
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.overflowed || bytes.len() > MESSAGE_MAX - (self.bytes.len() - self.base) {
            self.overflowed = true;
            return;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// `unsigned int`
    pub fn u32(&mut self, value: u32) {
        self.push(&value.to_be_bytes());
    }

    /// `int`
    pub fn i32(&mut self, value: i32) {
        self.push(&value.to_be_bytes());
    }

    /// `unsigned hyper`
    pub fn u64(&mut self, value: u64) {
        self.push(&value.to_be_bytes());
    }

    /// `hyper`
    pub fn i64(&mut self, value: i64) {
        self.push(&value.to_be_bytes());
    }

    /// `float`
    pub fn f32(&mut self, value: f32) {
        self.u32(value.to_bits());
    }

    /// `bool`
    pub fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    /// `opaque[N]`
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.push(bytes);
        self.push(&[0; 3][..padding(bytes.len())]);
    }

    /// The length of a variable-length value.
    pub fn len(&mut self, len: usize) {
        match u32::try_from(len) {
            Ok(len) => self.u32(len),
            Err(_) => self.overflowed = true,
        }
    }

    /// `opaque<>` and `string<>`
    pub fn opaque(&mut self, bytes: &[u8]) {
        self.len(bytes.len());
        self.fixed(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_padded() {
        let mut out = Encoder::new();
        out.opaque(b"abcde");
        out.bool(true);
        let bytes = out.into_bytes();
        assert_eq!(bytes, b"\0\0\0\x05abcde\0\0\0\0\0\0\x01");
        let mut input = Decoder::new(&bytes);
        assert_eq!(input.string(), Ok(&b"abcde"[..]));
        assert_eq!(input.bool(), Ok(true));
        assert!(input.is_empty());
    }

    #[test]
    fn a_list_longer_than_the_message_is_refused_before_allocating() {
        let bytes = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(
            Decoder::new(&bytes).list(|d| d.u32()),
            Err(Malformed::Truncated)
        );
    }

    #[test]
    fn strings_are_checked() {
        assert_eq!(
            Decoder::new(b"\0\0\0\x02a\0\0\0").string(),
            Err(Malformed::Nul)
        );
        assert_eq!(
            Decoder::new(b"\0\0\0\x01\xff\0\0\0").text(),
            Err(Malformed::Utf8)
        );
        assert_eq!(
            Decoder::new(b"\0\0\0\x05abcde\0\0").string(),
            Err(Malformed::Truncated),
            "padding is part of the string"
        );
        assert_eq!(Decoder::new(b"\0\0\0\x02").bool(), Err(Malformed::Bool));
    }

    #[test]
    fn what_is_cleared_goes_on_after_what_it_began_with() {
        let mut out = Encoder::after(vec![7; 4]);
        out.fixed(&vec![0; MESSAGE_MAX + 1]);
        assert!(out.overflowed());
        out.clear();
        assert!(!out.overflowed());
        out.u32(1);
        assert_eq!(out.bytes(), [7, 7, 7, 7, 0, 0, 0, 1]);
    }

    #[test]
    fn a_message_stops_at_its_limit() {
        let mut out = Encoder::after(vec![0; 4]);
        out.fixed(&vec![0; MESSAGE_MAX]);
        assert!(!out.overflowed());
        out.u32(0);
        assert!(out.overflowed());
        assert_eq!(out.into_bytes().len(), MESSAGE_MAX + 4);
    }
}
