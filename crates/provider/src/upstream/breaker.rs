//! A circuit breaker: an upstream that fails again and again is left alone for a while, and then asked once to see.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::upstreams::Circuit;
use tokio::time::Instant;

/// How long it stays open at first; each probe that fails doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How long it stays open at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The breaker of one upstream.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Failures in a row after which it opens; zero: never.
    limit: u32,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// Since it is open: until when, and for how long it was opened.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    is_probed: bool,
}

/// A call that may pass. Dropped without a verdict, it says nothing: a caller has left.
#[derive(Debug)]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    is_probe: bool,
}

impl Breaker {
    /// One that opens after so many failures in a row; zero: never.
    pub(super) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Lets a call pass, or says how long none does.
    pub(super) fn pass(self: &Arc<Self>) -> Result<Pass, Duration> {
        let mut state = self.state();
        let now = Instant::now();
        let is_probe = match &mut state.open {
            None => false,
            Some(open) if now < open.until => return Err(open.until - now),
            // Somebody is looking already; that takes as long as an upstream takes to answer.
            Some(open) if open.is_probed => return Err(FIRST_PAUSE),
            Some(open) => {
                open.is_probed = true;
                true
            }
        };
        Ok(Pass { breaker: Arc::clone(self), is_probe })
    }

    /// What it is at.
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
    /// The upstream has answered with a head. Says whether that closed the breaker, which one more failure then opens: there
    /// are upstreams that break behind every head.
    pub(super) fn answered(&mut self) -> bool {
        if !std::mem::take(&mut self.is_probe) {
            return false;
        }
        let mut state = self.breaker.state();
        *state = State { failures: self.breaker.limit.saturating_sub(1), open: None };
        true
    }

    /// The upstream has given an answer.
    pub(super) fn succeeded(&mut self) {
        self.answered();
        let mut state = self.breaker.state();
        // What began before it opened does not close it.
        if state.open.is_none() {
            state.failures = 0;
        }
    }

    /// The upstream has failed. Says for how long the breaker opened, if that did it.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        let was_probe = std::mem::take(&mut self.is_probe);
        let mut state = self.breaker.state();
        state.failures += 1;
        let pause = match state.open {
            Some(open) if was_probe => (open.pause * 2).min(LONGEST_PAUSE),
            // A call that began before it opened tells nothing new.
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
    async fn it_opens_after_failures_in_a_row_and_closes_after_one_success() {
        let breaker = Breaker::new(FAILURES);
        assert_eq!(fail(&breaker, FAILURES - 1), None);
        breaker.pass().unwrap().succeeded();
        assert_eq!(fail(&breaker, FAILURES), Some(FIRST_PAUSE));
        assert_eq!(breaker.pass().unwrap_err(), FIRST_PAUSE);
        assert_eq!(breaker.circuit(), Circuit::Open(FIRST_PAUSE));
        tokio::time::advance(FIRST_PAUSE).await;
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        let mut probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_err(), "one looks at a time");
        assert!(probe.answered());
        assert!(breaker.pass().is_ok());
        probe.succeeded();
        assert_eq!(fail(&breaker, FAILURES - 1), None);
    }

    #[tokio::test(start_paused = true)]
    async fn heads_alone_are_no_success() {
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
        assert_eq!(probe.failed(), Some(FIRST_PAUSE), "a head, and nothing behind it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_doubles_the_pause_and_one_that_leaves_says_nothing() {
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
    async fn calls_from_before_it_opened_change_nothing() {
        let breaker = Breaker::new(FAILURES);
        let mut early = breaker.pass().unwrap();
        fail(&breaker, FAILURES);
        assert_eq!(early.failed(), None);
        assert_eq!(breaker.circuit(), Circuit::Open(FIRST_PAUSE));
    }
}
