//! Expanding wildcard patterns inside the guest, as glob(3) does.

use protocol::{Error, GuestPath, Result};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use crate::guest::{Guest, file_type};
use crate::room::Strings;
use crate::wildcard::{self, Dot};

/// Alternatives that braces may make of one pattern.
const ALTERNATIVES_MAX: usize = 4096;

/// How much memory the alternatives may take, and the paths that match the
/// beginning of a pattern.
const MEMORY_MAX: usize = 64 << 20;

/// How many bytes of patterns are looked at while their braces are replaced.
const LOOKED_AT_MAX: usize = 256 << 20;

/// The paths that match, sorted for each alternative of a brace.
pub(super) fn expand(guest: &Guest, pattern: &[u8], mark: bool) -> Result<Vec<Vec<u8>>> {
    let mut patterns = Vec::new();
    braces(pattern, &mut patterns)?;
    let mut found = Strings::default();
    for pattern in &patterns {
        let mut paths = matches(guest, pattern)?;
        if mark {
            for path in &mut paths {
                if !path.ends_with(b"/") && is_directory(guest, path) {
                    path.push(b'/');
                }
            }
        }
        paths.sort();
        for path in paths {
            found.push(path)?;
        }
    }
    Ok(found.into_vec())
}

/// The paths that match a pattern without braces, in any order.
fn matches(guest: &Guest, pattern: &[u8]) -> Result<Vec<Vec<u8>>> {
    let Some(pattern) = unquoted_slashes(pattern) else {
        return Ok(Vec::new());
    };
    // What has matched so far, with the slashes of the pattern.
    let mut bases: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = pattern.as_slice();
    let mut by_wildcard = true;
    let mut after_wildcard = false;
    while !rest.is_empty() && !bases.is_empty() {
        let first = rest.len() == pattern.len();
        let slashes = rest.iter().take_while(|&&byte| byte == b'/').count();
        let (separator, after) = rest.split_at(slashes);
        let len = after
            .iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(after.len());
        let (component, after) = after.split_at(len);
        rest = after;
        if component.is_empty() {
            // A slash at the end asks wildcards for directories only, and is
            // left off what a name spelt out finds besides.
            bases.retain_mut(|base| {
                let directory = base.is_empty() || is_directory(guest, base);
                if directory {
                    base.push(b'/');
                }
                directory || (!by_wildcard && exists(guest, base))
            });
            break;
        }
        by_wildcard = wildcard::is_pattern(component);
        let last = rest.iter().all(|&byte| byte == b'/');
        let kept = match slashes {
            2 if first && (by_wildcard || last) => 1,
            more if after_wildcard => more.min(2),
            all => all,
        };
        let separator = separator.get(..kept).unwrap_or(separator);
        let mut next = Found::default();
        if by_wildcard {
            after_wildcard = true;
            for mut base in bases {
                base.extend_from_slice(separator);
                entries(guest, &base, component, &mut next)?;
            }
        } else {
            let name = [separator, &wildcard::unquote(component)].concat();
            for base in bases {
                next.push([base.as_slice(), &name].concat())?;
            }
            if rest.is_empty() {
                next.paths.retain(|path| exists(guest, path));
            }
        }
        bases = next.paths;
    }
    Ok(bases)
}

/// A pattern without the backslashes that quote slashes, which mean nothing. `None` if there is
/// nothing that the last one could quote: then nothing matches.
fn unquoted_slashes(pattern: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'/' => out.push(b'/'),
            quoted => out.extend([b'\\', quoted]),
        }
    }
    Some(out)
}

/// Paths that match a part of a pattern.
#[derive(Default)]
struct Found {
    paths: Vec<Vec<u8>>,
    memory: usize,
}

impl Found {
    fn push(&mut self, path: Vec<u8>) -> Result<()> {
        self.memory += size_of_val(&path) + path.capacity();
        if self.memory > MEMORY_MAX {
            return Err(too_large("paths that match a part of it"));
        }
        self.paths.push(path);
        Ok(())
    }
}

fn too_large(what: &str) -> Error {
    too_much(&format!("{what}: they take more than {MEMORY_MAX} bytes"))
}

fn too_much(what: &str) -> Error {
    Error::with_errno(Errno::E2BIG, format!("the pattern has too many {what}"))
}

