//! Constants and fixed structures of `guestfs_protocol.x`.

use crate::xdr::{Decoder, Encoder, Malformed};

/// The RPC program number.
pub const PROGRAM: u32 = 0x2000_F5F5;
/// The protocol's version.
pub const PROTOCOL_VERSION: u32 = 4;
/// Sent by the daemon in place of a length word when it is ready.
pub const LAUNCH_FLAG: u32 = 0xf5f5_5ff5;
/// Sent by either side in place of a length word to stop a stream that it receives.
pub const CANCEL_FLAG: u32 = 0xffff_eeee;
/// Sent by the daemon in place of a length word, before a [`ProgressMessage`].
pub const PROGRESS_FLAG: u32 = 0xffff_5555;
/// Limit of a message, in bytes, without its length word.
pub const MESSAGE_MAX: usize = 4 * 1024 * 1024;
/// Limit of an error message's text, in bytes.
pub const ERROR_LEN: usize = 64 * 1024;
/// Limit of a chunk's data, in bytes.
pub const CHUNK_MAX: usize = 8192;
/// Size of a message header, in bytes.
pub const HEADER_LEN: usize = 40;
/// Size of a chunk's length word, cancel word and data length, in bytes.
pub const CHUNK_PREFIX: usize = 12;

/// Direction: from the library to the daemon.
pub const DIRECTION_CALL: i32 = 0;
/// Direction: from the daemon to the library.
pub const DIRECTION_REPLY: i32 = 1;
/// Status: a call, or a reply with a result.
pub const STATUS_OK: i32 = 0;
/// Status: a reply with an error.
pub const STATUS_ERROR: i32 = 1;

/// A message's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// [`PROGRAM`]
    pub program: u32,
    /// [`PROTOCOL_VERSION`]
    pub version: u32,
    /// The procedure number.
    pub procedure: u32,
    /// [`DIRECTION_CALL`] or [`DIRECTION_REPLY`]
    pub direction: i32,
    /// Chosen by the library, repeated in the reply.
    pub serial: u32,
    /// How much the library expects to send, for progress, in the action's own unit.
    pub progress_hint: u64,
    /// Which optional arguments are set.
    pub options: u64,
    /// [`STATUS_OK`] or [`STATUS_ERROR`]
    pub status: i32,
}

impl Header {
    /// The header of a call.
    pub fn call(procedure: u32, serial: u32) -> Self {
        Self {
            program: PROGRAM,
            version: PROTOCOL_VERSION,
            procedure,
            direction: DIRECTION_CALL,
            serial,
            progress_hint: 0,
            options: 0,
            status: STATUS_OK,
        }
    }

    /// The header of the reply to this call.
    #[must_use]
    pub fn reply(&self, status: i32) -> Self {
        Self {
            direction: DIRECTION_REPLY,
            status,
            ..Self::call(self.procedure, self.serial)
        }
    }

    /// Appends the header.
    pub fn encode(&self, out: &mut Encoder) {
        out.u32(self.program);
        out.u32(self.version);
        out.u32(self.procedure);
        out.i32(self.direction);
        out.u32(self.serial);
        out.u64(self.progress_hint);
        out.u64(self.options);
        out.i32(self.status);
    }

    /// Takes a header off the front.
    ///
    /// # Errors
    ///
    /// When there are fewer than [`HEADER_LEN`] bytes.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            program: input.u32()?,
            version: input.u32()?,
            procedure: input.u32()?,
            direction: input.i32()?,
            serial: input.u32()?,
            progress_hint: input.u64()?,
            options: input.u64()?,
            status: input.i32()?,
        })
    }
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressMessage {
    /// The procedure number of the call.
    pub procedure: u32,
    /// The serial number of the call.
    pub serial: u32,
    /// From 0 to `total`; 0 of 1 when the call cannot measure.
    pub position: u64,
    /// The end, in the call's own unit.
    pub total: u64,
}

impl ProgressMessage {
    /// The message with its flag, as it goes over the channel.
    pub fn to_bytes(self) -> [u8; 28] {
        let mut out = [0; 28];
        out[..4].copy_from_slice(&PROGRESS_FLAG.to_be_bytes());
        out[4..8].copy_from_slice(&self.procedure.to_be_bytes());
        out[8..12].copy_from_slice(&self.serial.to_be_bytes());
        out[12..20].copy_from_slice(&self.position.to_be_bytes());
        out[20..].copy_from_slice(&self.total.to_be_bytes());
        out
    }

    /// Takes a message (after its flag) off the front.
    ///
    /// # Errors
    ///
    /// When there are fewer than 24 bytes.
    pub fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            procedure: input.u32()?,
            serial: input.u32()?,
            position: input.u64()?,
            total: input.u64()?,
        })
    }
}
