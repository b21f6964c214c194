//! The disks of a world: a guest's root, and what else is attached.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::canary::CANARY;

/// The filesystem of a guest's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Root {
    Ext4,
    Btrfs,
    Xfs,
}

impl Root {
    /// Where an action with this feature has something to do.
    pub(crate) fn of_feature(feature: Option<&str>) -> Self {
        match feature {
            Some("btrfs") => Self::Btrfs,
            Some("xfs") => Self::Xfs,
            _ => Self::Ext4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
        }
    }

    /// Makes an image with such a filesystem. Only the kernel's ext4 does not
    /// take two of one UUID for the same, and the answers of two must be.
    pub(super) fn format(self, image: &Path) {
        let file = fs::File::create(image).expect("image");
        file.set_len(self.size() << 20).expect("image size");
        let uuid = "01234567-89ab-4def-8123-456789abcdef";
        let seed = format!("hash_seed={uuid}");
        let options: &[&str] = match self {
            Self::Ext4 => &["-qF", "-U", uuid, "-E", &seed],
            Self::Btrfs | Self::Xfs => &["-q"],
        };
        let mut mkfs = Command::new(format!("/usr/sbin/mkfs.{}", self.name()));
        let output = mkfs.args(options).arg(image).output().expect("mkfs");
        assert!(output.status.success(), "{mkfs:?}: {output:?}");
    }

    /// About the least that it can be made in, in MiB.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::Ext4 => 16,
            Self::Btrfs => 256,
            Self::Xfs => 304,
        }
    }
}

/// Images that every world has a copy of.
pub(super) struct Templates {
    /// A filesystem with a file, and a link out.
    pub(super) honest: Vec<u8>,
    /// Another guest's disk: the canary is both where it begins and in its files.
    pub(super) canary: Vec<u8>,
}

impl Templates {
    pub(super) fn get() -> &'static Self {
        static TEMPLATES: OnceLock<Templates> = OnceLock::new();
        TEMPLATES.get_or_init(Self::make)
    }

    fn make() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let (tree, image) = (scratch.path().join("tree"), scratch.path().join("image"));
        fs::create_dir(&tree).expect("mkdir");
        fs::write(tree.join("file"), "own content\n").expect("write");
        std::os::unix::fs::symlink("/outside", tree.join("out")).expect("link");
        let mke2fs = || {
            let mut mke2fs = Command::new("/usr/sbin/mke2fs");
            mke2fs.args(["-q", "-F", "-t", "ext2", "-d"]).arg(&tree);
            let output = mke2fs.arg(&image).arg("128").output().expect("mke2fs");
            assert!(output.status.success(), "{mke2fs:?}: {output:?}");
            fs::read(&image).expect("image")
        };
        let honest = mke2fs();
        fs::write(tree.join("file"), CANARY.repeat(3)).expect("write");
        fs::write(tree.join(CANARY), CANARY).expect("write");
        let mut canary = mke2fs();
        for (to, from) in canary[..1024].iter_mut().zip(CANARY.bytes().cycle()) {
            *to = from;
        }
        Self { honest, canary }
    }
}
