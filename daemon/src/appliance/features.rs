//! What this appliance can do: features, filesystems, kernel modules.

use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::utsname::uname;
use protocol::api::{Feature, FeaturesActions, Utsname};
use protocol::{Error, Result};

use crate::Daemon;
use crate::command::Command;
use crate::features::filesystem_known;

/// What `internal_feature_available` answers.
const AVAILABLE: i32 = 0;
const UNAVAILABLE: i32 = 1;
const UNKNOWN: i32 = 2;

impl FeaturesActions for Daemon {
    fn modprobe(&mut self, modulename: &str) -> Result<()> {
        let result = Command::new("modprobe").operands([modulename]).run();
        self.features.forget();
        result.map(drop)
    }

    fn available_all_groups(&mut self) -> Result<Vec<Vec<u8>>> {
        let mut names: Vec<&str> = Feature::ALL
            .iter()
            .map(|feature| feature.info().name)
            .collect();
        names.sort_unstable();
        Ok(names
            .into_iter()
            .map(|name| name.as_bytes().to_vec())
            .collect())
    }

    fn filesystem_available(&mut self, filesystem: &str) -> Result<bool> {
        // It becomes a module's name.
        if !filesystem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(Error::with_errno(
                Errno::EINVAL,
                "filesystem name contains non-alphanumeric characters",
            ));
        }
        Ok(!filesystem.is_empty() && filesystem_known(filesystem))
    }

    fn utsname(&mut self) -> Result<Utsname> {
        let names = uname()?;
        Ok(Utsname {
            uts_sysname: names.sysname().as_bytes().to_vec(),
            uts_release: names.release().as_bytes().to_vec(),
            uts_version: names.version().as_bytes().to_vec(),
            uts_machine: names.machine().as_bytes().to_vec(),
        })
    }

    fn internal_feature_available(&mut self, group: &str) -> Result<i32> {
        let Some(feature) = Feature::from_name(group.as_bytes()) else {
            return Ok(UNKNOWN);
        };
        // Half a feature is none to a caller that asks first; calls of the
        // actions that are there are served all the same.
        if feature.info().pending || !self.features.available(feature) {
            Ok(UNAVAILABLE)
        } else {
            Ok(AVAILABLE)
        }
    }
}
