//! The daemon inside the libguestfs appliance: its command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Parser};
use daemon::Options;
use daemon::channel::Channel;
use daemon::kernel_cmdline::KernelCmdline;

/// Serves the libguestfs library inside its appliance.
///
/// The appliance starts the daemon without options. They are for running it by
/// hand; see guestfsd(8).
#[derive(Debug, Parser)]
#[command(name = "guestfsd", version, disable_help_flag = true)]
struct CommandLine {
    /// Show this help
    #[arg(short = '?', long, action = ArgAction::HelpShort)]
    help: Option<bool>,

    /// Where the library is: a port, or the number of an open descriptor
    #[arg(short, long, value_name = "PATH|fd:N")]
    channel: Option<OsString>,

    /// Make the channel a Unix socket and wait for a connection to it
    #[arg(short, long)]
    listen: bool,

    /// Let programs in the guest use the network
    #[arg(short, long)]
    network: bool,

    /// Serve this machine itself: / is the root, and stays mounted at exit
    #[arg(short = 'r', conflicts_with = "sysroot")]
    own_root: bool,

    /// Say on stderr what is being done
    #[arg(short, long)]
    verbose: bool,

    /// Be a worker of this name, as the daemon starts them
    #[arg(long, value_name = "NAME", hide = true, exclusive = true)]
    worker: Option<String>,

    /// Where the guest's filesystems are mounted
    #[arg(long, value_name = "DIR", default_value = "/sysroot")]
    sysroot: PathBuf,
}

impl CommandLine {
    /// An option beats the kernel command line.
    fn options(self, kernel: KernelCmdline) -> anyhow::Result<Options> {
        let channel = match self.channel.or(kernel.channel) {
            Some(text) => Channel::parse(&text)?,
            None => Channel::default(),
        };
        let sysroot = if self.own_root {
            PathBuf::from("/")
        } else {
            // Before the daemon changes its working directory.
            std::path::absolute(&self.sysroot)?
        };
        Ok(Options {
            channel,
            listen: self.listen,
            network: self.network || kernel.network,
            verbose: self.verbose || kernel.verbose,
            // Mounts are listed under the directory's real name.
            sysroot: sysroot.canonicalize().unwrap_or(sysroot),
        })
    }
}

fn main() -> ExitCode {
    let mut command_line = CommandLine::parse();
    let result = match command_line.worker.take() {
        Some(name) => daemon::worker::run(&name),
        None => command_line
            .options(KernelCmdline::read())
            .and_then(daemon::run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guestfsd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn options(args: &[&str], kernel: &str) -> Options {
        let args = std::iter::once("guestfsd").chain(args.iter().copied());
        CommandLine::try_parse_from(args)
            .unwrap()
            .options(KernelCmdline::parse(kernel.as_bytes()))
            .unwrap()
    }

    #[test]
    fn the_appliance_starts_it_without_options() {
        let options = options(&[], "console=ttyS0 panic=1");
        assert_eq!(options.channel, Channel::default());
        assert_eq!(options.sysroot, Path::new("/sysroot"));
        assert!(!options.verbose && !options.network && !options.listen);
    }

    #[test]
    fn the_kernel_command_line_counts_where_no_option_does() {
        let kernel = "guestfs_verbose=1 guestfs_network=1 guestfs_channel=/dev/ttyS0";
        let without = options(&[], kernel);
        assert!(without.verbose && without.network);
        assert_eq!(without.channel, Channel::Path("/dev/ttyS0".into()));
        let with = options(&["-c", "fd:3"], kernel);
        assert_eq!(with.channel, Channel::Descriptor(3));
    }

    #[test]
    fn options_have_short_and_long_forms() {
        for args in [["-v", "-n", "-l"], ["--verbose", "--network", "--listen"]] {
            let options = options(&args, "");
            assert!(options.verbose && options.network && options.listen);
        }
        assert_eq!(options(&["-r"], "").sysroot, Path::new("/"));
        assert_eq!(
            options(&["--sysroot", "/proc/."], "").sysroot,
            Path::new("/proc")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for args in [
            &["-r", "--sysroot", "/x"][..],
            &["--no-such"],
            &["stray"],
            &["-c"],
        ] {
            let args = std::iter::once("guestfsd").chain(args.iter().copied());
            assert!(CommandLine::try_parse_from(args).is_err());
        }
    }

    #[test]
    fn version_and_help() {
        let shown = |arg: &str| CommandLine::try_parse_from(["guestfsd", arg]).unwrap_err();
        for arg in ["-V", "--version"] {
            let text = shown(arg).to_string();
            assert_eq!(text, format!("guestfsd {}\n", env!("CARGO_PKG_VERSION")));
        }
        for arg in ["-?", "--help"] {
            assert!(shown(arg).to_string().contains("--channel"));
            assert_eq!(shown(arg).exit_code(), 0);
        }
    }
}
