//! The handle on a running response: stops it, counts its readers and resolves when its end is in
//! the store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::id::{Owner, ResponseId};
use protocol::on_leave::OnLeave;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::cause::Cause;
use super::timeline::{Reading, ResponseTimeline};
use crate::clock;
use crate::storage::Keeping;
use crate::store::StoreError;
use crate::times::EventTimes;

/// How long a response without readers lets events gather in its connection: each batch is an
/// append and a wake-up, and nobody waits for it.
const GATHER: Duration = Duration::from_millis(50);

/// The handle on a running response.
#[derive(Debug)]
pub(crate) struct RunningResponse {
    pub(crate) id: ResponseId,
    pub(crate) owner: Owner,
    /// The named conversation that it is a turn of.
    pub(crate) conversation: Option<String>,
    pub(crate) started: Instant,
    pub(crate) keeping: Keeping,
    /// For the lens.
    pub(crate) timeline: Arc<ResponseTimeline>,
    on_leave: OnLeave,
    /// When its events were appended.
    times: Mutex<EventTimes>,
    stop: watch::Sender<Option<Cause>>,
    readers: watch::Sender<usize>,
    /// When the last reader left, while there is none.
    left: Mutex<Option<Instant>>,
    /// The most readers it has had at once.
    peak: AtomicUsize,
    recorded: watch::Sender<Recorded>,
}

/// Whether the end of a response is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorded {
    NotYet,
    /// The store cannot take it now; the engine retries.
    Failing,
    Yes,
}

impl RunningResponse {
    pub(crate) fn new(
        id: ResponseId,
        owner: Owner,
        on_leave: OnLeave,
        conversation: Option<String>,
        keeping: Keeping,
    ) -> Arc<Self> {
        let timeline = ResponseTimeline::new(id.clone(), owner.clone());
        Arc::new(Self {
            id,
            owner,
            conversation,
            started: Instant::now(),
            keeping,
            timeline,
            on_leave,
            times: Mutex::new(EventTimes::new(clock::now())),
            stop: watch::Sender::new(None),
            readers: watch::Sender::new(0),
            left: Mutex::new(None),
            peak: AtomicUsize::new(0),
            recorded: watch::Sender::new(Recorded::NotYet),
        })
    }

    /// Stops the response. The first cause counts; later ones are ignored.
    pub(crate) fn stop(&self, cause: Cause) {
        self.stop.send_if_modified(|stopped| {
            let first = stopped.is_none();
            if first {
                *stopped = Some(cause);
                self.timeline.stop(cause);
            }
            first
        });
    }

    /// Resolves when the response must stop: on a command, or when its last reader has been gone
    /// for too long.
    pub(super) async fn stopped(&self) -> Cause {
        match self.on_leave {
            OnLeave::FinishWithin { time: Some(time), .. } => {
                tokio::select! {
                    biased;
                    cause = self.commanded() => cause,
                    () = self.left_for(time) => {
                        self.timeline.stop(Cause::ClientLeft);
                        Cause::ClientLeft
                    }
                }
            }
            OnLeave::FinishWithin { time: None, .. } | OnLeave::Cancel | OnLeave::Finish => {
                self.commanded().await
            }
        }
    }

    /// Resolves when there has been no reader for `time`.
    async fn left_for(&self, time: Duration) {
        let mut readers = self.readers.subscribe();
        loop {
            // The sender lives in `self`: the channel cannot close meanwhile.
            drop(readers.wait_for(|readers| *readers == 0).await);
            let left = self
                .left
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .unwrap_or_else(Instant::now);
            tokio::select! {
                () = sleep_until(left + time) => return,
                back = readers.wait_for(|readers| *readers > 0) => drop(back),
            }
        }
    }

    /// How many more model events may come while there is no reader; `None` is no limit.
    pub(super) fn allowance(&self) -> Option<u64> {
        let OnLeave::FinishWithin { tokens, .. } = self.on_leave else { return None };
        tokens.filter(|_| *self.readers.borrow() == 0)
    }

