//! One call of an upstream, and the peer it goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use protocol::id::Owner;
use protocol::trace::TraceContext;

/// One call of an upstream, as traces see it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Where in a trace it stands, if that is to be passed on.
    pub trace: Option<TraceContext>,
    /// For whom it is: callers wait for an upstream in turn.
    pub owner: Option<Owner>,
    /// Zero while there is none.
    status: Arc<AtomicU16>,
    is_given_up: Arc<AtomicBool>,
}

impl Call {
    /// A call for `owner` at this place of a trace.
    pub fn new(owner: Owner, trace: Option<TraceContext>) -> Self {
        Self { trace, owner: Some(owner), ..Self::default() }
    }

    /// The upstream has answered with a status of HTTP.
    pub fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Whoever asked waits no longer: the upstream was silent for too long. To be said before the words are dropped.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether it was silent for too long.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// The status it answered with.
    pub fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }
}

/// Who is asked, for metrics and traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// OpenTelemetry's word for it (`gen_ai.provider.name`), or the name of the upstream.
    pub system: Arc<str>,
    /// The host and the port, unless it is a part of this process.
    pub address: Option<(Arc<str>, u16)>,
}
