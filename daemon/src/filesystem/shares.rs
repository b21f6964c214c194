//! Directories that the host shares with the appliance by 9p over virtio.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use protocol::{Context, Result};

use crate::command::Command;
use crate::features::can_load_modules;

/// A directory for each share, as long as the driver is there.
const DRIVER: &str = "/sys/bus/virtio/drivers/9pnet_virtio";
const MODULE: &str = "9pnet_virtio";

/// The tags of all shares, sorted; none where the kernel cannot have any.
pub(super) fn tags() -> Result<Vec<Vec<u8>>> {
    load_driver();
    tags_in(Path::new(DRIVER)).context(DRIVER)
}

/// Loads the driver if need be. Older kernels do not do that for who mounts a share.
pub(super) fn load_driver() {
    if !Path::new(DRIVER).exists() && can_load_modules() {
        // That it cannot be had is seen by what needs it.
        let _ = Command::new("modprobe").operands([MODULE]).output();
    }
}

fn tags_in(driver: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut tags = Vec::new();
    let entries = match fs::read_dir(driver) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(tags),
        other => other?,
    };
    for entry in entries {
        match fs::read(entry?.path().join("mount_tag")) {
            Ok(mut tag) => {
                // The kernel shows the end of the string, too.
                tag.truncate(tag.iter().position(|&byte| byte == 0).unwrap_or(tag.len()));
                tags.push(tag);
            }
            // What else a driver has, and a device that has just gone.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    tags.sort();
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_devices_have_tags() {
        let directory = tempfile::tempdir().expect("tempdir");
        let driver = directory.path().join("9pnet_virtio");
        assert_eq!(tags_in(&driver).expect("no driver"), Vec::<Vec<u8>>::new());
        fs::create_dir_all(driver.join("module")).expect("module");
        fs::write(driver.join("bind"), "").expect("bind");
        let shares: [(&str, &[u8]); 3] = [
            ("virtio3", b"second\0"),
            ("virtio10", b"first"),
            ("virtio11", b"\xff with\nanything\0"),
        ];
        for (device, tag) in shares {
            fs::create_dir(driver.join(device)).expect(device);
            fs::write(driver.join(device).join("mount_tag"), tag).expect(device);
        }
        let expected: [&[u8]; 3] = [b"first", b"second", b"\xff with\nanything"];
        assert_eq!(tags_in(&driver).expect("tags"), expected);
    }
}
