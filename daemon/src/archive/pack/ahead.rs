//! Finding files while others are packed.
//!
//! To find a small file and open it takes the kernel about as long as all the
//! rest: to look at what was opened, read it, close it and send it. In a tree of
//! many files a thread of its own therefore finds them, a bounded number ahead.

use std::num::NonZero;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder};

use protocol::{Error, Result};

use super::find::{Content, Finder, Found};

/// Files after which a thread is worth its start.
const FEW: usize = 64;
/// Files that are handed over at a time: to wake a thread for each would take
/// longer than to find it. Each may hold a descriptor open.
const BATCH: usize = 64;
/// Or fewer, when their names take this much memory: a path in a guest can be
/// longer than any that the kernel takes.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait, besides the one that is being packed and the one that
/// is being found.
const WAITING: usize = 1;

/// Calls `visit` for each file in turn. An error of the finder's comes after all
/// that was found before it; one of `visit` ends the finding.
pub(super) fn each(
    mut finder: Finder<'_>,
    mut visit: impl FnMut(Found) -> Result<()>,
) -> Result<()> {
    for _ in 0..FEW {
        match finder.next()? {
            Some(found) => visit(found)?,
            None => return Ok(()),
        }
    }
    if thread::available_parallelism().is_ok_and(|count| count > NonZero::<usize>::MIN)
        && let Some(result) = beside(&mut finder, &mut visit)
    {
        return result;
    }
    while let Some(found) = finder.next()? {
        visit(found)?;
    }
    Ok(())
}

/// The same in two threads; `None` if there is only one to be had.
fn beside(
    finder: &mut Finder<'_>,
    visit: &mut impl FnMut(Found) -> Result<()>,
) -> Option<Result<()>> {
    thread::scope(|scope| {
        let (queue, batches) = sync_channel(WAITING);
        let finding = Builder::new()
            .name("finder".to_owned())
            .spawn_scoped(scope, move || find(finder, &queue))
            .ok()?;
        let visited = visit_all(batches, visit);
        let found = finding.join().unwrap_or_else(|_| {
            let message = "not all files were found, because of an internal error";
            Err(Error::new(message))
        });
        Some(visited.and(found))
    })
}

/// Takes the receiver with it, which tells the finder when nobody waits any more.
fn visit_all(
    batches: Receiver<Vec<Found>>,
    visit: &mut impl FnMut(Found) -> Result<()>,
) -> Result<()> {
    batches.into_iter().flatten().try_for_each(visit)
}

fn find(finder: &mut Finder<'_>, queue: &SyncSender<Vec<Found>>) -> Result<()> {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let mut bytes = 0;
        let more = loop {
            match finder.next() {
                Ok(Some(found)) => {
                    bytes += memory(&found);
                    batch.push(found);
                    if batch.len() >= BATCH || bytes >= BATCH_BYTES {
                        break Ok(true);
                    }
                }
                Ok(None) => break Ok(false),
                Err(error) => break Err(error),
            }
        };
        // Whoever does not want it has an error of their own to tell.
        if queue.send(batch).is_err() {
            return Ok(());
        }
        if !more? {
            return Ok(());
        }
    }
}

fn memory(found: &Found) -> usize {
    let target = match &found.content {
        Content::HardLink(target) | Content::SymbolicLink(target) => target.len(),
        _ => 0,
    };
    found.name.len() + target
}
