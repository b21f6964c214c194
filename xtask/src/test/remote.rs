//! Another computer for rsync to talk with: a daemon of rsync on this one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::process;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directory that is served.
const SERVED: &str = "served";

/// An rsync daemon that serves a directory; it ends with this.
pub(super) struct Remote {
    process: Child,
    port: u16,
}

impl Remote {
    /// Serves `served` in this directory, to this machine only.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let served = directory.join(SERVED);
        fs::create_dir(&served)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address: SocketAddr = free.local_addr()?;
        drop(free);
        let config = format!(
            "use chroot = no\nmunge symlinks = no\nuid = root\ngid = root\n\
             [module]\npath = {}\nread only = no\n",
            served.display()
        );
        let config_file = directory.join("rsyncd.conf");
        fs::write(&config_file, config)?;
        let mut command = Command::new("rsync");
        command
            .args(["--daemon", "--no-detach", "--address", "127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .arg("--config")
            .arg(&config_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = process::spawn(&mut command)?;
        let remote = Self {
            process,
            port: address.port(),
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect_timeout(&address, PATIENCE).is_err() {
            ensure!(Instant::now() < deadline, "rsync does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(remote)
    }

    /// The served directory, for rsync.
    pub(super) fn url(&self) -> String {
        format!("rsync://127.0.0.1:{}/module", self.port)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        process::stop(&mut self.process);
    }
}
