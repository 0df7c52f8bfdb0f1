//! The steps of a shutdown: not ready, then draining, then aborted. Every connection watches
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The fractional part of the golden ratio, as a share of 2⁶⁴: its multiples are spread evenly,
/// however many there are (Knuth, The Art of Computer Programming, volume 3, section 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The progress of a shutdown. Each step is taken once, and in this order. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Steps>);

#[derive(Debug, Default)]
struct Steps {
    unready: AtomicBool,
    draining: CancellationToken,
    aborted: CancellationToken,
    /// Milliseconds over which connections are closed.
    spread: AtomicU64,
    /// The number of connections that have been assigned a time.
    connections: AtomicU64,
}

impl Drain {
    /// Not ready: load balancers should send no more requests. Those that arrive are still
    /// served.
    pub fn unready(&self) {
        self.0.unready.store(true, Ordering::Release);
    }

    /// Nothing new is accepted. Idle connections end, each at its own time
    /// within `spread`, so that not all clients reconnect at once.
    pub fn drain(&self, spread: Duration) {
        self.unready();
        self.0
            .spread
            .store(u64::try_from(spread.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        self.0.draining.cancel();
    }

    /// Aborts everything that is still open.
    pub fn abort(&self) {
        self.drain(Duration::ZERO);
        self.0.aborted.cancel();
    }

    /// Whether load balancers are to send no requests.
    pub fn is_unready(&self) -> bool {
        self.0.unready.load(Ordering::Acquire)
    }

    /// Whether nothing new is accepted.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Resolves when nothing new is accepted.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Resolves at the time when one connection is to end if it is idle. Each call has
    /// its own time.
    pub(crate) async fn wait_to_close(self) {
        self.draining().await;
        tokio::select! {
            () = sleep(self.share()) => {}
            () = self.aborted() => {}
        }
    }

    /// How long after [`Self::draining`] the next connection is closed.
    pub(crate) fn share(&self) -> Duration {
        let number = self.0.connections.fetch_add(1, Ordering::Relaxed) + 1;
        share(number, self.0.spread.load(Ordering::Acquire))
    }

    /// Whether everything still open is aborted.
    pub(crate) fn is_aborted(&self) -> bool {
        self.0.aborted.is_cancelled()
    }

    /// Resolves when everything still open is aborted.
    pub(crate) async fn aborted(&self) {
        self.0.aborted.cancelled().await;
    }
}

/// The part of `spread` milliseconds after which connection `number` is closed.
fn share(number: u64, spread: u64) -> Duration {
    let fraction = number.wrapping_mul(GOLDEN) >> 32;
    Duration::from_millis(
        u64::try_from((u128::from(fraction) * u128::from(spread)) >> 32).unwrap_or(spread),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_clients_is_spread_evenly() {
        for count in [10_u64, 100, 1000] {
            let mut moments: Vec<u128> =
                (1..=count).map(|number| share(number, 10_000).as_millis()).collect();
            moments.sort_unstable();
            let gap = moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
            assert!(
                gap <= 3 * 10_000 / u128::from(count)
                    && moments.iter().all(|moment| *moment < 10_000),
                "{count}: {gap}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_includes_those_before_it() {
        let drain = Drain::default();
        drain.unready();
        assert!(drain.is_unready() && !drain.is_draining());
        drain.abort();
        assert!(drain.is_draining());
        drain.aborted().await;
        drain.wait_to_close().await;
    }
}
