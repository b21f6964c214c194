//! A virtual machine with our appliance, driven by the generated client.
//!
//! For calls that the installed library does not know or never sends: here the
//! test takes the library's part, and starts qemu as its direct backend does.
//! What to boot comes from the same variables (see [`super::boot`]).

use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use protocol::client::Client;
use tempfile::TempDir;

use super::direct::DiskSpec;

mod appliance;
mod qmp;

use appliance::Appliance;
use qmp::Monitor;

/// A boot under emulation takes 15 s, when the machine is quiet.
const BOOT: Duration = Duration::from_secs(300);
/// How long the daemon may be silent during a call.
const CALL: Duration = Duration::from_secs(180);
const STEP: Duration = Duration::from_millis(20);

/// What a machine has.
#[derive(Debug, Default)]
pub struct Hardware<'a> {
    /// Disks behind virtio-scsi: `/dev/sda` is the first.
    pub disks: &'a [DiskSpec],
    /// Whether there is a network; this machine is [`HOST`] there.
    pub network: bool,
    /// Directories of this machine to be shared by 9p, with their mount tags.
    pub shares: &'a [(&'a str, &'a Path)],
}

/// The address of this machine in the network of a virtual one: what listens on
/// 127.0.0.1 is reached there.
pub const HOST: &str = "169.254.2.2";

/// A virtual machine whose daemon has said that it is ready.
///
/// Dereferences to the client, so `machine.list_devices()` is a call. It ends,
/// and its files go, when this is dropped.
#[derive(Debug)]
pub struct Machine {
    client: Client<UnixStream>,
    qemu: Qemu,
}

/// The process, and the files that go with it.
#[derive(Debug)]
struct Qemu {
    child: Child,
    disks: Vec<PathBuf>,
    monitor: PathBuf,
    directory: TempDir,
}

impl Machine {
    /// Boots a machine. One boot in a few hundred hangs under emulation, whatever
    /// is in it, so that alone is tried again.
    ///
    /// # Panics
    ///
    /// When it does not boot.
    pub fn boot(hardware: &Hardware<'_>) -> Self {
        let appliance = Appliance::build();
        Self::attempt(&appliance, hardware)
            .or_else(|| Self::attempt(&appliance, hardware))
            .expect("the virtual machine did not boot, twice")
    }

    /// `None` when the boot hung.
    fn attempt(appliance: &Appliance, hardware: &Hardware<'_>) -> Option<Self> {
        let directory = tempfile::Builder::new()
            .prefix("machine-")
            .tempdir()
            .expect("tempdir");
        let at = |name: &str| directory.path().join(name);
        let listener = UnixListener::bind(at("channel")).expect("channel");
        listener.set_nonblocking(true).expect("listener");
        let console = File::create(at("console")).expect("console");
        let mut command = testkit::bound("qemu-system-x86_64");
        command
            .args(appliance.arguments(hardware.network))
            .args(["-serial", "stdio"])
            .arg("-qmp")
            .arg(option("unix:", &at("monitor"), ",server=on,wait=off"))
            .args(["-device", "virtio-serial-pci"])
            .arg("-chardev")
            .arg(option("socket,id=channel0,path=", &at("channel"), ""))
            .args([
                "-device",
                "virtserialport,chardev=channel0,name=org.libguestfs.channel.0",
            ])
            .args(["-device", "virtio-scsi-pci,id=scsi"]);
        let mut disks = Vec::new();
        for (index, disk) in hardware.disks.iter().enumerate() {
            let image = disk.image(&at(&format!("disk{index}.img")));
            let readonly = match disk {
                DiskSpec::ReadOnly(_) => ",readonly=on",
                _ => "",
            };
            let start = format!("if=none,id=hd{index},format=raw,cache=unsafe{readonly},file=");
            command.arg("-drive").arg(option(&start, &image, ""));
            command
                .arg("-device")
                .arg(format!("scsi-hd,bus=scsi.0,drive=hd{index}"));
            disks.push(image);
        }
        // The appliance's own disk comes last, as the daemon expects.
        command.args(appliance.disk());
        for (index, (tag, share)) in hardware.shares.iter().enumerate() {
            let start = format!("local,id=share{index},mount_tag={tag},security_model=none,path=");
            command.arg("-virtfs").arg(option(&start, share, ""));
        }
        command
            .stdin(Stdio::null())
            .stderr(console.try_clone().expect("console"))
            .stdout(console);
        let child = command.spawn().expect("setpriv");
        let mut qemu = Qemu {
            child,
            disks,
            monitor: at("monitor"),
            directory,
        };
        let stream = qemu.accept(&listener);
        stream.set_read_timeout(Some(BOOT)).expect("read timeout");
        stream.set_write_timeout(Some(CALL)).expect("write timeout");
        match Client::launch(stream) {
            Ok(mut client) => {
                let stream = client.stream();
                stream.set_read_timeout(Some(CALL)).expect("read timeout");
                Some(Self { client, qemu })
            }
            Err(error) if qemu.runs() => {
                eprintln!("{error}; the console:\n{}", qemu.console());
                None
            }
            Err(error) => panic!("qemu has ended: {error}; the console:\n{}", qemu.console()),
        }
    }

    /// The image behind the disk of this index.
    pub fn disk(&self, index: usize) -> &Path {
        &self.qemu.disks[index]
    }

    /// Plugs a disk in, under a label.
    ///
    /// # Panics
    ///
    /// When qemu does not.
    pub fn plug(&mut self, image: &Path, label: &str) {
        Monitor::connect(&self.qemu.monitor).plug(image, label);
    }

    /// Takes the disk of this label out.
    ///
    /// # Panics
    ///
    /// When qemu does not.
    pub fn unplug(&mut self, label: &str) {
        Monitor::connect(&self.qemu.monitor).unplug(label);
    }

    /// A command in the appliance's own shell; what it printed. Names of disks are
    /// the kernel's own there, which differ from the callers' at times.
    ///
    /// # Panics
    ///
    /// When it fails, with what it printed.
    pub fn shell(&mut self, script: &str) -> String {
        match self.client.debug("sh", &[script]) {
            Ok(output) => String::from_utf8_lossy(&output).into_owned(),
            Err(error) => panic!("{script}: {error}"),
        }
    }
}

impl Qemu {
    /// qemu connects as soon as it has started.
    fn accept(&mut self, listener: &UnixListener) -> UnixStream {
        let deadline = Instant::now() + BOOT;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).expect("channel");
                    return stream;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("channel: {error}"),
            }
            assert!(
                self.runs() && Instant::now() < deadline,
                "qemu does not start: {}",
                self.console()
            );
            std::thread::sleep(STEP);
        }
    }

    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.directory.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Deref for Machine {
    type Target = Client<UnixStream>;
    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl DerefMut for Machine {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the console:\n{}", self.console());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An option of qemu's with a file in it, in which qemu wants commas twice.
fn option(start: &str, file: &Path, end: &str) -> String {
    let file = file.to_str().expect("a file name in UTF-8");
    format!("{start}{}{end}", file.replace(',', ",,"))
}
