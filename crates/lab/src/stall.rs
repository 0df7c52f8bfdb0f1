//! Stalls of the measuring side: when the client could not run, a token seems late that was not.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::time::{Duration, Instant};

use client::now;

/// The interval of the ticks.
const STEP: Duration = Duration::from_millis(2);

/// A tick that is later than this is a stall. Tokio's timers are a millisecond late by design.
const LATE: Duration = Duration::from_millis(3);

/// What arrives this soon after a stall was waiting during it.
const AFTERMATH: Duration = Duration::from_millis(1);

/// The stalls of the client during some work.
#[derive(Clone, Debug, Default)]
pub struct Stalls(Vec<(Instant, Instant)>);

/// Does some work, and watches from within the same task how late it gets to run.
pub(crate) async fn watched<T>(work: impl Future<Output = T>) -> (T, Stalls) {
    let (due, seen) = (Cell::new(now() + STEP), RefCell::new(Vec::new()));
    let note = || {
        let at = now();
        if at.saturating_duration_since(due.get()) > LATE {
            seen.borrow_mut().push((due.get(), at));
        }
        due.set(at + STEP);
    };
    let ticks = async {
        loop {
            tokio::time::sleep_until(due.get().into()).await;
            note();
        }
    };
    // The work is polled first, so what arrived during a stall has a time before its end.
    let done = tokio::select! {
        biased;
        done = work => done,
        never = ticks => match never as Infallible {},
    };
    note();
    (done, Stalls(seen.into_inner()))
}

impl Stalls {
    /// Whether a time that was taken then may be too late.
    pub fn cover(&self, at: Instant) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to + AFTERMATH).contains(&at))
    }

    /// How long they lasted in all.
    pub fn total(&self) -> Duration {
        self.0.iter().map(|(from, to)| *to - *from).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_arrives_during_a_stall_is_marked() {
        let (arrivals, stalls) = watched(async {
            let before = now();
            // A task that does not yield is late to everything else, like one that is not scheduled.
            while before.elapsed() < Duration::from_millis(30) {
                std::hint::spin_loop();
            }
            [before, now(), now() + Duration::from_secs(1)]
        })
        .await;
        assert_eq!(arrivals.map(|at| stalls.cover(at)), [false, true, false]);
        assert!(stalls.total() >= Duration::from_millis(20), "{stalls:?}");
        assert!(!Stalls::default().cover(now()));
    }
}
