//! Static facts about features and actions; codegen fills the tables.

/// One condition for a feature to be available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Nothing is needed.
    Always,
    /// The program is on PATH.
    Program(&'static str),
    /// The kernel knows the filesystem, perhaps after loading its module.
    KernelFilesystem(&'static str),
    /// The path exists in the appliance.
    Path(&'static str),
    /// The shared library can be loaded.
    Library(&'static str),
}

/// A feature group.
#[derive(Debug)]
pub struct FeatureInfo {
    /// The name that clients ask for.
    pub name: &'static str,
    /// All must hold.
    pub probes: &'static [Probe],
    /// The library whose worker process serves the feature.
    pub worker: Option<&'static str>,
    /// Some of its actions have no handler yet, so it is reported unavailable.
    pub pending: bool,
    /// Its actions.
    pub actions: &'static [&'static str],
}

/// An action.
#[derive(Debug)]
pub struct ActionInfo {
    /// The procedure number.
    pub number: u32,
    /// Its name, in snake case.
    pub name: &'static str,
    /// A file streams from the library after the call.
    pub file_in: bool,
    /// A file streams to the library after the reply.
    pub file_out: bool,
    /// The call carries a secret, so the message is overwritten after it.
    pub secret: bool,
    /// There is no handler yet.
    pub pending: bool,
}
