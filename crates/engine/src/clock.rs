//! The wall clock, for what clients read as dates. Everything that waits uses tokio's clock, which
//! tests can hold.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Seconds since 1970, UTC.
pub fn unix_seconds() -> u64 {
    now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
