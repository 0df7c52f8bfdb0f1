//! Runs one answer: asks upstream, appends what comes to the log, and sees to it that there is exactly one end.

mod retry;
mod run;
mod shorten;
mod spans;
mod state;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::fault::{Fault, FaultKind};
use protocol::id::{Owner, ResponseId};
use protocol::response::ResponseStatus;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub(crate) use retry::{Attempts, Next, Reason};
pub(crate) use run::{Turn, only_keep_alives, silent, until};
pub(crate) use spans::{Attributes, Trace, bounded};
pub(crate) use state::{Answer, End};

use crate::config::OnLeave;
use crate::store::StoreError;

/// Why an answer was stopped before the model had finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Cancelled,
    /// Its last reader left, and that meant stop.
    ClientLeft,
    /// Its owner deleted it.
    Deleted,
    /// The key that it was started with was revoked.
    KeyRevoked,
    /// The server shuts down and could not wait longer.
    ServerShutdown,
    /// The process that ran it died.
    ServerRestarted,
}

impl Cause {
    /// The word in `incomplete_details.reason`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Cancelled | Self::Deleted => "cancelled",
            Self::ClientLeft => "client_left",
            Self::KeyRevoked => "key_revoked",
            Self::ServerShutdown => "server_shutdown",
            Self::ServerRestarted => "server_restarted",
        }
    }

    /// What becomes of the answer: a wish is a cancel, everything else is only an early end.
    pub(crate) fn status(self) -> ResponseStatus {
        match self {
            Self::Cancelled | Self::ClientLeft | Self::Deleted | Self::KeyRevoked => ResponseStatus::Cancelled,
            Self::ServerShutdown => ResponseStatus::Failed,
            Self::ServerRestarted => ResponseStatus::Incomplete,
        }
    }

    /// A shutdown is nobody's wish: it is a failure (promise 3).
    pub(crate) fn fault(self) -> Option<Fault> {
        match self {
            Self::ServerShutdown => {
                Some(Fault::new(FaultKind::Server, "server_shutdown", "the server shut down before the answer was whole").with_status(503))
            }
            Self::Cancelled | Self::ClientLeft | Self::Deleted | Self::KeyRevoked | Self::ServerRestarted => None,
        }
    }
}

/// The handle on a running answer: through it, it is stopped, and its readers are counted.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: ResponseId,
    pub(crate) owner: Owner,
    /// The named conversation that it is a turn of.
    pub(crate) thread: Option<String>,
    pub(crate) started: Instant,
    on_leave: OnLeave,
    stop: watch::Sender<Option<Cause>>,
    seats: watch::Sender<usize>,
    /// When the last reader left, while there is none.
    left: Mutex<Option<Instant>>,
    /// The most seats that were taken at once.
    peak: AtomicUsize,
    recorded: watch::Sender<Recorded>,
}

/// Whether the end of an answer is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorded {
    NotYet,
    /// The store cannot take it now; it is tried again.
    Failing,
    Yes,
}

impl Live {
    pub(crate) fn new(id: ResponseId, owner: Owner, on_leave: OnLeave, thread: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            id,
            owner,
            thread,
            started: Instant::now(),
            on_leave,
            stop: watch::Sender::new(None),
            seats: watch::Sender::new(0),
            left: Mutex::new(None),
            peak: AtomicUsize::new(0),
            recorded: watch::Sender::new(Recorded::NotYet),
        })
    }

    /// Stops the answer. The first cause counts; later ones change nothing.
    pub(crate) fn stop(&self, cause: Cause) {
        self.stop.send_if_modified(|stopped| {
            let first = stopped.is_none();
            if first {
                *stopped = Some(cause);
            }
            first
        });
    }

    /// Resolves when the answer is to stop: somebody says so, or its last reader has left for too long.
    async fn stopped(&self) -> Cause {
        match self.on_leave {
            OnLeave::FinishWithin { time: Some(time), .. } => {
                tokio::select! {
                    biased;
                    cause = self.told() => cause,
                    () = self.left_for(time) => Cause::ClientLeft,
                }
            }
            OnLeave::FinishWithin { time: None, .. } | OnLeave::Cancel | OnLeave::Finish => self.told().await,
        }
    }

    /// Resolves when nobody has read for so long.
    async fn left_for(&self, time: Duration) {
        let mut seats = self.seats.subscribe();
        loop {
            // The sender lives in `self`: the channel cannot close meanwhile.
            drop(seats.wait_for(|seats| *seats == 0).await);
            let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now);
            tokio::select! {
                () = sleep_until(left + time) => return,
                back = seats.wait_for(|seats| *seats > 0) => drop(back),
            }
        }
    }

    /// How many more words the model may say while nobody reads; `None` is no limit.
    fn allowance(&self) -> Option<u64> {
        let OnLeave::FinishWithin { tokens, .. } = self.on_leave else { return None };
        tokens.filter(|_| *self.seats.borrow() == 0)
    }

    /// Resolves when the answer is told to stop.
    async fn told(&self) -> Cause {
        let mut stop = self.stop.subscribe();
        let cause = stop.wait_for(Option::is_some).await.ok().and_then(|cause| *cause);
        match cause {
            Some(cause) => cause,
            // The sender lives in `self`, so the channel cannot close before this returns.
            None => std::future::pending().await,
        }
    }

    /// A reader takes a seat.
    pub(crate) fn sit(self: &Arc<Self>) -> Seat {
        self.seats.send_modify(|seats| {
            *seats += 1;
            self.peak.fetch_max(*seats, Ordering::Relaxed);
        });
        Seat(Arc::clone(self))
    }

    /// The most readers it has had at once.
    pub(crate) fn peak_readers(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Resolves when no reader is left.
    pub(crate) async fn deserted(&self) {
        let mut seats = self.seats.subscribe();
        // The sender lives in `self`: the channel cannot close meanwhile.
        let _seats = seats.wait_for(|seats| *seats == 0).await;
    }

    /// The end is in the store: the next turn may build on it.
    pub(crate) fn record(&self) {
        self.recorded.send_replace(Recorded::Yes);
    }

    /// The store cannot take the end now: who waits for it is told so.
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
        match recorded.wait_for(|recorded| *recorded != Recorded::NotYet).await.map(|recorded| *recorded) {
            Ok(Recorded::Yes) => Ok(()),
            Ok(Recorded::NotYet | Recorded::Failing) | Err(_) => Err(StoreError::Unavailable),
        }
    }
}

/// A reader's presence. When the last one goes, the answer's policy decides.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Live>);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut was_last = false;
        self.0.seats.send_modify(|seats| {
            *seats -= 1;
            was_last = *seats == 0;
            if was_last {
                // Before anybody can see that there is no reader.
                *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        });
        if was_last && self.0.on_leave == OnLeave::Cancel {
            self.0.stop(Cause::ClientLeft);
        }
    }
}
