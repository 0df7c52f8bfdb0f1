//! The one clock of upstream and client: what one stamps, the other can subtract.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the machine's monotonic clock, which all its processes share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Both are positive by definition.
    time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_nsec.cast_unsigned() / 1_000
}
