//! GUIDs as they are on disks: the first three groups are little endian.

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;
use protocol::{Error, Result};

/// A GUID, in its form on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guid(pub(crate) [u8; 16]);

/// Where the bytes of the text are on the disk.
const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

impl Guid {
    /// The type of entries that are not used.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// A new random one.
    ///
    /// # Errors
    ///
    /// The errno of asking the kernel for it.
    pub(crate) fn random() -> Result<Self> {
        std::fs::read_to_string("/proc/sys/kernel/random/uuid")?
            .trim_end()
            .parse()
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, at) in ORDER.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02X}", self.0.get(*at).copied().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl FromStr for Guid {
    type Err = Error;

    /// With or without braces.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::with_errno(Errno::EINVAL, format!("{text}: not a GUID"));
        let digits: Vec<u8> = text
            .bytes()
            .filter(|byte| !matches!(byte, b'-' | b'{' | b'}'))
            .map(|byte| char::from(byte).to_digit(16))
            .map(|digit| digit.and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or_else(bad)?;
        if digits.len() != 32 {
            return Err(bad());
        }
        let mut bytes = [0; 16];
        for (pair, at) in digits.chunks_exact(2).zip(ORDER) {
            if let ([high, low], Some(byte)) = (pair, bytes.get_mut(at)) {
                *byte = high << 4 | low;
            }
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_disk() {
        let text = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
        let guid: Guid = text.to_lowercase().parse().expect("a GUID");
        assert_eq!(
            guid.0,
            [
                0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e,
                0xc9, 0x3b
            ]
        );
        assert_eq!(guid.to_string(), text);
        assert_eq!(format!("{{{text}}}").parse::<Guid>().expect("a GUID"), guid);
        for bad in [
            "",
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93",
            "x12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        ] {
            assert!(bad.parse::<Guid>().is_err(), "{bad}");
        }
    }

    #[test]
    fn random_ones_differ() {
        assert_ne!(
            Guid::random().expect("one"),
            Guid::random().expect("another")
        );
    }
}
