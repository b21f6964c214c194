//! The appliance lane: a virtual machine, driven by unmodified clients.
