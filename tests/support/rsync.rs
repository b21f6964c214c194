//! Another computer for rsync to talk with: a daemon of rsync on this one.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An rsync daemon that serves a directory; it ends with this.
#[derive(Debug)]
pub struct Remote {
    process: Child,
    scratch: TempDir,
    port: u16,
}

impl Remote {
    /// Starts it with an empty directory.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let served = scratch.path().join("served");
        fs::create_dir(&served).expect("a directory");
        let config = format!(
            "use chroot = no\nmunge symlinks = no\nuid = root\ngid = root\n[module]\npath = {}\nread only = no\n",
            served.display()
        );
        let config_file = scratch.path().join("rsyncd.conf");
        fs::write(&config_file, config).expect("a configuration");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("its number").port();
        drop(free);
        // It must not outlive us, however we end.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "rsync"])
            .args(["--daemon", "--no-detach", "--address", "127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg("--config")
            .arg(&config_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rsync");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect_timeout(&address, PATIENCE).is_err() {
            assert!(Instant::now() < deadline, "rsync does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            process,
            scratch,
            port,
        }
    }

    /// The directory, or what is at this path below it, for rsync.
    pub fn url(&self, path: &str) -> String {
        format!("rsync://127.0.0.1:{}/module/{path}", self.port)
    }

    /// The same for this machine.
    pub fn at(&self, path: &str) -> PathBuf {
        self.scratch.path().join("served").join(path)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
