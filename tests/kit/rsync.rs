//! Another computer for rsync to talk with: a daemon of rsync on this one.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::bound;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An rsync daemon that serves a directory to this machine only; it ends with this.
#[derive(Debug)]
pub struct Remote {
    process: Child,
    served: PathBuf,
    port: u16,
}

impl Remote {
    /// Serves an empty directory, `served`, which is made in this one.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let served = directory.join("served");
        fs::create_dir(&served)?;
        let config = format!(
            "use chroot = no\nmunge symlinks = no\nuid = root\ngid = root\n\
             [module]\npath = {}\nread only = no\n",
            served.display()
        );
        let config_file = directory.join("rsyncd.conf");
        fs::write(&config_file, config)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address: SocketAddr = free.local_addr()?;
        drop(free);
        let process = bound("rsync")
            .args(["--daemon", "--no-detach", "--address", "127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .arg("--config")
            .arg(&config_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let remote = Self {
            process,
            served,
            port: address.port(),
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect_timeout(&address, PATIENCE).is_err() {
            if Instant::now() >= deadline {
                return Err(io::Error::other("rsync does not answer"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(remote)
    }

    /// The directory with `""`, or what is at this absolute path in it, for rsync.
    pub fn url(&self, path: &str) -> String {
        format!("rsync://127.0.0.1:{}/module{path}", self.port)
    }

    /// What is at this path below the directory, for this machine.
    pub fn at(&self, path: &str) -> PathBuf {
        self.served.join(path)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
