//! A Tang server, to which a disk's key is bound by Clevis.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use tempfile::TempDir;

/// A server on 127.0.0.1, which ends when this is dropped.
#[derive(Debug)]
pub struct Tang {
    keys: TempDir,
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Tang {
    /// Starts a server with keys of its own.
    ///
    /// # Panics
    ///
    /// When Debian's package `tang` is not installed.
    pub fn start() -> Self {
        let keys = tempfile::Builder::new()
            .prefix("tang-")
            .tempdir()
            .expect("tempdir");
        generate(keys.path());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listener");
        let address = listener.local_addr().expect("address");
        let ended = Arc::new(AtomicBool::new(false));
        let (flag, place) = (Arc::clone(&ended), keys.path().to_owned());
        let server = std::thread::spawn(move || serve(&listener, &place, &flag));
        Self {
            keys,
            address,
            ended,
            server: Some(server),
        }
    }

    /// The port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Writes to a file what the server says of its keys, for who is bound to it.
    ///
    /// # Panics
    ///
    /// When it says nothing.
    pub fn advertise(&self, file: &Path) {
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "60", "--output"])
            .arg(file)
            .arg(format!("http://{}/adv", self.address))
            .output()
            .expect("curl");
        assert!(output.status.success(), "curl: {output:?}");
    }

    /// Gives the server other keys, so that it no longer knows who was bound to it.
    ///
    /// # Panics
    ///
    /// When the keys cannot be written.
    pub fn replace_keys(&self) {
        for entry in self.keys.path().read_dir().expect("keys") {
            std::fs::remove_file(entry.expect("keys").path()).expect("key");
        }
        generate(self.keys.path());
    }
}

impl Drop for Tang {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The server notices with the next connection.
        let _ = TcpStream::connect(self.address);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn generate(keys: &Path) {
    let output = Command::new("/usr/libexec/tangd-keygen")
        .arg(keys)
        .output()
        .expect("tangd-keygen");
    assert!(output.status.success(), "tangd-keygen: {output:?}");
}

/// tangd itself serves one connection, which it has as its input and output.
fn serve(listener: &TcpListener, keys: &Path, ended: &AtomicBool) {
    let mut children: Vec<Child> = Vec::new();
    for stream in listener.incoming() {
        if ended.load(Ordering::SeqCst) {
            break;
        }
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        children.extend(stream.and_then(|stream| answer(stream, keys)));
    }
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn answer(stream: TcpStream, keys: &Path) -> io::Result<Child> {
    let input = OwnedFd::from(stream);
    Command::new("/usr/libexec/tangd")
        .arg(keys)
        .stdout(Stdio::from(input.try_clone()?))
        .stdin(Stdio::from(input))
        .stderr(Stdio::null())
        .spawn()
}
