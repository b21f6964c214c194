//! `guestfs_*` settings on the kernel command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What the kernel command line says to the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelCmdline {
    /// `guestfs_verbose=1`
    pub verbose: bool,
    /// `guestfs_network=1`
    pub network: bool,
    /// `guestfs_channel=PATH`
    pub channel: Option<OsString>,
}

impl KernelCmdline {
    /// What this machine was started with; nothing if that is not known.
    pub fn read() -> Self {
        std::fs::read("/proc/cmdline").map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    /// The last of several settings of one name counts.
    pub fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for word in text.split(u8::is_ascii_whitespace) {
            if let Some(value) = word.strip_prefix(b"guestfs_verbose=") {
                found.verbose = value == b"1";
            } else if let Some(value) = word.strip_prefix(b"guestfs_network=") {
                found.network = value == b"1";
            } else if let Some(value) = word.strip_prefix(b"guestfs_channel=")
                && !value.is_empty()
            {
                found.channel = Some(OsStr::from_bytes(value).to_owned());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_whole_words() {
        let found = KernelCmdline::parse(
            b"panic=1 guestfs_verbose=1 xguestfs_network=1 guestfs_channel=/dev/ttyS1 quiet\n",
        );
        assert!(found.verbose);
        assert!(!found.network);
        assert_eq!(found.channel.as_deref(), Some(OsStr::new("/dev/ttyS1")));
    }

    #[test]
    fn other_values_do_not_switch_on() {
        let found = KernelCmdline::parse(b"guestfs_verbose=0 guestfs_network=10 guestfs_channel=");
        assert_eq!(found, KernelCmdline::default());
        assert_eq!(KernelCmdline::parse(b""), KernelCmdline::default());
    }

    #[test]
    fn the_last_setting_counts() {
        assert!(!KernelCmdline::parse(b"guestfs_verbose=1 guestfs_verbose=0").verbose);
    }
}
