//! What the generated stubs need of the daemon, and what they get of a call.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::api::Feature;
use crate::channel::{Input, Output};
use crate::error::{Error, Result};
use crate::feature::ActionInfo;
use crate::file_in::FileIn;
use crate::file_out::{FileOut, Sent};
use crate::progress::Progress;
use crate::types::Device;
use crate::wire::{HEADER_LEN, Header, MESSAGE_MAX, STATUS_OK};
use crate::xdr::{Decoder, Encoder, Malformed};

/// Gives devices the names that callers know.
pub trait DeviceNames {
    /// The caller's name for a device of the appliance (`/dev/vda1` -> `/dev/sda1`).
    fn device_name(&self, device: &Device) -> String;
}

/// For those who have no devices to name: workers.
#[derive(Debug)]
pub struct NoDevices;

impl DeviceNames for NoDevices {
    fn device_name(&self, device: &Device) -> String {
        device.name().to_owned()
    }
}

/// What the daemon tells the generated stubs.
pub trait Host: DeviceNames {
    /// Whether the feature's probes hold.
    fn feature_available(&mut self, feature: Feature) -> bool;

    /// The block device that the caller calls `name`.
    ///
    /// # Errors
    ///
    /// When there is none, or it is no block device.
    fn translate_device(&mut self, name: &str) -> Result<Device>;

    /// Whether `name` names a device rather than a path in the guest.
    fn is_device_name(&self, name: &[u8]) -> bool;

    /// Checks that a root filesystem is mounted.
    ///
    /// # Errors
    ///
    /// When none is.
    fn require_root(&self) -> Result<()>;

    /// The place of worker processes in dispatch: for an action whose feature
    /// says `worker`, the stub offers the call here before it decodes it.
    /// `None` means that this process serves the call itself.
    fn forward(&mut self, _feature: Feature, _call: &mut Call<'_>) -> Option<Result<Reply>> {
        None
    }

    /// A call has come: the devices that are translated from now on are its own.
    fn begin_call(&mut self) {}

    /// The error that a call ended with, as its caller is told of it.
    fn explain(&self, error: Error) -> Error {
        error
    }

    /// The last handler asked for the daemon to end, after its reply.
    fn exit_requested(&self) -> bool {
        false
    }
}

/// For a reply that is larger than a message may be.
pub(crate) fn too_large() -> Error {
    Error::with_errno(
        Errno::E2BIG,
        format!(
            "the reply is larger than a message of the protocol may be ({MESSAGE_MAX} bytes); \
             ask for less at a time"
        ),
    )
}

/// How a call was answered.
#[derive(Debug)]
pub enum Reply {
    /// The reply, with its length word, ready to be written.
    Message(Vec<u8>),
    /// Already sent, with a file after it.
    Sent,
}

impl From<Sent> for Reply {
    fn from(_: Sent) -> Self {
        Self::Sent
    }
}

/// A call that has been received.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) header: Header,
    pub(crate) body: &'a [u8],
    pub(crate) input: Option<&'a mut Input>,
    pub(crate) output: &'a Output,
    /// The open files that came with a call to a worker.
    pub(crate) descriptors: VecDeque<OwnedFd>,
}

impl<'a> Call<'a> {
    /// The procedure number.
    pub fn procedure(&self) -> u32 {
        self.header.procedure
    }

    /// Checks that a feature is there.
    ///
    /// # Errors
    ///
    /// ENOTSUP when it is not.
    pub fn require(&self, host: &mut (impl Host + ?Sized), feature: Feature) -> Result<()> {
        if host.feature_available(feature) {
            return Ok(());
        }
        Err(Error::not_supported(format!(
            "feature '{}' is not available in this appliance: \
             what it needs is not installed, or the kernel does not have it",
            feature.info().name
        )))
    }

