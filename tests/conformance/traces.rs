//! What a call may leave behind in the daemon's process.

use std::time::{Duration, Instant};

use conformance::Direct;

/// What `/proc` says of the daemon.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    /// Its open files, in order.
    files: Vec<String>,
    /// The names of its children.
    children: Vec<String>,
    /// What is mounted where it sees it, in order.
    mounts: Vec<String>,
    /// What is where temporary files go.
    temporary: Vec<String>,
}

impl Traces {
    /// How it is, once the children that are being killed are gone.
    pub(crate) fn of(direct: &Direct) -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let traces = Self::now(direct);
            if traces.children.is_empty() || Instant::now() > deadline {
                return traces;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn now(direct: &Direct) -> Self {
        let id = direct.id();
        let mut files: Vec<String> = std::fs::read_dir(format!("/proc/{id}/fd"))
            .expect("the daemon's descriptors")
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            // The root of the guest, which it opens once it needs it.
            .filter(|target| target != "/sysroot")
            .collect();
        files.sort();
        let name = |child| std::fs::read_to_string(format!("/proc/{child}/comm"));
        let children = direct.children().into_iter();
        let children = children
            .map(|child| name(child).unwrap_or_default())
            .collect();
        let lines = std::fs::read_to_string(format!("/proc/{id}/mounts")).expect("mounts");
        let mounts = lines.lines().map(str::to_owned).collect();
        let mut temporary: Vec<String> = ["tmp", "var/tmp", "run"]
            .iter()
            .filter_map(|directory| std::fs::read_dir(direct.root().join(directory)).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
            .collect();
        temporary.sort();
        Self {
            files,
            children,
            mounts,
            temporary,
        }
    }
}
