//! Encrypted devices, by cryptsetup and Clevis.

mod mapping;
mod secret;

use nix::errno::Errno;
use protocol::api::{CryptsetupOpenOptions, LuksActions};
use protocol::{Context, Device, Error, Key, Result};

use crate::command::{Command, Output};
use crate::filesystem::superblock::Superblocks;
use crate::{Daemon, udev};

/// cryptsetup's exit status when an argument makes no sense to it, and for whatever has no other.
const WRONG_ARGUMENTS: i32 = 1;
/// cryptsetup's exit status when no key slot can be opened.
const WRONG_KEY: i32 = 2;

impl LuksActions for Daemon {
    fn luks_open(&mut self, device: Device, key: Key, mapname: &str) -> Result<()> {
        let options = CryptsetupOpenOptions {
            crypttype: Some("luks"),
            ..Default::default()
        };
        self.cryptsetup_open(device, key, mapname, options)
    }

    fn luks_open_ro(&mut self, device: Device, key: Key, mapname: &str) -> Result<()> {
        let options = CryptsetupOpenOptions {
            crypttype: Some("luks"),
            readonly: Some(true),
            ..Default::default()
        };
        self.cryptsetup_open(device, key, mapname, options)
    }

    fn luks_close(&mut self, device: Device) -> Result<()> {
        self.cryptsetup_close(device)
    }

    fn luks_format(&mut self, device: Device, key: Key, keyslot: i32) -> Result<()> {
        format(&device, &key, keyslot, None)
    }

    fn luks_format_cipher(
        &mut self,
        device: Device,
        key: Key,
        keyslot: i32,
        cipher: &str,
    ) -> Result<()> {
        format(&device, &key, keyslot, Some(cipher))
    }

    fn luks_add_key(&mut self, device: Device, key: Key, newkey: Key, keyslot: i32) -> Result<()> {
        let keyslot = slot(keyslot)?;
        let command = with_key("luksAddKey", &key)?.args(["--batch-mode", "--key-slot", &keyslot]);
        let newkey = secret::pipe(&newkey)?;
        run(
            &device,
            command
                .operands([device.path()])
                .fd_arg(&newkey, "the new key"),
        )
        .map(drop)
    }

    fn luks_kill_slot(&mut self, device: Device, key: Key, keyslot: i32) -> Result<()> {
        let keyslot = slot(keyslot)?;
        let silent = format!("it has no key slot {keyslot}");
        let command = with_key("luksKillSlot", &key)?.arg("--batch-mode");
        let command = command.operands([device.path()]).arg(keyslot);
        run_or(&device, command, &silent).map(drop)
    }

    fn luks_uuid(&mut self, device: Device) -> Result<String> {
        let command = Command::new("cryptsetup").arg("luksUUID");
        let command = command.operands([device.path()]);
        let output = run_or(&device, command, "not a LUKS device")?;
        Ok(uuid(&output.stdout))
    }

    fn cryptsetup_open(
        &mut self,
        device: Device,
        key: Key,
        mapname: &str,
        options: CryptsetupOpenOptions<'_>,
    ) -> Result<()> {
        mapping::check_new(mapname)?;
        let kind = match options.crypttype {
            Some(kind) => kind,
            None => kind_of(self.superblocks(), &device)?,
        };
        let mut command = with_key("open", &key)?.arg(format!("--type={kind}"));
        if options.readonly == Some(true) {
            command = command.arg("--readonly");
        }
        if let Some(cipher) = options.cipher {
            command = command.arg(format!("--cipher={cipher}"));
        }
        let command = command.operands([device.path()]).arg(mapname);
        mapping::settle(mapname, run(&device, command).map(drop))
    }

    fn cryptsetup_close(&mut self, device: Device) -> Result<()> {
        let name = mapping::name_of(&device)?;
        let command = Command::new("cryptsetup").arg("close").operands([name]);
        let closed = run(&device, command);
        udev::settle();
        closed.map(drop)
    }

