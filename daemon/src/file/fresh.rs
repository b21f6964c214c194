//! Names that nothing in a directory has yet.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How many random characters a name gets.
pub(crate) const RANDOM: usize = 6;

/// How often to try another name, when every one is taken.
const ATTEMPTS: usize = 10_000;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Calls `make` with random characters until it does not meet a name that exists.
pub(crate) fn with_random_name<T>(
    mut make: impl FnMut(&[u8; RANDOM]) -> Result<T, Errno>,
) -> Result<T, Errno> {
    let mut source = File::open("/dev/urandom").map_err(errno)?;
    for _ in 0..ATTEMPTS {
        let mut name = [0; RANDOM];
        source.read_exact(&mut name).map_err(errno)?;
        for byte in &mut name {
            // A slight preference for some characters does no harm here.
            *byte = ALPHABET
                .get(usize::from(*byte) % ALPHABET.len())
                .copied()
                .unwrap_or(b'0');
        }
        match make(&name) {
            Err(Errno::EEXIST) => {}
            result => return result,
        }
    }
    Err(Errno::EEXIST)
}

/// Makes something under a new name with `make`, and then gives it the name
/// `name`, in place of what had it: there is no moment without either.
pub(crate) fn replace(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    mut make: impl FnMut(&OsStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let temporary = with_random_name(|random| {
        let mut temporary = OsString::from(".tmp-");
        temporary.push(String::from_utf8_lossy(random).as_ref());
        make(&temporary)?;
        Ok(temporary)
    })?;
    renameat(dir, temporary.as_os_str(), dir, name).inspect_err(|_| {
        // The rename's error is the one to report.
        let _ = unlinkat(dir, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
    })
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))
}
