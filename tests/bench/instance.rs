//! A daemon in the stand-in's sandbox, with disks and a fast client.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use conformance::support::direct::children;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use protocol::client::Client;
use tempfile::TempDir;

/// Big enough for all inputs; only what is written takes space.
const DISK: u64 = 2 << 30;
/// No call may take longer, whichever daemon it is.
const LIMIT: Duration = Duration::from_secs(120);
/// The kernel's socket buffers are about this big.
const BUFFER: usize = 256 << 10;

/// A running daemon.
pub(crate) struct Instance {
    pub(crate) client: Client<Channel>,
    /// From the start of its process to its launch flag.
    pub(crate) started: Duration,
    standin: Child,
    _directory: TempDir,
}

impl Instance {
    pub(crate) fn start(daemon: &Path, disks: usize) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(scratch())?;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(LIMIT))?;
        ours.set_write_timeout(Some(LIMIT))?;
        let (mut start, start_writer) = std::io::pipe()?;
        fcntl(&start_writer, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let standin = std::env::current_exe()?.with_file_name("hv-standin");
        let mut command = Command::new(&standin);
        command.arg("--direct");
        for number in 0..disks {
            let disk = directory.path().join(format!("disk-{number}.img"));
            File::create(&disk)?.set_len(DISK)?;
            command.arg("--disk").arg(disk);
        }
        let child = command
            .env("GUESTFSD_BIN", daemon)
            .env("STANDIN_START_FD", start_writer.as_raw_fd().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", standin.display()))?;
        drop(start_writer);
        let mut stamp = [0; 8];
        start
            .read_exact(&mut stamp)
            .context("the sandbox could not be made (this needs root)")?;
        let client = Client::launch(Channel::new(ours)?).context("no launch flag")?;
        let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
        let start = Duration::from_nanos(u64::from_ne_bytes(stamp));
        Ok(Self {
            client,
            started: now.saturating_sub(start),
            standin: child,
            _directory: directory,
        })
    }

    /// The daemon's process.
    fn daemon(&self) -> Result<u32> {
        // The stand-in's only child is the sandbox's first process, and that
        // one's only child the daemon.
        let first = child_of(self.standin.id())?;
        child_of(first)
    }

    /// Lets the daemon run on these processors only.
    pub(crate) fn run_on(&self, processors: &CpuSet) -> Result<()> {
        let daemon = Pid::from_raw(self.daemon()?.cast_signed());
        sched_setaffinity(daemon, processors).context("sched_setaffinity")
    }

    /// The daemon's resident memory, in KiB.
    pub(crate) fn resident(&self) -> Result<u64> {
        let daemon = self.daemon()?;
        let status = fs::read_to_string(format!("/proc/{daemon}/status"))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|size| size.trim().strip_suffix("kB"))
            .and_then(|size| size.trim().parse().ok())
            .context("the daemon has no VmRSS")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // The daemon, its mounts and its loop device go with the stand-in.
        let _ = self.standin.kill();
        let _ = self.standin.wait();
    }
}

fn child_of(process: u32) -> Result<u32> {
    children(process)
        .into_iter()
        .next()
        .with_context(|| format!("process {process} has no child"))
}

/// Where the disks go: in memory, if there is plenty, so that a slow disk's
/// noise is not measured.
pub(crate) fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = nix::sys::statvfs::statvfs(memory)
        .map(|stat| stat.blocks_available() * stat.fragment_size());
    if free.is_ok_and(|free| free > 3 << 30) {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

/// A connection that reads and writes a lot at a time, so that the client's own
/// system calls are not what is measured.
pub(crate) struct Channel {
    reader: BufReader<UnixStream>,
    writer: BufWriter<UnixStream>,
}

impl Channel {
    fn new(stream: UnixStream) -> Result<Self> {
        Ok(Self {
            reader: BufReader::with_capacity(BUFFER, stream.try_clone()?),
            writer: BufWriter::with_capacity(BUFFER, stream),
        })
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.writer.flush()?;
        self.reader.read(buffer)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
