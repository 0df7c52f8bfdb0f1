//! A time that one task records and others read, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A time after some start, or none yet.
#[derive(Debug, Default)]
pub(crate) struct AtomicTime(AtomicU64);

impl AtomicTime {
    /// Records a time. A later one replaces it.
    pub(crate) fn set(&self, time: Duration) {
        self.0.store(encoded(time), Ordering::Relaxed);
    }

    /// Records a time unless there is one. Returns whether it is the first.
    pub(crate) fn set_first(&self, time: Duration) -> bool {
        // Mostly there is one, and a read is cheaper than an exchange.
        self.0.load(Ordering::Relaxed) == 0
            && self
                .0
                .compare_exchange(0, encoded(time), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    pub(crate) fn get(&self) -> Option<Duration> {
        self.0.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_nanos)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}

/// Nanoseconds, of which there are enough for 584 years; 0 is none.
fn encoded(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 1).saturating_add(1)
}

/// A time in milliseconds, as logs have it.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_stays_and_a_set_one_is_replaced() {
        let time = AtomicTime::default();
        assert_eq!(time.get(), None);
        assert!(time.set_first(Duration::ZERO));
        assert!(!time.set_first(Duration::from_secs(1)));
        assert_eq!(time.get(), Some(Duration::ZERO), "zero is a time, too");
        time.set(Duration::from_secs(2));
        assert_eq!(time.get(), Some(Duration::from_secs(2)));
    }
}
