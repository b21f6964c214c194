//! The primary volume descriptor of ISO 9660 (ECMA-119, section 8.4).

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use protocol::api::Isoinfo;
use protocol::{Context, Error, Result};

const SECTOR: usize = 2048;
/// The first 16 sectors are for the system.
const DESCRIPTOR: u64 = 16 * SECTOR as u64;

/// Reads the descriptor of an image or a disc, which is called `name` in errors.
///
/// # Errors
///
/// When there is none; the errno of reading.
pub(super) fn read(file: &File, name: &impl std::fmt::Display) -> Result<Isoinfo> {
    let mut sector = [0; SECTOR];
    match file.read_exact_at(&mut sector, DESCRIPTOR) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(none(name)),
        Err(error) => return Err(error).context(name),
    }
    parse(&sector).ok_or_else(|| none(name))
}

fn none(name: &impl std::fmt::Display) -> Error {
    Error::new(format!("{name}: not an ISO file or CD-ROM"))
}

fn parse(sector: &[u8; SECTOR]) -> Option<Isoinfo> {
    if !sector.starts_with(b"\x01CD001") {
        return None;
    }
    // Numbers stand there in both byte orders, of which the first is the little-endian one.
    let number32 = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(sector.get(at..at + 4)?.try_into().ok()?))
    };
    let number16 = |at: usize| -> Option<u32> {
        let bytes = sector.get(at..at + 2)?.try_into().ok()?;
        Some(u32::from(u16::from_le_bytes(bytes)))
    };
    let text = |at: usize, len: usize| -> Option<Vec<u8>> {
        let field = sector.get(at..at + len)?;
        let end = field
            .iter()
            .rposition(|&b| b != b' ')
            .map_or(0, |at| at + 1);
        // Spaces fill the field; what comes after a NUL is no text.
        let text = field.get(..end)?.split(|&b| b == 0).next()?;
        Some(text.to_vec())
    };
    let time = |at: usize| -> Option<i64> { Some(time(sector.get(at..at + 17)?).unwrap_or(-1)) };
    Some(Isoinfo {
        iso_system_id: text(8, 32)?,
        iso_volume_id: text(40, 32)?,
        iso_volume_space_size: number32(80)?,
        iso_volume_set_size: number16(120)?,
        iso_volume_sequence_number: number16(124)?,
        iso_logical_block_size: number16(128)?,
        iso_volume_set_id: text(190, 128)?,
        iso_publisher_id: text(318, 128)?,
        iso_data_preparer_id: text(446, 128)?,
        iso_application_id: text(574, 128)?,
        iso_copyright_file_id: text(702, 37)?,
        iso_abstract_file_id: text(739, 37)?,
        iso_bibliographic_file_id: text(776, 37)?,
        iso_volume_creation_t: time(813)?,
        iso_volume_modification_t: time(830)?,
        iso_volume_expiration_t: time(847)?,
        iso_volume_effective_t: time(864)?,
    })
}

/// `YYYYMMDDhhmmsscc` and the offset from Greenwich in quarters of an hour, as
/// seconds since the epoch; `None` if it is not set or no time.
fn time(field: &[u8]) -> Option<i64> {
    let (&zone, digits) = field.split_last()?;
    let number = |at: usize, len: usize| -> Option<i64> {
        digits.get(at..at + len)?.iter().try_fold(0, |sum, &digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(4, 2)?, number(6, 2)?);
    let (hour, minute, second) = (number(8, 2)?, number(10, 2)?, number(12, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds - i64::from(zone.cast_signed()) * 15 * 60)
}

/// Days from 1970-01-01 to a date. Years begin in March here, so that the leap
/// day is the last one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 153 days are five months, in turn of 31, 30, 31, 30 and 31 days.
    let days_before = (153 * month + 2) / 5;
    const MARCH_OF_YEAR_0: i64 = 719_469;
    year * 365 + leap_days + days_before + day - MARCH_OF_YEAR_0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |digits: &str, zone: u8| {
            let mut field = digits.as_bytes().to_vec();
            field.push(zone);
            time(&field)
        };
        assert_eq!(at("1970010100000000", 0), Some(0));
        assert_eq!(at("2000022923595900", 0), Some(951_868_799));
        assert_eq!(at("2012010203040500", 0), Some(1_325_473_445));
        assert_eq!(at("2012010204040500", 4), Some(1_325_473_445));
        assert_eq!(at("2012010202040500", 0xfc), Some(1_325_473_445));
        assert_eq!(at("0000000000000000", 0), None);
        assert_eq!(at("2012130100000000", 0), None);
        assert_eq!(at("not a time, is it", 0), None);
        assert_eq!(time(b""), None);
    }

    #[test]
    fn descriptors() {
        let mut sector = [0; SECTOR];
        assert!(parse(&sector).is_none());
        sector[..6].copy_from_slice(b"\x01CD001");
        sector[40..72].copy_from_slice(b"A LABEL                         ");
        sector[80..84].copy_from_slice(&[0x34, 0x12, 0, 0]);
        sector[128..130].copy_from_slice(&[0, 8]);
        let info = parse(&sector).unwrap();
        assert_eq!(info.iso_volume_id, b"A LABEL");
        assert_eq!(info.iso_system_id, b"");
        assert_eq!(info.iso_volume_space_size, 0x1234);
        assert_eq!(info.iso_logical_block_size, 2048);
        assert_eq!(info.iso_volume_creation_t, -1);
    }
}
