//! The frame `json`: a reader that waits for the end.

use engine::answers::log_fault;
use engine::feed::Feed;
use protocol::event::{Entry, EventKind};
use protocol::fault::Fault;
use serde::Deserialize;
use serde_json::Value;

use crate::listen::{Connection, Signal};

/// How an answer ended, as a client that waited for it learns it.
pub(crate) enum Ending {
    /// It ended as an answer: the terminal entry.
    Answer(Entry),
    /// It failed; the fault has the status it would have had at once.
    Failed(Fault),
    /// The client has left; nobody waits any more.
    Left,
}

/// Waits for the end, as long as the client does. Dropping the feed on return is the client's leaving.
pub(crate) async fn wait_for_end(mut feed: Feed, connection: Option<&Connection>, fin_leaves: bool) -> Ending {
    let ending = tokio::select! {
        biased;
        ending = feed.ending() => ending,
        () = left(connection, fin_leaves) => return Ending::Left,
    };
    let entries = match ending {
        Ok(entries) => entries,
        Err(error) => return Ending::Failed(log_fault(error)),
    };
    match entries.as_slice() {
        [.., error, terminal] if terminal.kind == EventKind::Failed && error.kind == EventKind::Error => Ending::Failed(fault(error)),
        [.., terminal] => Ending::Answer(terminal.clone()),
        [] => Ending::Failed(log_fault(engine::log::LogError::Unavailable)),
    }
}

/// Resolves when the client has left: by a reset, or by a FIN where that counts.
async fn left(connection: Option<&Connection>, fin_leaves: bool) {
    let Some(connection) = connection else { return std::future::pending().await };
    if connection.signal().await == Signal::Fin && !fin_leaves {
        connection.reset().await;
    }
}

/// The fault in an `error` entry.
pub(crate) fn fault(entry: &Entry) -> Fault {
    #[derive(Deserialize)]
    struct ErrorEvent {
        error: Value,
    }
    let payload = serde_json::from_slice::<ErrorEvent>(&entry.data).map_or(Value::Null, |event| event.error);
    Fault::from_payload(&payload)
}
