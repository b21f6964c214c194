//! The members that could not be made.

use protocol::{Error, Result};

/// Members that failed which the error names.
const NAMED: usize = 10;

/// What went wrong with some members, while the others were made.
#[derive(Debug, Default)]
pub(super) struct Problems {
    /// The first ones, with the places of their members in the archive.
    first: Vec<(u64, Error)>,
    count: usize,
}

impl Problems {
    pub(super) fn add(&mut self, place: u64, error: Error) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push((place, error));
        }
    }

    /// Takes those of another part of the work over.
    pub(super) fn append(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.sort_by_key(|(place, _)| *place);
        self.first.truncate(NAMED);
    }

    /// One error for all members that failed, with the errno of the first.
    pub(super) fn result(self) -> Result<()> {
        let Some((_, first)) = self.first.first() else {
            return Ok(());
        };
        let mut message = self
            .first
            .iter()
            .map(|(_, error)| error.message())
            .collect::<Vec<_>>()
            .join("\n");
        if self.count > self.first.len() {
            message.push_str(&format!("\nand {} more", self.count - self.first.len()));
        }
        Err(match first.errno() {
            Some(errno) => Error::with_errno(errno, message),
            None => Error::new(message),
        })
    }
}

/// An error about a member.
pub(super) fn about(name: &[u8], error: &Error) -> Error {
    let message = format!("{}: {}", String::from_utf8_lossy(name), error.message());
    match error.errno() {
        Some(errno) => Error::with_errno(errno, message),
        None => Error::new(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn the_first_of_both_are_named_in_order() {
        let (mut ours, mut theirs) = (Problems::default(), Problems::default());
        for place in 0..20 {
            let error = Error::with_errno(Errno::from_raw(1 + place), format!("m{place}"));
            let side = if place % 2 == 1 {
                &mut ours
            } else {
                &mut theirs
            };
            side.add(place as u64, error);
        }
        ours.append(theirs);
        let error = ours.result().unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EPERM));
        let lines: Vec<&str> = error.message().lines().collect();
        assert_eq!(lines.first(), Some(&"m0"));
        assert_eq!(lines.get(9), Some(&"m9"));
        assert_eq!(lines.get(10), Some(&"and 10 more"));
    }

    #[test]
    fn no_problem_is_no_error() {
        assert!(Problems::default().result().is_ok());
    }
}
