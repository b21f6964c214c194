//! Finding files while others are packed.
//!
//! To find a small file and open it takes the kernel about as long as all the
//! rest: to read it, close it and send it. In a tree of many files a thread of its
//! own therefore finds them, a bounded number ahead.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder};

use protocol::{Error, Result};

use crate::processors;

/// Files after which a thread is worth its start.
const FEW: usize = 64;
/// Files that are handed over at a time: to wake a thread for each would take
/// longer than to find it. Each may hold a descriptor open.
const BATCH: usize = 32;
/// Or fewer, when they take this much memory: a path in a guest can be longer
/// than any that the kernel takes.
const BATCH_BYTES: usize = 64 << 10;
/// Batches that may wait, besides the one that is being packed and the one that
/// is being found.
const WAITING: usize = 2;

/// What is found.
pub(super) trait Find: Send {
    /// The memory that it takes besides its own size.
    fn memory(&self) -> usize;
}

/// Calls `visit` for all that `next` gives, in order, until that is `None`. An
/// error of `next` comes after what was found before it; one of `visit` ends the
/// finding.
pub(super) fn each<T: Find>(
    mut next: impl FnMut() -> Result<Option<T>> + Send,
    mut visit: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    for _ in 0..FEW {
        match next()? {
            Some(found) => visit(found)?,
            None => return Ok(()),
        }
    }
    if processors::several()
        && let Some(result) = beside(&mut next, &mut visit)
    {
        return result;
    }
    while let Some(found) = next()? {
        visit(found)?;
    }
    Ok(())
}

/// The same in two threads; `None`, and nothing done, if a second is not to be had.
fn beside<T: Find>(
    next: &mut (impl FnMut() -> Result<Option<T>> + Send),
    visit: &mut impl FnMut(T) -> Result<()>,
) -> Option<Result<()>> {
    thread::scope(|scope| {
        let (queue, batches) = sync_channel(WAITING);
        let finder = Builder::new()
            .name("finder".to_owned())
            .spawn_scoped(scope, move || find(next, &queue))
            .ok()?;
        let visited = visit_all(batches, visit);
        let found = finder.join().unwrap_or_else(|_| {
            let message = "not all files were found, because of an internal error";
            Err(Error::new(message))
        });
        Some(visited.and(found))
    })
}

/// Takes the receiver with it, which tells the finder that nobody waits any more.
fn visit_all<T>(batches: Receiver<Vec<T>>, visit: &mut impl FnMut(T) -> Result<()>) -> Result<()> {
    batches.into_iter().flatten().try_for_each(visit)
}

fn find<T: Find>(
    next: &mut impl FnMut() -> Result<Option<T>>,
    queue: &SyncSender<Vec<T>>,
) -> Result<()> {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        let filled = fill(&mut batch, next);
        // If nobody waits, the visitor has an error of its own to tell.
        let wanted = queue.send(batch).is_ok();
        if !filled? || !wanted {
            return Ok(());
        }
    }
}

/// Whether there is more to come.
fn fill<T: Find>(batch: &mut Vec<T>, next: &mut impl FnMut() -> Result<Option<T>>) -> Result<bool> {
    let mut bytes = 0;
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Some(found) = next()? else {
            return Ok(false);
        };
        bytes += found.memory();
        batch.push(found);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// More than fit into all batches.
    const MANY: usize = FEW + 10 * BATCH + 1;
    /// What may be found and not yet visited, besides the one that is being visited.
    const AHEAD: usize = (WAITING + 2) * BATCH;

    #[derive(Debug, PartialEq)]
    struct Item(usize);

    impl Find for Item {
        fn memory(&self) -> usize {
            10
        }
    }

    struct Long;

    impl Find for Long {
        fn memory(&self) -> usize {
            BATCH_BYTES / 2
        }
    }

    /// Numbers from 0 on, and then `last`.
    fn numbers(
        count: usize,
        last: impl Fn() -> Result<Option<Item>> + Send,
    ) -> impl FnMut() -> Result<Option<Item>> + Send {
        let mut numbers = 0..count;
        move || numbers.next().map_or_else(&last, |n| Ok(Some(Item(n))))
    }

    #[test]
    fn all_come_in_order_however_many_there_are() {
        for count in [0, 1, FEW - 1, FEW, FEW + 1, FEW + BATCH, MANY] {
            let mut visited = Vec::new();
            each(numbers(count, || Ok(None)), |Item(n)| {
                visited.push(n);
                Ok(())
            })
            .unwrap();
            assert!(visited.into_iter().eq(0..count), "of {count}");
        }
    }

    #[test]
    fn an_error_comes_after_what_was_found_before_it() {
        for count in [0, 1, FEW, FEW + 1, FEW + BATCH, MANY] {
            let mut visited = 0;
            let result = each(numbers(count, || Err(Error::new("broken"))), |_| {
                visited += 1;
                Ok(())
            });
            assert_eq!(visited, count);
            assert_eq!(result.unwrap_err().message(), "broken");
        }
    }

    #[test]
    fn no_more_than_is_allowed_is_ahead_of_a_visitor_and_none_is_found_after_its_error() {
        for stop in [1, FEW, FEW + 1, FEW + BATCH, FEW + BATCH + 7] {
            let found = AtomicUsize::new(0);
            let endless = || Ok(Some(Item(found.fetch_add(1, Ordering::Relaxed))));
            let mut visited = 0;
            let result = each(endless, |_| {
                visited += 1;
                let ahead = found.load(Ordering::Relaxed) - visited;
                assert!(ahead <= AHEAD, "{ahead} ahead");
                if visited < stop {
                    return Ok(());
                }
                Err(Error::new("cancelled"))
            });
            assert_eq!(result.unwrap_err().message(), "cancelled");
            let found = found.into_inner();
            assert!(found - visited <= AHEAD, "{found} found of {visited}");
        }
    }

    #[test]
    fn big_ones_make_small_batches() {
        let (queue, batches) = sync_channel(10);
        let mut left = 5;
        let mut next = || {
            let found = (left > 0).then_some(Long);
            left -= 1;
            Ok(found)
        };
        find(&mut next, &queue).unwrap();
        drop(queue);
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }

    #[test]
    fn a_finder_that_fell_over_has_not_found_all() {
        let mut visited = 0;
        let mut next = numbers(BATCH + 1, || panic!("on purpose"));
        let result = beside(&mut next, &mut |_| {
            visited += 1;
            Ok(())
        });
        let error = result.unwrap().unwrap_err();
        assert_eq!(visited, BATCH);
        assert!(error.message().contains("internal error"), "{error}");
    }
}
