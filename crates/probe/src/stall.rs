//! When the measuring machine itself did not run: a task that wants to wake every few milliseconds
//! notes when it wakes late.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use client::{Task, now, spawn};
use tokio::time::{MissedTickBehavior, interval};

const TICK: Duration = Duration::from_millis(5);

/// A shorter delay is the usual grain of timers on a busy machine.
const LEAST: Duration = Duration::from_millis(15);

/// More are not kept: the machine is then of no use for measuring.
const MOST: usize = 10_000;

/// Notes the stalls of this machine while it lives. It must run on the thread that measures.
#[derive(Debug)]
pub struct StallWatch {
    stalls: Arc<Mutex<Vec<(Instant, Instant)>>>,
    _watching: Task,
}

impl StallWatch {
    /// Starts to watch.
    pub fn start() -> Self {
        let stalls = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::clone(&stalls);
        let watching = spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut before = now();
            loop {
                ticks.tick().await;
                let woken = now();
                if woken.duration_since(before) > TICK + LEAST {
                    let mut stalls = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    if stalls.len() < MOST {
                        stalls.push((before + TICK, woken));
                    }
                }
                before = woken;
            }
        });
        Self { stalls, _watching: watching }
    }

    /// The stalls since an instant, relative to it.
    pub fn since(&self, started: Instant) -> Vec<(Duration, Duration)> {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        stalls
            .iter()
            .filter(|(_, end)| *end > started)
            .map(|(start, end)| {
                (start.saturating_duration_since(started), end.saturating_duration_since(started))
            })
            .collect()
    }

    /// How many stalls there were, and the longest.
    pub fn total(&self) -> (usize, Duration) {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = stalls.iter().map(|(start, end)| end.duration_since(*start)).max();
        (stalls.len(), longest.unwrap_or_default())
    }
}
