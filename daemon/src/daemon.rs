//! The daemon as handlers see it.

use protocol::api::Feature;
use protocol::{Device, DeviceNames, Error, Host, Result};

use crate::Options;
use crate::devices::Devices;
use crate::features::Features;
use crate::guest::Guest;
use crate::worker::Workers;

/// All state that outlives a call. Handlers are its methods: for each IDL file
/// the trait of that file, in the module of the same name.
#[derive(Debug)]
pub struct Daemon {
    /// The guest's file tree.
    pub guest: Guest,
    /// The appliance's block devices.
    pub devices: Devices,
    /// What this appliance can do.
    pub features: Features,
    /// The processes that run C libraries.
    pub workers: Workers,
    /// How the daemon was started.
    pub options: Options,
    /// What the handlers of `idl/appliance/debug.idl` keep between calls.
    pub(crate) debug: crate::appliance::debug::State,
    /// What the handlers of `idl/guest/inotify.idl` keep between calls.
    pub(crate) inotify: crate::guest::inotify::State,
    pub(crate) exit: bool,
    /// The devices that the call in hand is about.
    asked: Vec<Device>,
}

impl Daemon {
    /// A daemon that has done nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            guest: Guest::new(options.sysroot.clone()),
            devices: Devices::new(),
            features: Features::default(),
            workers: Workers::default(),
            options,
            debug: crate::appliance::debug::State::default(),
            inotify: crate::guest::inotify::State::default(),
            exit: false,
            asked: Vec::new(),
        }
    }

    /// Lets go of everything that keeps a filesystem in the guest busy.
    pub fn release(&mut self) {
        self.debug = crate::appliance::debug::State::default();
    }

    /// Unmounts everything in the guest, the deepest first.
    ///
    /// # Errors
    ///
    /// When a filesystem is busy.
    pub fn unmount_all(&mut self) -> Result<()> {
        self.release();
        self.guest.unmount_all()
    }

    /// Writes out all that is cached, up to and including what the hypervisor has.
    pub fn sync(&self) {
        nix::unistd::sync();
        self.devices.flush();
    }

    /// What is to be done at the end of a session, called for or not: unmount
    /// (unless the guest is this machine itself) and flush.
    ///
    /// # Errors
    ///
    /// When a filesystem could not be unmounted; it is flushed all the same.
    pub fn autosync(&mut self) -> Result<()> {
        let result = if self.guest.is_own_root() {
            Ok(())
        } else {
            self.unmount_all()
        };
        self.sync();
        result
    }
}

impl DeviceNames for Daemon {
    fn device_name(&self, device: &Device) -> String {
        self.devices.name_of(device.as_str())
    }
}

impl protocol::api::Actions for Daemon {}

impl Host for Daemon {
    fn feature_available(&mut self, feature: Feature) -> bool {
        self.features.available(feature)
    }

    fn translate_device(&mut self, name: &str) -> Result<Device> {
        let device = self.devices.translate(name)?;
        self.asked.push(device.clone());
        Ok(device)
    }

    fn begin_call(&mut self) {
        self.asked.clear();
    }

    fn explain(&self, error: Error) -> Error {
        let error = error.map_said(|said| self.devices.with_callers_names(said));
        let message = error.message();
        match self.asked.first() {
            Some(first) if !self.asked.iter().any(|d| message.contains(d.name())) => {
                error.about(first)
            }
            _ => error,
        }
    }

    fn is_device_name(&self, name: &[u8]) -> bool {
        self.devices.is_name(name)
    }

    fn require_root(&self) -> Result<()> {
        self.guest.require_root()
    }

    fn exit_requested(&self) -> bool {
        self.exit
    }
}
