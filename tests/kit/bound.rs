//! Programs that do not outlive a test.

use std::ffi::OsStr;
use std::process::Command;

/// A command that is killed when the thread that starts it ends, however that ends.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
