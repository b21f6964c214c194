//! Whether work can be shared between threads, and on which processors they run.

use std::sync::LazyLock;
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity, sched_yield};

/// Whether this process has more than one processor. Where it has not, a second
/// thread for the same work only takes time.
pub(crate) fn several() -> bool {
    // To ask takes longer than a small call: the standard library reads the limits of control
    // groups for it.
    static SEVERAL: LazyLock<bool> =
        LazyLock::new(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1));
    *SEVERAL
}

/// The processor on which this thread runs now.
pub(crate) fn current() -> usize {
    sched_getcpu()
}

/// Moves this thread to another processor if it runs on `busy`, and keeps it away from there for
/// the rest of its life. Nothing happens where it may run on no other.
pub(crate) fn avoid(busy: usize) {
    if current() != busy || busy >= CpuSet::MAX_CPU {
        return;
    }
    let Ok(mut allowed) = sched_getaffinity(None) else {
        return;
    };
    allowed.unset(busy);
    if allowed.count() > 0 {
        // Without it the work only takes longer.
        let _ = sched_setaffinity(None, &allowed);
    }
}

/// Lets a thread run that waits for this thread's processor.
pub(crate) fn give_way() {
    sched_yield();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_a_busy_processor_if_it_may_run_on_another() {
        let moved = thread::spawn(|| {
            let allowed = sched_getaffinity(None).unwrap();
            // It may be moved between the two calls.
            let busy = loop {
                let busy = current();
                avoid(busy);
                if !sched_getaffinity(None).unwrap().is_set(busy) || allowed.count() == 1 {
                    break busy;
                }
            };
            (allowed.count() > 1, busy, current())
        });
        let (several, busy, now) = moved.join().unwrap();
        assert_eq!(now != busy, several);
    }

    #[test]
    fn a_thread_stays_where_it_is_in_nobodys_way() {
        let stayed = thread::spawn(|| {
            let allowed = sched_getaffinity(None).unwrap();
            avoid(usize::MAX);
            (allowed, sched_getaffinity(None).unwrap())
        });
        let (before, after) = stayed.join().unwrap();
        assert_eq!(before, after);
    }
}
