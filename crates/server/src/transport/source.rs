//! Where the entries of a streamed response come from: its log, or a request that has yet to come.

use engine::feed::Feed;
use engine::response::fault::log_fault;
use protocol::entry::Entry;
use protocol::fault::Fault;
use tokio::sync::oneshot;

use super::client::WRITE;
use crate::delayed_feed::DelayedFeed;
use crate::listen::ConnectionHandle;

/// The source of a response. Dropping it counts as leaving.
pub(crate) enum Source {
    /// The stream is open, and no request has come for it.
    Waiting(oneshot::Receiver<DelayedFeed>),
    /// The request has come; its response is delivered in a moment.
    Starting(DelayedFeed),
    /// The log.
    Log(Feed),
    /// There is nothing more to read.
    Done,
}

/// The next step of a source.
pub(super) enum Step {
    /// The request has come for which the stream is open.
    Requested(DelayedFeed),
    /// Its response is to be delivered.
    Started(Feed),
    Entries(Vec<Entry>),
    /// Every entry was read.
    End,
    /// The stream ends without a response.
    NoResponse,
    Failed(Fault),
}

impl Source {
    /// The entries go to this connection.
    pub(super) fn set_connection(&self, connection: Option<&ConnectionHandle>) {
        if let (Self::Log(feed), Some(connection)) = (self, connection) {
            feed.set_connection(connection.id());
        }
    }

    /// The next step. Cancel safe.
    pub(super) async fn next(&mut self) -> Step {
        match self {
            Self::Waiting(request) => request.await.map_or(Step::NoResponse, Step::Requested),
            Self::Starting(feed) => Step::Started(feed.await),
            Self::Log(feed) => match feed.next(WRITE).await {
                Ok(Some(entries)) => Step::Entries(entries),
                Ok(None) => Step::End,
                Err(error) => Step::Failed(log_fault(error)),
            },
            Self::Done => std::future::pending().await,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Whether something can be read at once.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Log(feed) => feed.is_ready(),
            Self::Waiting(_) | Self::Starting(_) | Self::Done => false,
        }
    }

    /// Whether every entry was read. It is known with the last one, and does not take another turn.
    pub(super) fn is_at_end(&self) -> bool {
        match self {
            Self::Log(feed) => feed.is_at_end(),
            Self::Waiting(_) | Self::Starting(_) | Self::Done => false,
        }
    }
}
