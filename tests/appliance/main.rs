//! The appliance lane: a virtual machine, driven by unmodified clients.
//!
//! A boot is slow, so each test boots once and does many things.

mod clevis;
mod damaged;
mod faults;
mod guestfish;
mod ldm;
mod luks;
mod matrix;
mod python;
mod unsent;
mod verbose;
mod virt_tools;
