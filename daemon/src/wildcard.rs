//! Shell wildcards over bytes: what fnmatch(3) does in the C locale.

/// Whether a leading dot of the name must be matched by a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dot {
    /// A wildcard matches it too.
    Free,
    /// Only a dot in the pattern matches it.
    Explicit,
}

/// Whether `name` as a whole matches `pattern`. No character is special in
/// `name`, `/` neither.
pub(crate) fn matches(pattern: &[u8], name: &[u8], dot: Dot) -> bool {
    if dot == Dot::Explicit && name.first() == Some(&b'.') && !begins_with_dot(pattern) {
        return false;
    }
    // Where to go on when what follows the last star does not match: one byte further.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let (mut pattern, mut name) = (pattern, name);
    loop {
        if let Some((b'*', rest)) = pattern.split_first().map(|(&b, rest)| (b, rest)) {
            pattern = rest;
            retry = Some((pattern, name));
            continue;
        }
        if pattern.is_empty() && name.is_empty() {
            return true;
        }
        if let Some((&byte, name_rest)) = name.split_first()
            && let Some(pattern_rest) = one(pattern, byte)
        {
            (pattern, name) = (pattern_rest, name_rest);
            continue;
        }
        match retry {
            Some((after_star, [_, from @ ..])) => {
                (pattern, name) = (after_star, from);
                retry = Some((pattern, name));
            }
            _ => return false,
        }
    }
}

/// Whether a component has characters that make it a pattern.
pub(crate) fn is_pattern(component: &[u8]) -> bool {
    let last_end = component.iter().rposition(|&byte| byte == b']');
    let mut rest = component;
    while let Some((&byte, after)) = rest.split_first() {
        let at = component.len() - rest.len();
        match byte {
            b'*' | b'?' => return true,
            b'[' if last_end.is_some_and(|end| end > at) => return true,
            b'\\' => rest = after.get(1..).unwrap_or_default(),
            _ => rest = after,
        }
    }
    false
}

/// Takes away the backslashes that quote.
pub(crate) fn unquote(component: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(component.len());
    let mut bytes = component.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => out.push(bytes.next().unwrap_or(b'\\')),
            _ => out.push(byte),
        }
    }
    out
}

fn begins_with_dot(pattern: &[u8]) -> bool {
    pattern.starts_with(b".") || pattern.starts_with(b"\\.")
}

/// Matches one byte against the pattern's first element, which is no star, and
/// gives what follows that element.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (&first, rest) = pattern.split_first()?;
    match first {
        b'?' => Some(rest),
        b'\\' => match rest.split_first() {
            Some((&quoted, rest)) => (quoted == byte).then_some(rest),
            None => (byte == b'\\').then_some(rest),
        },
        b'[' => match bracket(rest, byte) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            // Without its end it is an ordinary character.
            None => (byte == b'[').then_some(rest),
        },
        _ => (first == byte).then_some(rest),
    }
}

/// A bracket expression after its `[`: whether it has `byte`, and what follows
/// it. `None` if it has no end.
fn bracket(expression: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match expression {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, expression),
    };
    let mut found = false;
    let mut first = true;
    loop {
        let (&head, after) = rest.split_first()?;
        if head == b']' && !first {
            return Some((found != negated, after));
        }
        first = false;
        if head == b'['
            && let Some((hit, after)) = class(after, byte)
        {
            found |= hit;
            rest = after;
            continue;
        }
        let (low, after) = element(rest)?;
        let range = after
            .strip_prefix(b"-")
            .filter(|rest| rest.first() != Some(&b']'));
        match range {
            Some(to) => {
                let (high, after) = element(to)?;
                found |= (low..=high).contains(&byte);
                rest = after;
            }
            None => {
                found |= low == byte;
                rest = after;
            }
        }
    }
}

fn element(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (&head, after) = rest.split_first()?;
    if head == b'\\' {
        return after.split_first().map(|(&quoted, after)| (quoted, after));
    }
    // [.x.] and [=x=] of a single byte are that byte.
    if head == b'['
        && let [kind @ (b'.' | b'='), byte, end, b']', after @ ..] = after
        && kind == end
    {
        return Some((*byte, after));
    }
    Some((head, after))
}

/// `[:alpha:]` and its like, after the inner `[`.
fn class(rest: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let rest = rest.strip_prefix(b":")?;
    let end = rest.windows(2).position(|pair| pair == b":]")?;
    let (name, after) = rest.split_at(end);
    let hit = match name {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"punct" => byte.is_ascii_punctuation(),
        b"print" => matches!(byte, b' '..=b'~'),
        b"graph" => byte.is_ascii_graphic(),
        b"cntrl" => byte.is_ascii_control(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return None,
    };
    Some((hit, after.get(2..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(pattern: &str, name: &str) -> bool {
        matches(pattern.as_bytes(), name.as_bytes(), Dot::Free)
    }

    #[test]
    fn stars_and_question_marks() {
        assert!(free("a*c", "abc") && free("a*c", "ac") && free("a*c", "a/b/c"));
        assert!(free("*.tar.*", "x.tar.gz") && !free("*.tar.*", "x.tar"));
        assert!(free("a?c", "abc") && !free("a?c", "ac"));
        assert!(free("*", "") && free("**", "xyz") && !free("", "x"));
        assert!(free("*a*a*a*b", "aaaaaaaaaaaaaaab") && !free("*a*a*b*c", "aaaaaaaaaaaaaaa"));
    }

    #[test]
    fn brackets() {
        assert!(free("[a-c]x", "bx") && !free("[a-c]x", "dx"));
        assert!(free("[!a-c]", "d") && !free("[^a-c]", "b"));
        assert!(free("[]]", "]") && free("[a-]", "-") && free("[\\]]", "]"));
        assert!(free("[[:digit:]x]", "7") && free("[[:digit:]x]", "x"));
        assert!(free("[ab", "[ab") && free("[[.a.]b]", "a"));
    }

    #[test]
    fn quoting_and_dots() {
        assert!(free("\\*", "*") && !free("\\*", "x") && free("a\\", "a\\"));
        assert!(!matches(b"*", b".x", Dot::Explicit) && matches(b".*", b".x", Dot::Explicit));
        assert!(!matches(b"[.]x", b".x", Dot::Explicit) && matches(b"\\.x", b".x", Dot::Explicit));
        assert!(
            is_pattern(b"a*") && is_pattern(b"[x]") && !is_pattern(b"[x") && !is_pattern(b"\\*")
        );
        assert!(!is_pattern(b"]x[") && !is_pattern(b"\\[x]") && is_pattern(b"][x\\]"));
        assert_eq!(unquote(b"\\*a\\"), b"*a\\");
    }
}
