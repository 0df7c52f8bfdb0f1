//! The time of day of captured packets, and names that are used once.

use std::time::SystemTime;

use lens::moment::Moment;

/// The time of day, comparable with the timestamps of captured packets.
#[expect(clippy::disallowed_methods, reason = "the kernel stamps packets with the real time")]
pub(crate) fn wall_clock() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// A name that was not used before, from `prefix` and the time.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}-{:x}", wall_clock().0)
}
