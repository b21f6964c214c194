//! Handlers of `idl/appliance/`: the daemon itself and the appliance.

mod daemon;
pub(crate) mod debug;
mod features;