    /// Begins decoding the arguments; the action has `options` options.
    ///
    /// # Errors
    ///
    /// When the caller set the bit of an option that is not known here.
    pub fn arguments(&self, options: u32) -> Result<Arguments<'a>> {
        let known = match options {
            0..64 => (1u64 << options) - 1,
            _ => u64::MAX,
        };
        let unknown = self.header.options & !known;
        if unknown != 0 {
            let bits: Vec<String> = (0..64)
                .filter(|bit| unknown >> bit & 1 == 1)
                .map(|bit| bit.to_string())
                .collect();
            let what = if options == 0 {
                "this call takes no optional arguments".to_owned()
            } else {
                format!("this daemon knows {options} of this call's optional arguments")
            };
            return Err(Error::with_errno(
                Errno::EINVAL,
                format!(
                    "unknown optional argument (bit {}): {what}; \
                     the program may have been built for a newer libguestfs",
                    bits.join(", ")
                ),
            ));
        }
        Ok(Arguments {
            input: Decoder::new(self.body),
            options: self.header.options,
            next: 0,
        })
    }

    /// The stream of a `file_in` parameter.
    ///
    /// # Errors
    ///
    /// When it was taken before; the generated stubs take it once.
    pub fn file_in(&mut self) -> Result<FileIn<'a>> {
        self.input
            .take()
            .map(FileIn::new)
            .ok_or_else(|| Error::new("the file stream was taken twice"))
    }

    /// The stream of a `file_out` parameter.
    ///
    /// # Errors
    ///
    /// When it was taken before; the generated stubs take it once.
    pub fn file_out(&mut self) -> Result<FileOut<'a>> {
        let input = self
            .input
            .take()
            .ok_or_else(|| Error::new("the file stream was taken twice"))?;
        Ok(FileOut::new(input, self.output, self.header))
    }

    /// The next open file that came with the call.
    ///
    /// # Errors
    ///
    /// EINVAL when there are no more.
    pub fn descriptor(&mut self, name: &str) -> Result<OwnedFd> {
        self.descriptors.pop_front().ok_or_else(|| {
            Error::with_errno(
                Errno::EINVAL,
                format!("argument '{name}': no descriptor came with the call"),
            )
        })
    }

    /// Progress messages of this call.
    pub fn progress(&self) -> Progress<'a> {
        Progress::new(self.output, self.header.progress_hint)
    }

    /// The reply, whose body `encode` appends.
    ///
    /// # Errors
    ///
    /// When the reply is larger than a message may be.
    pub fn reply(&self, encode: impl FnOnce(&mut Encoder)) -> Result<Reply> {
        let mut out = Encoder::after(vec![0; 4]);
        self.header.reply(STATUS_OK).encode(&mut out);
        encode(&mut out);
        if out.overflowed() {
            return Err(too_large());
        }
        let mut bytes = out.into_bytes();
        let len = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        debug_assert!(bytes.len() >= 4 + HEADER_LEN);
        Ok(Reply::Message(bytes))
    }

    /// The reply of an action without a result.
    ///
    /// # Errors
    ///
    /// None; the form of [`Call::reply`].
    pub fn reply_empty(&self) -> Result<Reply> {
        self.reply(|_| {})
    }
}

/// Arguments being decoded, in wire order: parameters, then options.
#[derive(Debug)]
pub struct Arguments<'a> {
    input: Decoder<'a>,
    options: u64,
    next: u32,
}

impl<'a> Arguments<'a> {
    /// The next parameter.
    ///
    /// # Errors
    ///
    /// EINVAL, with the parameter's name.
    pub fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, Malformed>,
    ) -> Result<T> {
        read(&mut self.input).map_err(|malformed| bad(name, malformed))
    }

    /// The next option; `None` when its bit is not set.
    ///
    /// A client that was built before the action had this option ends the
    /// message before it, so it may be missing as long as its bit is not set;
    /// what fills its place otherwise is skipped.
    ///
    /// # Errors
    ///
    /// EINVAL, with the option's name.
    pub fn option<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>> {
        let set = self.options >> self.next & 1 == 1;
        self.next += 1;
        if !set && self.input.is_empty() {
            return Ok(None);
        }
        match read(&mut self.input) {
            Ok(value) => Ok(set.then_some(value)),
            Err(Malformed::Nul | Malformed::Utf8 | Malformed::Bool) if !set => Ok(None),
            Err(malformed) => Err(bad(name, malformed)),
        }
    }
}

fn bad(name: &str, malformed: Malformed) -> Error {
    Error::invalid(malformed.to_string()).about(format_args!("argument '{name}'"))
}

/// The reply to a procedure that has no handler yet.
///
/// # Errors
///
/// Always ENOTSUP.
pub fn pending(info: &ActionInfo) -> Result<Reply> {
    Err(Error::not_supported(format!(
        "'{}' is not implemented in this version of guestfsd yet",
        info.name
    )))
}

/// The reply to a procedure number that names nothing.
///
/// # Errors
///
/// Always ENOTSUP.
pub fn unknown(procedure: u32) -> Result<Reply> {
    Err(Error::not_supported(format!(
        "unknown procedure number {procedure}: the library may be newer than this appliance"
    )))
}
