//! Handlers of `idl/filesystem/ntfs.idl`.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use protocol::api::{
    NtfsActions, NtfsChmodOptions, NtfscloneOutOptions, NtfsfixOptions, NtfsresizeOptions,
};
use protocol::{Context, Device, Error, FileIn, FileOut, Mountable, Progress, Result, Sent};

use crate::command::{Command, STDERR_LIMIT};
use crate::daemon::Daemon;
use crate::file::archives::{pass_on, send_output};

// The programs of ntfs-3g do not all know `--`; a device's path is no option.
impl NtfsActions for Daemon {
    fn ntfs_3g_probe(&mut self, rw: bool, device: Device) -> Result<i32> {
        Command::new("ntfs-3g.probe")
            .arg(if rw { "-w" } else { "-r" })
            .arg(device.path())
            .status()
            .context(device)
    }

    fn ntfsresize(&mut self, device: Device, options: NtfsresizeOptions) -> Result<()> {
        let mut command = Command::new("ntfsresize").arg("-P");
        if let Some(size) = options.size {
            if size <= 0 {
                return Err(Error::invalid("size is zero or negative"));
            }
            command = command.arg("--size").arg(size.to_string());
        }
        if options.force == Some(true) {
            command = command.arg("--force");
        }
        run("ntfsresize", command.arg(device.path())).context(device)
    }

    fn ntfsresize_size(&mut self, device: Device, size: i64) -> Result<()> {
        let options = NtfsresizeOptions {
            size: Some(size),
            ..NtfsresizeOptions::default()
        };
        self.ntfsresize(device, options)
    }

    fn ntfsfix(&mut self, device: Device, options: NtfsfixOptions) -> Result<()> {
        let mut command = Command::new("ntfsfix");
        if options.clearbadsectors == Some(true) {
            command = command.arg("-b");
        }
        run("ntfsfix", command.arg(device.path())).context(device)
    }

    fn ntfsclone_out(
        &mut self,
        device: Device,
        backupfile: FileOut<'_>,
        options: NtfscloneOutOptions,
    ) -> Result<Sent> {
        let mut command = Command::new("ntfsclone").args(["-o", "-", "--save-image"]);
        for (flag, wanted) in [
            ("--metadata", options.metadataonly),
            ("--rescue", options.rescue),
            ("--ignore-fs-check", options.ignorefscheck),
            ("--preserve-timestamps", options.preservetimestamps),
            ("--force", options.force),
        ] {
            if wanted == Some(true) {
                command = command.arg(flag);
            }
        }
        send_output(command.arg(device.path()), backupfile).context(device)
    }

    fn ntfsclone_in(&mut self, backupfile: &mut FileIn<'_>, device: Device) -> Result<()> {
        let mut child = Command::new("ntfsclone")
            .arg("-O")
            .arg(device.path())
            .args(["--restore-image", "-"])
            .spawn()?;
        while let Some(block) = backupfile.next_block()? {
            if let Err(error) = child.write_all(block) {
                return Err(child.failure(error.into())).context(device);
            }
        }
        child.close_stdin();
        child.finish().context(device)
    }

    fn ntfscat_i(
        &mut self,
        device: Mountable,
        inode: i64,
        filename: FileOut<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Sent> {
        if inode < 0 {
            return Err(Error::invalid("inode must be >= 0"));
        }
        let command = Command::new("ntfscat")
            .arg("-i")
            .arg(inode.to_string())
            .arg(device.device().path());
        let child = command.spawn().with_context(|| &device)?;
        let mut out = filename.start()?;
        // The end of the file is the last that libraries expect.
        progress
            .pulse_while(|| pass_on(child, &mut out))
            .context(device)?;
        out.finish()
    }

    fn ntfs_chmod(
        &mut self,
        device: Device,
        mode: i32,
        path: &[u8],
        options: NtfsChmodOptions,
    ) -> Result<()> {
        if path.first() != Some(&b'/') {
            return Err(Error::invalid("path must start with a / character"));
        }
        if !(0..=0o7777).contains(&mode) {
            return Err(Error::invalid(format!("mode {mode:o} is not a file mode")));
        }
        let mut command = Command::new("ntfssecaudit");
        if options.recursive == Some(true) {
            command = command.arg("-r");
        }
        let output = command
            .arg(device.path())
            .arg(format!("{mode:o}"))
            .arg(OsStr::from_bytes(path))
            // It writes about problems to either, of each file, and must not be ended amid its changes.
            .fold_stderr()
            .stdout_beginning(STDERR_LIMIT)
            .output()?;
        if output.code == 0 {
            return Ok(());
        }
        Err(output.failure_on_stdout("ntfssecaudit").about(device))
    }
}

/// Runs a program that says on stdout what is wrong.
fn run(program: &str, command: Command) -> Result<()> {
    let output = command
        .fold_stderr()
        .stdout_beginning(STDERR_LIMIT)
        .output()?;
    if output.code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    Err(match complaint(&said) {
        "" => output.failure(program),
        complaint => Error::new(complaint).repeating(complaint),
    })
}

/// What a program says from where it begins to complain, without what it has done before.
fn complaint(said: &str) -> &str {
    said.find("ERROR")
        .and_then(|start| said.get(start..))
        .unwrap_or(said)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::outputs;

    #[test]
    fn complaints_of_all_versions() {
        for captured in outputs("ntfs-3g", "too-large") {
            let (version, said) = (&captured.version, captured.text());
            assert!(said.starts_with("ntfsresize v"), "{version}");
            let complaint = complaint(&said);
            assert!(
                complaint.starts_with("ERROR: New size"),
                "{version}: {complaint}"
            );
        }
    }

    #[test]
    fn complaints_are_on_stdout() {
        let said = "ntfsresize v2022.10.3 (libntfs-3g)\nERROR: Volume is scheduled for check.\n\
                    Run chkdsk /f and please try again, or see option -f.\n";
        assert_eq!(
            complaint(said),
            "ERROR: Volume is scheduled for check.\n\
             Run chkdsk /f and please try again, or see option -f."
        );
        assert_eq!(complaint("FAILED\n"), "FAILED");
        let sh = |script| run("ntfsfix", Command::new("sh").args(["-c", script]));
        let error = sh("echo v1; echo ERROR: x; exit 1");
        assert_eq!(error.unwrap_err().to_string(), "ERROR: x");
        let error = sh("exit 3").unwrap_err();
        assert_eq!(error.to_string(), "ntfsfix exited with status 3");
    }
}
