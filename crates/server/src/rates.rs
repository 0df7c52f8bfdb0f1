//! The request rate of each caller: one token bucket per caller.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::shares::CallerLimits;
use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;
use tokio::time::Instant;

/// From this number of buckets on, full ones are dropped.
const SWEEP_FROM: usize = 1_024;

/// The burst: this number of seconds' worth of requests may arrive at once.
const BURST: f64 = 2.0;

/// The buckets of all callers.
#[derive(Debug, Default)]
pub struct Rates {
    buckets: Mutex<HashMap<Owner, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    /// Takes a token of `owner`. An owner without a share has no limit.
    ///
    /// # Errors
    /// 429, with the time after which there is a token again.
    pub(crate) fn take(&self, owner: &Owner, share: Option<CallerLimits>) -> Result<(), Fault> {
        let Some(share) = share else { return Ok(()) };
        let rate = f64::from(share.requests_per_second.max(1));
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= SWEEP_FROM {
            buckets
                .retain(|_, bucket| now.duration_since(bucket.at) < Duration::from_secs_f64(BURST));
        }
        let full = Bucket { tokens: rate * BURST, at: now };
        let bucket = buckets.entry(owner.clone()).or_insert(full);
        let tokens =
            (bucket.tokens + now.duration_since(bucket.at).as_secs_f64() * rate).min(rate * BURST);
        if tokens < 1.0 {
            let message = format!(
                "This key has exceeded its limit of {} requests per second; try again soon.",
                share.requests_per_second
            );
            return Err(Fault {
                retry_after: Some(1),
                ..Fault::new(FaultKind::RateLimit, "too_many_requests", message)
            });
        }
        *bucket = Bucket { tokens: tokens - 1.0, at: now };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_caller_has_its_own_burst_and_rate() {
        let rates = Rates::default();
        let share = Some(CallerLimits { requests_per_second: 5, ..CallerLimits::default() });
        let (ada, bob) = (Owner::new("key_ada"), Owner::new("key_bob"));
        assert_eq!((0..100).filter(|_| rates.take(&ada, share).is_ok()).count(), 10);
        assert!(rates.take(&bob, share).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((0..100).filter(|_| rates.take(&ada, share).is_ok()).count(), 5);
        assert_eq!(rates.take(&ada, share).unwrap_err().retry_after, Some(1));
        assert!((0..1_000).all(|_| rates.take(&Owner::local(), None).is_ok()));
    }
}
