//! The daemon inside the libguestfs appliance.

fn main() {}
