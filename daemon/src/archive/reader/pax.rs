//! Extended headers: what their records say about the member that follows.

use protocol::Result;

use super::{bad_record, bad_sparse};
use crate::archive::member::{ACL_ACCESS, ACL_DEFAULT, Member, SELINUX, XATTR_PREFIX};

/// What extended headers say about a file with holes.
#[derive(Default)]
pub(super) struct PaxSparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) pieces: Vec<(u64, u64)>,
    /// The offset of a piece whose length comes next.
    offset: Option<u64>,
    /// The pieces are described at the beginning of the data.
    pub(super) in_data: bool,
}

/// Has a member be what a record says of it.
pub(super) fn apply(
    member: &mut Member,
    pax: &mut PaxSparse,
    key: &[u8],
    value: &[u8],
) -> Result<()> {
    match key {
        b"path" if !value.is_empty() => member.name = value.to_vec(),
        b"linkpath" if !value.is_empty() => member.link = value.to_vec(),
        b"size" if !value.is_empty() => member.stored = parse(value)?,
        b"uid" if !value.is_empty() => member.uid = parse(value)?,
        b"gid" if !value.is_empty() => member.gid = parse(value)?,
        b"mtime" if !value.is_empty() => {
            member.mtime = parse_time(value).ok_or_else(bad_record)?;
        }
        b"GNU.sparse.name" => pax.name = Some(value.to_vec()),
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => pax.size = Some(parse(value)?),
        b"GNU.sparse.major" => pax.in_data = value == b"1",
        b"GNU.sparse.offset" => pax.offset = Some(parse(value)?),
        b"GNU.sparse.numbytes" => {
            let offset = pax.offset.take().ok_or_else(bad_sparse)?;
            pax.pieces.push((offset, parse(value)?));
        }
        b"GNU.sparse.map" => {
            let numbers: Vec<u64> = value
                .split(|&b| b == b',')
                .map(parse)
                .collect::<Result<_>>()?;
            pax.pieces = numbers
                .chunks_exact(2)
                .filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)))
                .collect();
        }
        ACL_ACCESS => member.attributes.acl_access = Some(value.to_vec()),
        ACL_DEFAULT => member.attributes.acl_default = Some(value.to_vec()),
        SELINUX => member.attributes.selinux = Some(value.to_vec()),
        _ => {
            if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                let pair = (decode_key(name), value.to_vec());
                member.attributes.xattrs.push(pair);
            }
        }
    }
    Ok(())
}

/// The records of an extended header: `LENGTH KEY=VALUE` and a newline each.
pub(super) fn parse_records(mut bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    // Some writers fill up with NULs.
    while bytes.first().is_some_and(|&byte| byte != 0) {
        let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
        let len: usize = str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        let (key, value) = record.split_at(equals);
        records.push((key.to_vec(), value.get(1..)?.to_vec()));
        bytes = bytes.get(len..)?;
    }
    Some(records)
}

/// In keys made of attribute names `=` and `%` are written as `%3D` and `%25`.
fn decode_key(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"%3D") {
            out.push(b'=');
            rest = after;
        } else if let Some(after) = rest.strip_prefix(b"%25") {
            out.push(b'%');
            rest = after;
        } else {
            out.push(byte);
            rest = after;
        }
    }
    out
}

fn parse<T: std::str::FromStr>(value: &[u8]) -> Result<T> {
    str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(bad_record)
}

/// Decimal seconds with an optional fraction.
fn parse_time(value: &[u8]) -> Option<(i64, i64)> {
    let text = str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: i64 = digits
        .parse()
        .ok()
        .filter(|&nanoseconds| nanoseconds >= 0)?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}
