//! What this appliance can do: programs, filesystems, libraries.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol::api::Feature;
use protocol::{FeatureInfo, Probe};

use crate::command::Command;
use crate::environment;

const FILESYSTEMS: &str = "/proc/filesystems";
const MODULES: &str = "/proc/modules";

/// Where the loader always looks for shared libraries.
const LIBRARY_DIRS: [&str; 4] = ["/usr/lib64", "/lib64", "/usr/lib", "/lib"];

/// Where it is told of others.
const LOADER_CONFIG: &str = "/etc/ld.so.conf.d";

/// Remembers which features are there: the appliance does not change.
#[derive(Debug, Default)]
pub struct Features {
    known: RefCell<BTreeMap<Feature, bool>>,
}

impl Features {
    /// Whether all that the feature needs is there.
    pub fn available(&self, feature: Feature) -> bool {
        if let Some(&known) = self.known.borrow().get(&feature) {
            return known;
        }
        let available = probes_hold(feature.info());
        self.known.borrow_mut().insert(feature, available);
        available
    }

    /// Forgets what is known, after something that may have changed it, such
    /// as loading a kernel module.
    pub fn forget(&self) {
        self.known.borrow_mut().clear();
    }
}

fn probes_hold(info: &FeatureInfo) -> bool {
    info.probes.iter().all(|probe| match *probe {
        Probe::Always => true,
        Probe::Program(name) => program_exists(name),
        Probe::KernelFilesystem(name) => filesystem_known(name),
        Probe::Path(path) => Path::new(path).exists(),
        Probe::Library(name) => library_exists(name),
    })
}

/// Whether a program is on PATH.
pub fn program_exists(name: &str) -> bool {
    environment::find_program(name).is_some()
}

/// Whether the kernel knows a type of filesystem, after loading the module of
/// that name if need be.
pub fn filesystem_known(name: &str) -> bool {
    if filesystem_listed(name) {
        return true;
    }
    can_load_modules()
        && Command::new("modprobe")
            .operands([name])
            .status()
            .is_ok_and(|code| code == 0)
        && filesystem_listed(name)
}

/// Whether kernel modules can be loaded.
pub fn can_load_modules() -> bool {
    Path::new(MODULES).exists() && program_exists("modprobe")
}

/// Whether a shared library is where the loader looks for it.
fn library_exists(name: &str) -> bool {
    let exists = |dir: &Path| dir.join(name).exists();
    // Debian's loader knows this one even if it is not told.
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    exists(Path::new(&multiarch))
        || LIBRARY_DIRS.iter().any(|dir| exists(Path::new(dir)))
        || loader_dirs(Path::new(LOADER_CONFIG))
            .iter()
            .any(|dir| exists(dir))
}

/// The directories that the loader is told of, such as Debian's one for each
/// architecture. Its cache is not asked: it can be that of another system.
fn loader_dirs(config: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(config)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| {
            text.lines()
                .map(|line| line.split('#').next().unwrap_or_default().trim())
                .filter(|line| line.starts_with('/'))
                .map(PathBuf::from)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The kernel's list has types that are mounted from a device with an empty
/// first column; the others (`nodev`) hold no guests.
fn filesystem_listed(name: &str) -> bool {
    std::fs::read_to_string(FILESYSTEMS).is_ok_and(|list| lists(&list, name))
}

fn lists(list: &str, name: &str) -> bool {
    list.lines()
        .any(|line| !line.starts_with("nodev") && line.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_filesystems_on_devices_count() {
        let list = "nodev\tsysfs\nnodev\ttmpfs\n\text4\n\tvfat\n";
        assert!(lists(list, "ext4"));
        assert!(!lists(list, "ext"));
        assert!(!lists(list, "tmpfs"));
        assert!(!lists(list, ""));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(!filesystem_known("nosuchfs"));
        assert!(!program_exists("no-such-program"));
        assert!(!library_exists("libnosuch.so.0"));
    }

    #[test]
    fn what_every_system_has_is_found() {
        assert!(program_exists("sh"));
        assert!(library_exists("libc.so.6"));
    }

    #[test]
    fn the_loader_is_told_of_directories() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("b.conf", "/second # why\n\n# /not\ninclude x\n");
        write("a.conf", "/first\n  /indented\n");
        write("c.old", "/old\n");
        let dirs = loader_dirs(dir.path());
        assert_eq!(dirs, ["/first", "/indented", "/second"].map(PathBuf::from));
        assert!(loader_dirs(&dir.path().join("none")).is_empty());
    }

    #[test]
    fn availability_is_that_of_the_probes() {
        let features = Features::default();
        for feature in Feature::ALL {
            let first = features.available(feature);
            assert_eq!(first, probes_hold(feature.info()), "{feature:?}");
            assert_eq!(first, features.available(feature));
        }
    }
}
