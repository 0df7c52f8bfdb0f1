//! When something was seen, to the nanosecond.

use std::time::Duration;
#[cfg(target_os = "linux")]
use std::time::SystemTime;

/// A point in time: nanoseconds since 1970-01-01 UTC, as the kernel stamps packets. It lasts until
/// the year 2554.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Now, to be compared with what the kernel stamped.
    #[cfg(target_os = "linux")]
    #[expect(clippy::disallowed_methods, reason = "the kernel does not go by a clock that is held")]
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long after `earlier` this is; nothing if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}
