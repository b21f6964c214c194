//! Handlers of `idl/filesystem/btrfs_balance.idl`.

use protocol::api::{BtrfsBalanceActions, BtrfsScrubFullOptions, Btrfsbalance, Btrfsscrub};
use protocol::{Context, Error, GuestPath, Result};

use crate::command::Command;
use crate::daemon::Daemon;

/// The exit status of a scrub that found errors it could not correct.
const UNCORRECTABLE: i32 = 3;

impl BtrfsBalanceActions for Daemon {
    fn btrfs_filesystem_balance(&mut self, fs: GuestPath) -> Result<()> {
        // It says that it takes long, and waits for a change of mind, without `--full-balance`.
        let command = btrfs(&["balance", "start", "--full-balance"]);
        self.on_mounted(command, &fs).map(drop)
    }

    fn btrfs_balance_pause(&mut self, path: GuestPath) -> Result<()> {
        self.on_mounted(btrfs(&["balance", "pause"]), &path)
            .map(drop)
    }

    fn btrfs_balance_cancel(&mut self, path: GuestPath) -> Result<()> {
        self.on_mounted(btrfs(&["balance", "cancel"]), &path)
            .map(drop)
    }

    fn btrfs_balance_resume(&mut self, path: GuestPath) -> Result<()> {
        self.on_mounted(btrfs(&["balance", "resume"]), &path)
            .map(drop)
    }

    fn btrfs_balance_status(&mut self, path: GuestPath) -> Result<Btrfsbalance> {
        let top = self.top(&path)?;
        let output = btrfs(&["balance", "status"]).cwd(&top).arg(".").output()?;
        // With a balance it exits with 1, as for failures.
        let text = String::from_utf8_lossy(&output.stdout);
        parse_balance(&text)
            .ok_or_else(|| {
                Error::new(format!(
                    "unexpected output from 'btrfs balance status' command: {text}{}",
                    output.message()
                ))
            })
            .context(path)
    }

    fn btrfs_scrub_start(&mut self, path: GuestPath) -> Result<()> {
        self.on_mounted(btrfs(&["scrub", "start"]), &path).map(drop)
    }

    fn btrfs_scrub_cancel(&mut self, path: GuestPath) -> Result<()> {
        self.on_mounted(btrfs(&["scrub", "cancel"]), &path)
            .map(drop)
    }

    fn btrfs_scrub_resume(&mut self, path: GuestPath) -> Result<()> {
        self.on_mounted(btrfs(&["scrub", "resume"]), &path)
            .map(drop)
    }

    fn btrfs_scrub_status(&mut self, path: GuestPath) -> Result<Btrfsscrub> {
        let out = self.on_mounted(btrfs(&["scrub", "status", "-R"]), &path)?;
        Ok(parse_scrub(&String::from_utf8_lossy(&out)))
    }

    fn btrfs_scrub_full(&mut self, path: GuestPath, options: BtrfsScrubFullOptions) -> Result<()> {
        let mut command = btrfs(&["scrub", "start", "-B"]);
        if options.readonly == Some(true) {
            command = command.arg("-r");
        }
        let top = self.top(&path)?;
        let output = command.cwd(&top).arg(".").output()?;
        match output.code {
            0 => Ok(()),
            UNCORRECTABLE => Err(Error::new(format!(
                "{path}: there are errors that could not be corrected"
            ))),
            _ => Err(output.failure("btrfs scrub").about(path)),
        }
    }
}

fn btrfs(args: &[&str]) -> Command {
    Command::new("btrfs").args(args.iter().copied())
}

/// `Balance on '/' is running` and `3 out of about 8 chunks balanced (3 considered),  62% left`,
/// or `No balance found on '/'`.
fn parse_balance(text: &str) -> Option<Btrfsbalance> {
    let mut lines = text.lines();
    let first = lines.next()?;
    let mut balance = Btrfsbalance {
        btrfsbalance_status: b"none".to_vec(),
        btrfsbalance_total: 0,
        btrfsbalance_balanced: 0,
        btrfsbalance_considered: 0,
        btrfsbalance_left: 0,
    };
    if first.to_ascii_lowercase().starts_with("no balance found") {
        return Some(balance);
    }
    // The path may have any words in it.
    let (_, status) = first.rsplit_once("' is ")?;
    balance.btrfsbalance_status = status.as_bytes().to_vec();
    let mut numbers = lines
        .next()?
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().ok());
    balance.btrfsbalance_balanced = numbers.next()??;
    balance.btrfsbalance_total = numbers.next()??;
    balance.btrfsbalance_considered = numbers.next()??;
    // Of a balance that was paused when the filesystem was last mounted, nothing is known yet,
    // and the share that is left is no number.
    balance.btrfsbalance_left = match numbers.next() {
        Some(left) => left?,
        None if balance.btrfsbalance_total == 0 => 0,
        None => return None,
    };
    Some(balance)
}