/// Entries of a directory that match. A directory that cannot be read has none.
fn entries(guest: &Guest, base: &[u8], component: &[u8], found: &mut Found) -> Result<()> {
    let Ok(mut dir) = guest.directory(&GuestPath::new(base)?) else {
        return Ok(());
    };
    for entry in dir.iter() {
        let Ok(entry) = entry else {
            break;
        };
        let name = entry.file_name().to_bytes();
        if wildcard::matches(component, name, Dot::Explicit) {
            let mut path = base.to_vec();
            path.extend_from_slice(name);
            found.push(path)?;
        }
    }
    Ok(())
}

fn exists(guest: &Guest, path: &[u8]) -> bool {
    GuestPath::new(path).is_ok_and(|path| guest.lstat(&path).is_ok())
}

fn is_directory(guest: &Guest, path: &[u8]) -> bool {
    GuestPath::new(path)
        .and_then(|path| guest.stat(&path))
        .is_ok_and(|stat| file_type(&stat) == SFlag::S_IFDIR)
}

/// All that a pattern stands for once its braces are replaced by each of their
/// alternatives.
fn braces(pattern: &[u8], out: &mut Vec<Vec<u8>>) -> Result<()> {
    let mut todo = vec![pattern.to_vec()];
    // None is longer than what it is made of.
    let memory = |alternatives: usize| alternatives.saturating_mul(pattern.len());
    let mut looked_at = 0;
    while let Some(next) = todo.pop() {
        // A long pattern of many braces takes long, even if each has one alternative.
        looked_at += next.len();
        if looked_at > LOOKED_AT_MAX {
            return Err(too_much("braces"));
        }
        match first_brace(&next) {
            None => out.push(next),
            Some((before, alternatives, after)) => {
                for alternative in alternatives.iter().rev() {
                    todo.push([before, alternative, after].concat());
                }
            }
        }
        if memory(out.len() + todo.len()) > MEMORY_MAX {
            return Err(too_large("alternatives"));
        }
        if out.len() + todo.len() > ALTERNATIVES_MAX {
            return Err(too_much(&format!(
                "alternatives: more than {ALTERNATIVES_MAX}"
            )));
        }
    }
    Ok(())
}

/// What stands before a brace, its alternatives, and what stands after it.
type Braced<'p> = (&'p [u8], Vec<&'p [u8]>, &'p [u8]);

/// The first brace that has an end.
fn first_brace(pattern: &[u8]) -> Option<Braced<'_>> {
    let mut start = 0;
    while start < pattern.len() {
        match pattern.get(start)? {
            b'\\' => start += 2,
            b'{' => break,
            _ => start += 1,
        }
    }
    let inner = pattern.get(start + 1..)?;
    let mut alternatives = Vec::new();
    let (mut depth, mut from, mut at) = (0_usize, 0, 0);
    loop {
        match inner.get(at)? {
            b'\\' => at += 1,
            b'{' => depth += 1,
            b',' if depth == 0 => {
                alternatives.push(inner.get(from..at)?);
                from = at + 1;
            }
            b'}' if depth == 0 => {
                alternatives.push(inner.get(from..at)?);
                return Some((pattern.get(..start)?, alternatives, inner.get(at + 1..)?));
            }
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alternatives(pattern: &str) -> Vec<String> {
        let mut out = Vec::new();
        braces(pattern.as_bytes(), &mut out).unwrap();
        out.into_iter()
            .map(|each| String::from_utf8(each).unwrap())
            .collect()
    }

    #[test]
    fn braces_give_alternatives_in_order() {
        assert_eq!(alternatives("/{b,a}x"), ["/bx", "/ax"]);
        assert_eq!(
            alternatives("/{a{1,2},b}{c,d}"),
            ["/a1c", "/a1d", "/a2c", "/a2d", "/bc", "/bd"]
        );
        assert_eq!(alternatives("/{a}"), ["/a"]);
        assert_eq!(alternatives("/a{}b"), ["/ab"]);
        assert_eq!(alternatives("/{a,{}}"), ["/a", "/"]);
        assert_eq!(alternatives("/a{b"), ["/a{b"]);
        assert_eq!(alternatives("/\\{a,b}"), ["/\\{a,b}"]);
        let mut out = Vec::new();
        assert!(braces("{a,b}".repeat(20).as_bytes(), &mut out).is_err());
        let long = format!("/{}{}", "x".repeat(1 << 20), "{a,b}".repeat(8));
        let error = braces(long.as_bytes(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::E2BIG));
        let error = braces("{a}".repeat(1 << 20).as_bytes(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::E2BIG));
    }
}
