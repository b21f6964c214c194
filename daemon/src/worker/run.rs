//! What a worker does: load its library, give up everything else, serve.

use std::io::stdin;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use anyhow::{Context, anyhow};
use nix::unistd::dup2_stdin;
use protocol::api::{worker_blkid, worker_magic};
use protocol::{Call, Error, Reply, worker};

use super::libblkid::Blkid;
use super::magic::Magic;
use super::{Library, sandbox};

/// Runs the worker of that name until the daemon closes its end of the socket that is stdin.
///
/// # Errors
///
/// When there is no such worker, or the daemon is lost.
pub fn run(name: &str) -> anyhow::Result<()> {
    let library = Library::ALL
        .into_iter()
        .find(|library| library.name() == name)
        .ok_or_else(|| anyhow!("there is no worker called '{name}'"))?;
    // A library that reads its stdin must find nothing there.
    let socket = UnixStream::from(stdin().as_fd().try_clone_to_owned()?);
    let null = std::fs::File::open("/dev/null").context("/dev/null")?;
    dup2_stdin(null)?;
    sandbox::close_all_but(&socket)?;
    match library {
        Library::Magic => serve(library, socket, Magic::load(), worker_magic::dispatch),
        Library::Blkid => serve(library, socket, Blkid::load(), worker_blkid::dispatch),
    }
}

fn serve<W>(
    library: Library,
    socket: UnixStream,
    loaded: protocol::Result<W>,
    dispatch: fn(&mut W, &mut Call<'_>) -> protocol::Result<Reply>,
) -> anyhow::Result<()> {
    let ready = loaded.and_then(|loaded| sandbox::confine(library.user()).map(|()| loaded));
    match ready {
        Ok(mut loaded) => worker::serve(socket, &mut loaded, dispatch, sandbox::renew)?,
        Err(reason) => worker::refuse(socket, &reason)?,
    }
    Ok(())
}

/// The error of a library that cannot be used.
pub(super) fn unusable(library: Library, error: &dyn std::error::Error) -> Error {
    // The loader's own words are in there.
    let reason = error.source().map(ToString::to_string);
    let reason = reason.unwrap_or_else(|| error.to_string());
    Error::not_supported(format!("{}: {reason}", library.file()))
}
