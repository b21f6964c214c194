//! Whether work can be shared between threads.

use std::sync::LazyLock;
use std::thread;

/// Whether this process has more than one processor. Where it has not, a second
/// thread for the same work only takes time.
pub(crate) fn several() -> bool {
    // To ask takes longer than a small call: the standard library reads the limits of control
    // groups for it.
    static SEVERAL: LazyLock<bool> =
        LazyLock::new(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1));
    *SEVERAL
}
