//! Runs one answer: asks upstream, appends what comes to the log, and sees to it that there is exactly one end.

mod run;
mod state;

use std::sync::Arc;

use protocol::fault::{Fault, FaultKind};
use protocol::id::{Owner, ResponseId};
use tokio::sync::watch;

pub(crate) use run::Turn;
pub(crate) use state::Answer;

use crate::config::OnLeave;

/// Why an answer was stopped before the model had finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Cancelled,
    /// Its last reader left, and that meant stop.
    ClientLeft,
    /// Its owner deleted it.
    Deleted,
    /// The server shuts down and could not wait longer.
    ServerShutdown,
}

impl Cause {
    /// The word in `incomplete_details.reason`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Cancelled | Self::Deleted => "cancelled",
            Self::ClientLeft => "client_left",
            Self::ServerShutdown => "server_shutdown",
        }
    }

    /// A shutdown is nobody's wish: it is a failure (promise 3).
    pub(crate) fn fault(self) -> Option<Fault> {
        match self {
            Self::ServerShutdown => {
                Some(Fault::new(FaultKind::Server, "server_shutdown", "the server shut down before the answer was whole").with_status(503))
            }
            Self::Cancelled | Self::ClientLeft | Self::Deleted => None,
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
    on_leave: OnLeave,
    stop: watch::Sender<Option<Cause>>,
    seats: watch::Sender<usize>,
    recorded: watch::Sender<bool>,
}

impl Live {
    pub(crate) fn new(id: ResponseId, owner: Owner, on_leave: OnLeave, thread: Option<String>) -> Arc<Self> {
        Arc::new(Self {
            id,
            owner,
            thread,
            on_leave,
            stop: watch::Sender::new(None),
            seats: watch::Sender::new(0),
            recorded: watch::Sender::new(false),
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

    /// Resolves when the answer is to stop.
    async fn stopped(&self) -> Cause {
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
        self.seats.send_modify(|seats| *seats += 1);
        Seat(Arc::clone(self))
    }

    /// Resolves when no reader is left.
    pub(crate) async fn deserted(&self) {
        let mut seats = self.seats.subscribe();
        // The sender lives in `self`: the channel cannot close meanwhile.
        let _seats = seats.wait_for(|seats| *seats == 0).await;
    }

    /// The end is in the store: the next turn may build on it.
    pub(crate) fn record(&self) {
        self.recorded.send_replace(true);
    }

    /// Resolves when the end is in the store.
    pub(crate) async fn recorded(&self) {
        let mut recorded = self.recorded.subscribe();
        let _recorded = recorded.wait_for(|recorded| *recorded).await;
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
        });
        if was_last && self.0.on_leave == OnLeave::Cancel {
            self.0.stop(Cause::ClientLeft);
        }
    }
}