    /// Resolves on a command to stop.
    async fn commanded(&self) -> Cause {
        let mut stop = self.stop.subscribe();
        let cause = stop.wait_for(Option::is_some).await.ok().and_then(|cause| *cause);
        match cause {
            Some(cause) => cause,
            // The sender lives in `self`, so the channel cannot close before this returns.
            None => std::future::pending().await,
        }
    }

    /// The next `count` events of its log were appended now.
    pub(super) fn appended(&self, count: usize, now: Instant) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.append(count, now - self.started);
    }

    /// When its events so far were appended.
    pub(crate) fn times(&self) -> EventTimes {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a reader while the returned guard lives.
    pub(crate) fn attach(self: &Arc<Self>) -> ReaderGuard {
        self.readers.send_modify(|readers| {
            *readers += 1;
            self.peak.fetch_max(*readers, Ordering::Relaxed);
        });
        ReaderGuard(Arc::clone(self))
    }

    /// The most readers it has had at once.
    pub(crate) fn peak_readers(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether the next events can wait: there is no reader, nor a limit on what may come without
    /// one.
    pub(super) fn may_gather(&self) -> bool {
        *self.readers.borrow() == 0 && self.allowance().is_none()
    }

    /// Resolves when events have gathered for long enough, or there is a reader.
    pub(super) async fn gather(&self) {
        let _ended = timeout(GATHER, self.has_reader()).await;
    }

    /// Resolves when there is a reader.
    pub(super) async fn has_reader(&self) {
        let mut readers = self.readers.subscribe();
        // The sender lives in `self`: the channel cannot close meanwhile.
        let _some = readers.wait_for(|readers| *readers > 0).await;
    }

    /// Resolves when there is no reader.
    pub(crate) async fn no_readers(&self) {
        let mut readers = self.readers.subscribe();
        // The sender lives in `self`: the channel cannot close meanwhile.
        let _none = readers.wait_for(|readers| *readers == 0).await;
    }

    /// The end is in the store: the next turn may build on it.
    pub(crate) fn record(&self) {
        self.recorded.send_replace(Recorded::Yes);
    }

    /// The store cannot take the end now: waiting callers get an error.
    pub(crate) fn cannot_record(&self) {
        self.recorded.send_replace(Recorded::Failing);
    }

    /// Resolves when the end is in the store.
    ///
    /// # Errors
    /// The store cannot take it now.
    pub(crate) async fn recorded(&self) -> Result<(), StoreError> {
        let mut recorded = self.recorded.subscribe();
        // The sender lives in `self`: the channel cannot close meanwhile.
        match recorded
            .wait_for(|recorded| *recorded != Recorded::NotYet)
            .await
            .map(|recorded| *recorded)
        {
            Ok(Recorded::Yes) => Ok(()),
            Ok(Recorded::NotYet | Recorded::Failing) | Err(_) => Err(StoreError::Unavailable),
        }
    }
}

/// The presence of a reader. When the last one is dropped, the response's policy applies.
#[derive(Debug)]
pub(crate) struct ReaderGuard(Arc<RunningResponse>);

impl ReaderGuard {
    /// What the reader gets, for the lens; `None` if enough readers are recorded.
    pub(crate) fn reading(&self) -> Option<Reading> {
        self.0.timeline.reader()
    }
}

impl Drop for ReaderGuard {
    fn drop(&mut self) {
        let mut was_last = false;
        self.0.readers.send_modify(|readers| {
            *readers -= 1;
            was_last = *readers == 0;
            if was_last {
                // Set before the count is visible as zero.
                *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        });
        if was_last && self.0.on_leave == OnLeave::Cancel {
            self.0.stop(Cause::ClientLeft);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_gather_only_while_there_is_no_reader() {
        let (id, owner) = (ResponseId::new("resp_1"), Owner::new("key_ada"));
        let keeping = Keeping { store: true, readable: true };
        let handle = RunningResponse::new(id, owner, OnLeave::Finish, None, keeping);
        assert!(handle.may_gather());
        let started = Instant::now();
        handle.gather().await;
        assert!(started.elapsed() >= GATHER);
        let reader = handle.attach();
        assert!(!handle.may_gather());
        let started = Instant::now();
        handle.gather().await;
        assert!(started.elapsed().is_zero(), "a reader ends it at once");
        drop(reader);
        assert!(handle.may_gather());
    }
}