    fn clevis_luks_unlock(&mut self, device: Device, mapname: &str) -> Result<()> {
        mapping::check_new(mapname)?;
        // Clevis hands it on to cryptsetup, to which it would be an option: with
        // `--test-passphrase` all is well and nothing unlocked.
        if mapname.starts_with('-') {
            return Err(Error::invalid(format!(
                "mapname: {mapname} begins with a '-', which Clevis does not allow"
            )));
        }
        // What the program finds out is a key as well.
        let _guard = secret::NoCore::new()?;
        let unlocked = Command::new("clevis")
            .args(["luks", "unlock", "-d"])
            .arg(device.path())
            .args(["-n", mapname])
            .run()
            .with_context(|| format!("{device}: {mapname}"));
        mapping::settle(mapname, unlocked.map(drop))
    }
}

fn format(device: &Device, key: &Key, keyslot: i32, cipher: Option<&str>) -> Result<()> {
    let keyslot = slot(keyslot)?;
    let mut command = with_key("luksFormat", key)?.args(["--batch-mode", "--key-slot", &keyslot]);
    if let Some(cipher) = cipher {
        command = command.arg(format!("--cipher={cipher}"));
    }
    let formatted = run(device, command.operands([device.path()]));
    udev::settle();
    formatted.map(drop)
}

/// A cryptsetup command that is told the key.
fn with_key(action: &str, key: &Key) -> Result<Command> {
    let key = secret::pipe(key)?;
    // As a file, all of it is the key: not only what is before a line end.
    Ok(Command::new("cryptsetup")
        .args([action, "--key-file"])
        .fd_arg(&key, "the key"))
}

fn uuid(stdout: &[u8]) -> String {
    String::from_utf8_lossy(stdout).trim().to_owned()
}

/// Runs cryptsetup, which may be told keys.
fn run(device: &Device, command: Command) -> Result<Output> {
    run_or(device, command, "")
}

/// The same, where it does not say what is wrong with its arguments: `silent` does.
fn run_or(device: &Device, command: Command, silent: &str) -> Result<Output> {
    let _guard = secret::NoCore::new()?;
    let output = command.output().context(device)?;
    if output.code == 0 {
        return Ok(output);
    }
    let said = match output.message() {
        // Asked to be quiet, it does not even say that the key is wrong.
        said if said.is_empty() && output.code == WRONG_KEY => {
            "No key available with this passphrase.".to_owned()
        }
        said if said.is_empty() && output.code == WRONG_ARGUMENTS && !silent.is_empty() => {
            return Err(Error::invalid(format!("{device}: {silent}")));
        }
        said if said.is_empty() => format!("cryptsetup exited with status {}", output.code),
        said => said,
    };
    let error = match errno(output.code) {
        Some(errno) => Error::with_errno(errno, &*said),
        None => Error::new(&*said),
    };
    Err(error.repeating(&said).about(device))
}

/// What cryptsetup's exit status stands for. The others stand for too many things.
fn errno(code: i32) -> Option<Errno> {
    match code {
        WRONG_KEY => Some(Errno::EPERM),
        3 => Some(Errno::ENOMEM),
        5 => Some(Errno::EBUSY),
        _ => None,
    }
}

/// The type of an encrypted device, in cryptsetup's words.
fn kind_of(superblocks: Superblocks<'_>, device: &Device) -> Result<&'static str> {
    match superblocks.kind(device)?.as_str() {
        "crypto_LUKS" => Ok("luks"),
        "BitLocker" => Ok("bitlk"),
        "" => Err(Error::invalid(format!(
            "{device}: not known to be an encrypted device"
        ))),
        kind => Err(Error::invalid(format!(
            "{device}: {kind} is not a known type of encrypted device"
        ))),
    }
}

/// Negative numbers mean any slot to some versions of cryptsetup.
fn slot(number: i32) -> Result<String> {
    if number < 0 {
        return Err(Error::invalid(format!(
            "keyslot: {number} must not be negative"
        )));
    }
    Ok(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn uuids_from_all_versions() {
        for captured in outputs("cryptsetup", "uuid") {
            let found = uuid(&captured.bytes);
            assert_eq!(
                found, "01234567-89ab-4cde-8f01-23456789abcd",
                "{}",
                captured.version
            );
        }
    }
}
