//! Fields of headers, and records of extended ones.

/// Longest name that fits into a header.
pub(super) const NAME_MAX: usize = 100;

/// Fills a field as far as it goes.
pub(super) fn put(field: &mut [u8; NAME_MAX], text: &[u8]) {
    let len = text.len().min(field.len());
    let (Some(to), Some(from)) = (field.get_mut(..len), text.get(..len)) else {
        return;
    };
    to.copy_from_slice(from);
}

/// A number before 1970, as a binary number of the field's length.
pub(super) fn put_negative(field: &mut [u8; 12], number: i64) {
    field.fill(0xff);
    if let Some(low) = field.last_chunk_mut() {
        *low = number.to_be_bytes();
    }
}

/// `LENGTH KEY=VALUE` and a newline, where the length counts its own digits.
pub(super) fn put_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    loop {
        let with_digits = rest + len.to_string().len();
        if with_digits == len {
            break;
        }
        len = with_digits;
    }
    records.extend_from_slice(format!("{len} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// A time as a decimal fraction. The nanoseconds go forward from the second, also
/// before 1970.
pub(super) fn decimal(seconds: i64, nanoseconds: i64) -> String {
    if seconds >= 0 {
        return format!("{seconds}.{nanoseconds:09}");
    }
    let back = 1_000_000_000 - nanoseconds;
    format!("-{}.{back:09}", (seconds + 1).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        let mut records = Vec::new();
        put_record(&mut records, b"k", b"v");
        put_record(&mut records, b"key", &[b'x'; 90]);
        assert!(records.starts_with(b"6 k=v\n99 key=") || records.starts_with(b"6 k=v\n98 key="));
        let second = records.len() - 6;
        let stated: usize = str::from_utf8(&records[6..8]).unwrap().parse().unwrap();
        assert_eq!(stated, second);
    }

    #[test]
    fn times_before_1970_are_binary() {
        let mut field = [0; 12];
        put_negative(&mut field, -2);
        assert_eq!(
            field,
            [255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 254]
        );
    }

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(decimal(5, 7), "5.000000007");
        assert_eq!(decimal(-1, 999_999_999), "-0.000000001");
        assert_eq!(decimal(-7, 7), "-6.999999993");
    }
}