/// What `btrfs scrub status -R` prints; all zero if there was no scrub yet.
fn parse_scrub(text: &str) -> Btrfsscrub {
    let count = |name: &str| -> u64 {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or_default()
    };
    Btrfsscrub {
        btrfsscrub_data_extents_scrubbed: count("data_extents_scrubbed"),
        btrfsscrub_tree_extents_scrubbed: count("tree_extents_scrubbed"),
        btrfsscrub_data_bytes_scrubbed: count("data_bytes_scrubbed"),
        btrfsscrub_tree_bytes_scrubbed: count("tree_bytes_scrubbed"),
        btrfsscrub_read_errors: count("read_errors"),
        btrfsscrub_csum_errors: count("csum_errors"),
        btrfsscrub_verify_errors: count("verify_errors"),
        btrfsscrub_no_csum: count("no_csum"),
        btrfsscrub_csum_discards: count("csum_discards"),
        btrfsscrub_super_errors: count("super_errors"),
        btrfsscrub_malloc_errors: count("malloc_errors"),
        btrfsscrub_uncorrectable_errors: count("uncorrectable_errors"),
        btrfsscrub_unverified_errors: count("unverified_errors"),
        btrfsscrub_corrected_errors: count("corrected_errors"),
        btrfsscrub_last_physical: count("last_physical"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn balances_of_all_versions() {
        for (what, status) in [
            ("balance-none", "none"),
            ("balance-running", "running"),
            ("balance-paused", "paused"),
        ] {
            for captured in outputs("btrfs-progs", what) {
                let version = &captured.version;
                let found = parse_balance(&captured.text()).expect("a balance");
                assert_eq!(found.btrfsbalance_status, status.as_bytes(), "{version}");
                // How far it had come is chance; what there is to do is not.
                let (total, left) = (found.btrfsbalance_total, found.btrfsbalance_left);
                let done = found.btrfsbalance_balanced;
                if status == "none" {
                    assert_eq!((total, left, done), (0, 0, 0), "{version}");
                } else {
                    assert!(total > 1 && done < total, "{version}: {done} of {total}");
                    assert_eq!(left, 100 - done * 100 / total, "{version}");
                }
            }
        }
    }

    #[test]
    fn scrubs_of_all_versions() {
        for captured in outputs("btrfs-progs", "scrub") {
            let version = &captured.version;
            let found = parse_scrub(&captured.text());
            assert!(found.btrfsscrub_tree_extents_scrubbed > 0, "{version}");
            let bytes = found.btrfsscrub_tree_extents_scrubbed * 16384;
            assert_eq!(found.btrfsscrub_tree_bytes_scrubbed, bytes, "{version}");
            assert!(found.btrfsscrub_last_physical > 0, "{version}");
            assert_eq!(found.btrfsscrub_csum_errors, 0, "{version}");
        }
        for captured in outputs("btrfs-progs", "scrub-none") {
            let found = parse_scrub(&captured.text());
            assert_eq!(found, parse_scrub(""), "{}", captured.version);
        }
    }

    #[test]
    fn states_of_a_balance() {
        let none = parse_balance("No balance found on '.'\n").unwrap();
        assert_eq!(none.btrfsbalance_status, b"none");
        let text = "Balance on '/a' is 5' is paused\n\
            3 out of about 8 chunks balanced (4 considered),  62% left\n";
        let paused = parse_balance(text).unwrap();
        assert_eq!(paused.btrfsbalance_status, b"paused");
        assert_eq!(paused.btrfsbalance_balanced, 3);
        assert_eq!(paused.btrfsbalance_total, 8);
        assert_eq!(paused.btrfsbalance_considered, 4);
        assert_eq!(paused.btrfsbalance_left, 62);
        let text = "Balance on '.' is paused\n\
            0 out of about 0 chunks balanced (0 considered), -nan% left\n";
        let unread = parse_balance(text).unwrap();
        assert_eq!(unread.btrfsbalance_status, b"paused");
        assert_eq!(unread.btrfsbalance_left, 0);
        assert!(parse_balance("Balance on '/' is running\n").is_none());
        assert!(parse_balance("").is_none());
    }

    #[test]
    fn counts_of_a_scrub() {
        let text = "UUID: x\n\tdata_extents_scrubbed: 5\n\tno_csum: 1\n\tlast_physical: 99\n";
        let scrub = parse_scrub(text);
        assert_eq!(scrub.btrfsscrub_data_extents_scrubbed, 5);
        assert_eq!(scrub.btrfsscrub_no_csum, 1);
        assert_eq!(scrub.btrfsscrub_last_physical, 99);
        assert_eq!(scrub.btrfsscrub_read_errors, 0);
    }
}
