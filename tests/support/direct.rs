//! The daemon in a sandbox of its own, without a virtual machine.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::client::Client;
use tempfile::TempDir;

/// How long a read from the daemon may take, and its end. It ends what hangs; what is only slow,
/// because the machine is busy, is not.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The seed of the order of names in ext filesystems: the same in each, so that what a test meets
/// first is the same whenever it runs.
const HASH_SEED: &str = "87751d4c-a850-4e2c-84dc-da6a797d76de";

/// A disk for the daemon: `/dev/sda` is the first.
#[derive(Debug, Clone)]
pub enum DiskSpec {
    /// Zeroes, of this many bytes.
    Blank(u64),
    /// A filesystem on the whole disk: its type and the disk's size in bytes.
    Formatted(&'static str, u64),
    /// An image that the test made.
    Image(PathBuf),
    /// An image that the daemon cannot write to.
    ReadOnly(PathBuf),
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Exit {
    /// Its exit status; 128 and the signal when one killed it.
    pub code: i32,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// A running daemon, and a client that it has told that it is ready.
///
/// Dereferences to the client, so `direct.touch("/x")` is a call.
#[derive(Debug)]
pub struct Direct {
    client: Client<UnixStream>,
    child: Child,
    directory: TempDir,
    disks: Vec<PathBuf>,
}

impl Direct {
    /// Starts the daemon with these disks.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(disks: &[DiskSpec]) -> Self {
        Self::with_args(disks, &[])
    }

    /// Starts the daemon with an ext4 filesystem mounted as the guest's root.
    ///
    /// # Panics
    ///
    /// When it does not start, or does not mount.
    pub fn mounted() -> Self {
        let mut direct = Self::start(&[DiskSpec::Formatted("ext4", 64 << 20)]);
        direct.mount("/dev/sda", "/").expect("mount");
        direct
    }

    /// Starts the daemon with more arguments than the channel.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn with_args(disks: &[DiskSpec], args: &[&str]) -> Self {
        Self::with_environment(disks, args, &[])
    }

    /// Starts the daemon with more arguments than the channel, and with variables.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn with_environment(disks: &[DiskSpec], args: &[&str], variables: &[(&str, &str)]) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("socketpair");
        ours.set_read_timeout(Some(LIMIT)).expect("read timeout");
        ours.set_write_timeout(Some(LIMIT)).expect("write timeout");
        let directory = tempfile::Builder::new()
            .prefix("direct-")
            .tempdir()
            .expect("tempdir");
        let mut command = Command::new(standin());
        command
            .arg("--direct")
            .env("GUESTFSD_BIN", daemon())
            .env_remove("GUESTFSD_ARGS")
            .envs(variables.iter().copied());
        let mut images = Vec::new();
        for (index, disk) in disks.iter().enumerate() {
            let image = disk.image(&directory.path().join(format!("disk{index}.img")));
            let option = if matches!(disk, DiskSpec::ReadOnly(_)) {
                "--disk-ro"
            } else {
                "--disk"
            };
            command.arg(option).arg(&image);
            images.push(image);
        }
        command.arg("--").args(args);
        let stderr = File::create(directory.path().join("stderr")).expect("stderr");
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(stderr);
        let mut child = command.spawn().expect("hv-standin");
        // The command holds the daemon's end of the channel, which would
        // otherwise stay open when the daemon goes.
        drop(command);
        let client = match Client::launch(ours) {
            Ok(client) => client,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let path = directory.path().join("stderr");
                let stderr = std::fs::read_to_string(path).unwrap_or_default();
                panic!("the daemon is not ready: {error}; stderr: {stderr}");
            }
        };
        Self {
            client,
            child,
            directory,
            disks: images,
        }
    }

    /// The image behind the disk of this index.
    pub fn disk(&self, index: usize) -> &Path {
        &self.disks[index]
    }

    /// A directory of this machine that goes with the daemon.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The root directory of the sandbox that the daemon runs in, for what a
    /// test hides there or looks for; the guest is below it in `sysroot`.
    ///
    /// # Panics
    ///
    /// When the daemon has ended.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.id()))
    }

    /// The daemon's process.
    ///
    /// # Panics
    ///
    /// When the daemon has ended.
    pub fn id(&self) -> u32 {
        let mut ids = vec![self.child.id()];
        while let Some(id) = ids.pop() {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            if name.trim() == "guestfsd" {
                return id;
            }
            ids.extend(children(id));
        }
        panic!("the daemon has ended; stderr: {}", self.stderr());
    }

    /// The processes that the daemon has started and that have not ended.
    ///
    /// # Panics
    ///
    /// When the daemon has ended.
    pub fn children(&self) -> Vec<u32> {
        children(self.id())
    }

    /// The most memory that the daemon has had at a time, in bytes.
    ///
    /// # Panics
    ///
    /// When the daemon has ended.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// The memory that the daemon has now, in bytes.
    ///
    /// # Panics
    ///
    /// When the daemon has ended.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Forgets the most memory that it has had until now.
    ///
    /// # Panics
    ///
    /// When the daemon has ended.
    pub fn forget_peak_memory(&self) {
        let path = format!("/proc/{}/clear_refs", self.id());
        std::fs::write(path, "5").expect("clear_refs");
    }

    fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("status");
        let size = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = size.and_then(|size| size.trim().strip_suffix(" kB"));
        1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect(field)
    }

    /// What the daemon has written to stderr so far.
    pub fn stderr(&self) -> String {
        let mut bytes = Vec::new();
        let file = File::open(self.directory.path().join("stderr"));
        if let Ok(mut file) = file {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Goes away, as a library does that ends; waits for the daemon's end.
    ///
    /// # Panics
    ///
    /// When the daemon does not end in time.
    pub fn hang_up(mut self) -> Exit {
        let _ = self.client.stream().shutdown(std::net::Shutdown::Both);
        self.exit()
    }

    /// Ends the stand-in as it is, so that the sandbox goes without it.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the daemon to end by itself.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    pub fn exit(&mut self) -> Exit {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                let code = status.code().unwrap_or(-1);
                return Exit {
                    code,
                    stderr: self.stderr(),
                };
            }
            assert!(
                Instant::now() < deadline,
                "the daemon goes on after {LIMIT:?}; stderr: {}",
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The processes that a process has started and that have not ended.
pub fn children(id: u32) -> Vec<u32> {
    std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// Kills the processes that a process has started.
pub fn kill_children(id: u32) {
    for child in children(id).into_iter().map(u32::cast_signed) {
        // It may have ended by now.
        let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
    }
}

impl Deref for Direct {
    type Target = Client<UnixStream>;
    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl DerefMut for Direct {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's stderr:\n{}", self.stderr());
        }
        // The sandbox, its mounts and its loop devices go with the stand-in, which takes them down in
        // order if it may.
        let stand_in = i32::try_from(self.child.id()).map(Pid::from_raw);
        let _ = stand_in.map(|id| kill(id, Signal::SIGTERM));
        let deadline = Instant::now() + LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl DiskSpec {
    /// The image for this disk, made at `path` unless there is one already.
    pub(super) fn image(&self, path: &Path) -> PathBuf {
        let blank = |size: u64| {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
                .expect("image");
            file.set_len(size).expect("image size");
        };
        match self {
            Self::Blank(size) => blank(*size),
            Self::Formatted(kind, size) => {
                blank(*size);
                let mut command = Command::new(format!("/usr/sbin/mkfs.{kind}"));
                if kind.starts_with("ext") {
                    command.args(["-q", "-F", "-E"]);
                    command.arg(format!("root_owner=0:0,hash_seed={HASH_SEED}"));
                }
                let output = command.arg(path).output().expect("mkfs");
                assert!(output.status.success(), "mkfs: {output:?}");
            }
            Self::Image(image) | Self::ReadOnly(image) => return image.clone(),
        }
        path.to_owned()
    }
}

/// The daemon under test: `GUESTFSD_BIN`, or the one that was built last.
///
/// # Panics
///
/// When there is none.
pub fn daemon() -> PathBuf {
    if let Some(daemon) = std::env::var_os("GUESTFSD_BIN") {
        // Tests do not run in the directory in which cargo was started.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        return root.join(daemon);
    }
    let profiles = build_directory();
    let target = profiles.parent().unwrap_or(&profiles);
    ["release", "debug"]
        .iter()
        .map(|profile| target.join(profile).join("guestfsd"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
        .expect("no guestfsd is built: run cargo build, or set GUESTFSD_BIN")
}

/// The stand-in, which cargo builds together with these tests.
fn standin() -> PathBuf {
    build_directory().join("hv-standin")
}

/// Cargo's directory of this build: tests are in `deps` below it.
fn build_directory() -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    let deps = test.parent().expect("the program's directory");
    deps.parent().unwrap_or(deps).to_owned()
}
