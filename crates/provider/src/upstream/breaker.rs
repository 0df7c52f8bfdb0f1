//! A circuit breaker: after several consecutive failures, calls are rejected for a while, then one
//! probe is let through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::upstreams::Circuit;
use tokio::time::Instant;

/// How long it stays open at first. Every failed probe doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How long it stays open at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The breaker of one upstream.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Consecutive failures that open it; zero disables the breaker.
    limit: u32,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Consecutive failures.
    failures: u32,
    /// Set while it is open.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    is_probed: bool,
}

/// Permission for a call. Dropping it without a result reports nothing, because the caller left.
#[derive(Debug)]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    is_probe: bool,
}

impl Breaker {
    /// A breaker that opens after this many consecutive failures; zero disables it.
    pub(super) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Admits a call, or returns how long calls are rejected.
    pub(super) fn pass(self: &Arc<Self>) -> Result<Pass, Duration> {
        let mut state = self.state();
        let now = Instant::now();
        let is_probe = match &mut state.open {
            None => false,
            Some(open) if now < open.until => return Err(open.until - now),
            // Another probe is running. It takes as long as the upstream takes to respond.
            Some(open) if open.is_probed => return Err(FIRST_PAUSE),
            Some(open) => {
                open.is_probed = true;
                true
            }
        };
        Ok(Pass { breaker: Arc::clone(self), is_probe })
    }

    /// The current state.
    pub(super) fn circuit(&self) -> Circuit {
        let now = Instant::now();
        match self.state().open {
            None => Circuit::Closed,
            Some(open) if now < open.until => Circuit::Open(open.until - now),
            Some(_) => Circuit::HalfOpen,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The upstream responded with headers. Returns whether that closed the breaker. One more
    /// failure opens it again, because some upstreams fail after every response head.
    pub(super) fn answered(&mut self) -> bool {
        if !std::mem::take(&mut self.is_probe) {
            return false;
        }
        let mut state = self.breaker.state();
        *state = State { failures: self.breaker.limit.saturating_sub(1), open: None };
        true
    }

    /// The upstream has completed a response.
    pub(super) fn succeeded(&mut self) {
        self.answered();
        let mut state = self.breaker.state();
        // Calls from before it opened do not close it.
        if state.open.is_none() {
            state.failures = 0;
        }
    }

    /// The call failed. Returns how long the breaker opened for, if this failure opened it.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        let was_probe = std::mem::take(&mut self.is_probe);
        let mut state = self.breaker.state();
        state.failures += 1;
        let pause = match state.open {
            Some(open) if was_probe => (open.pause * 2).min(LONGEST_PAUSE),
            // Calls from before it opened report nothing new.
            Some(_) => return None,
            None if state.failures < self.breaker.limit || self.breaker.limit == 0 => return None,
            None => FIRST_PAUSE,
        };
        state.open = Some(Open { until: Instant::now() + pause, pause, is_probed: false });
        Some(pause)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(open) = &mut self.breaker.state().open
        {
            open.is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURES: u32 = 5;

    fn fail(breaker: &Arc<Breaker>, times: u32) -> Option<Duration> {
        (0..times).filter_map(|_| breaker.pass().unwrap().failed()).next_back()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_consecutive_failures_and_closes_after_one_success() {
        let breaker = Breaker::new(FAILURES);
        assert_eq!(fail(&breaker, FAILURES - 1), None);
        breaker.pass().unwrap().succeeded();
        assert_eq!(fail(&breaker, FAILURES), Some(FIRST_PAUSE));
        assert_eq!(breaker.pass().unwrap_err(), FIRST_PAUSE);
        assert_eq!(breaker.circuit(), Circuit::Open(FIRST_PAUSE));
        tokio::time::advance(FIRST_PAUSE).await;
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        let mut probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_err(), "only one probe at a time");
        assert!(probe.answered());
        assert!(breaker.pass().is_ok());
        probe.succeeded();
        assert_eq!(fail(&breaker, FAILURES - 1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn response_headers_alone_are_not_a_success() {
        let breaker = Breaker::new(FAILURES);
        for _ in 1..FAILURES {
            let mut pass = breaker.pass().unwrap();
            assert!(!pass.answered());
            assert_eq!(pass.failed(), None);
        }
        assert_eq!(fail(&breaker, 1), Some(FIRST_PAUSE));
        tokio::time::advance(FIRST_PAUSE).await;
        let mut probe = breaker.pass().unwrap();
        assert!(probe.answered());
        assert_eq!(probe.failed(), Some(FIRST_PAUSE), "a response head, and nothing after it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_doubles_the_pause_and_an_abandoned_one_does_not() {
        let breaker = Breaker::new(FAILURES);
        fail(&breaker, FAILURES);
        tokio::time::advance(FIRST_PAUSE).await;
        drop(breaker.pass().unwrap());
        assert_eq!(breaker.pass().unwrap().failed(), Some(FIRST_PAUSE * 2));
        tokio::time::advance(FIRST_PAUSE).await;
        assert_eq!(breaker.pass().unwrap_err(), FIRST_PAUSE);
        for _ in 0..8 {
            tokio::time::advance(LONGEST_PAUSE).await;
            breaker.pass().unwrap().failed();
        }
        assert_eq!(breaker.circuit(), Circuit::Open(LONGEST_PAUSE));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_started_before_it_opened_are_ignored() {
        let breaker = Breaker::new(FAILURES);
        let mut early = breaker.pass().unwrap();
        fail(&breaker, FAILURES);
        assert_eq!(early.failed(), None);
        assert_eq!(breaker.circuit(), Circuit::Open(FIRST_PAUSE));
    }
}
