//! Numbers in text that C programs have read before.

/// A number as `strtol` reads it when it is to find the base itself: decimal,
/// octal after `0`, hexadecimal after `0x`; after blanks and perhaps a sign.
/// `None` if anything follows, or if it does not fit.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text =
        text.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || letter == '\x0b');
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, base) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (digits, 10),
    };
    // The library's function takes another sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i64::from_str_radix(digits, base).ok()?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, number) in [
            ("0", 0),
            ("00", 0),
            ("42", 42),
            (" \t42", 42),
            ("+7", 7),
            ("-7", -7),
            ("010", 8),
            ("-0x10", -16),
            ("0XfF", 255),
            ("4294967296", 1 << 32),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for wrong in [
            "",
            " ",
            "-",
            "+-1",
            "--1",
            "08",
            "0x",
            "0x-1",
            "0-1",
            "5 ",
            "5x",
            "x",
            "9223372036854775808",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
