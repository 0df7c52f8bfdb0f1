//! Responses as one document: a reader that waits for the end, and how much of the body is the
//! model's text.

use std::sync::OnceLock;

use axum::response::Response as HttpResponse;
use engine::feed::Feed;
use engine::log::LogError;
use engine::response::fault::log_fault;
use http::HeaderValue;
use lens::live::ResponseBytes;
use protocol::dialect::Dialect;
use protocol::entry::Entry;
use protocol::event::EventKind;
use protocol::fault::Fault;
use protocol::snapshot;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error;
use crate::grants::revoked;
use crate::http::context::RequestContext;
use crate::listen::{ConnectionHandle, Signal};

/// How a response ended, for a client that waited for it.
pub(crate) enum JsonOutcome {
    /// It ended as a response: the terminal entry.
    Response(Entry),
    /// It failed.
    Failed(Failed),
    /// The client has left.
    Left,
}

/// A response that failed. The fault has the status of an immediate failure.
#[derive(Debug)]
pub(crate) struct Failed {
    fault: Fault,
    terminal: Option<Entry>,
    /// Read from the terminal entry when it is first asked for.
    has_output: OnceLock<bool>,
}

impl Failed {
    /// It ended with this entry.
    pub(crate) fn at(fault: Fault, terminal: Entry) -> Self {
        Self { fault, terminal: Some(terminal), has_output: OnceLock::new() }
    }

    fn without_end(fault: Fault, has_output: bool) -> Self {
        Self { fault, terminal: None, has_output: OnceLock::from(has_output) }
    }

    /// Its log failed: how it ends is not known yet.
    fn unknown(error: LogError, has_output: bool) -> Self {
        Self::without_end(log_fault(error), has_output)
    }

    pub(crate) fn fault(&self) -> &Fault {
        &self.fault
    }

    /// The HTTP response, with the `body` of its dialect.
    ///
    /// SDKs retry most statuses. After output of the model a retry would be paid for twice, so the
    /// caller has to decide.
    pub(crate) fn respond(&self, body: String) -> HttpResponse {
        let mut response = error::respond(&self.fault, body);
        if self.has_output() {
            response.headers_mut().insert(error::SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response
    }

    /// Its last entry, where its log could be read.
    pub(crate) fn terminal(&self) -> Option<&Entry> {
        self.terminal.as_ref()
    }

    /// Whether there was output of the model: a retry would then be paid for again.
    pub(crate) fn has_output(&self) -> bool {
        let has_output = |terminal: &Entry| {
            let response = snapshot::response(std::slice::from_ref(terminal));
            response.is_some_and(|response| !response.output.is_empty())
        };
        *self.has_output.get_or_init(|| self.terminal.as_ref().is_some_and(has_output))
    }
}

/// Waits for the end, as long as the client does and its key is good. Dropping the feed on return
/// counts as the client's leaving.
pub(crate) async fn wait_for_end(
    mut feed: Feed,
    dialect: &dyn Dialect,
    context: &RequestContext,
    fin_leaves: bool,
) -> JsonOutcome {
    let first_output = dialect.first_output();
    if let Some(connection) = &context.connection {
        feed.set_connection(connection.id());
    }
    let ending = tokio::select! {
        biased;
        _ = context.grant.ended() => return JsonOutcome::Failed(Failed::without_end(revoked(), false)),
        ending = feed.ending() => ending,
        () = client_left(context.connection.as_ref(), fin_leaves) => return JsonOutcome::Left,
    };
    let entries = match ending {
        Ok(entries) => entries,
        Err(error) => {
            return JsonOutcome::Failed(Failed::unknown(error, feed.committed() > first_output));
        }
    };
    match entries.as_slice() {
        [.., error, terminal]
            if terminal.kind == EventKind::Failed && error.kind == EventKind::Error =>
        {
            JsonOutcome::Failed(Failed::at(fault(error), terminal.clone()))
        }
        [.., terminal] => JsonOutcome::Response(terminal.clone()),
        [] => JsonOutcome::Failed(Failed::unknown(
            LogError::Unavailable,
            feed.committed() > first_output,
        )),
    }
}

/// Resolves when the client has left: by a reset, or by a FIN where that counts.
pub(crate) async fn client_left(connection: Option<&ConnectionHandle>, fin_leaves: bool) {
    let Some(connection) = connection else { return std::future::pending().await };
    if connection.signal().await == Signal::Fin && !fin_leaves {
        connection.reset().await;
    }
}

/// Reports to the lens which part of a body is the text of this response, and which the JSON around
/// it.
pub(crate) fn tell_lens(connection: Option<&ConnectionHandle>, response: &[u8], body: &[u8]) {
    let Some(connection) = connection.filter(|connection| connection.timeline().is_sampled())
    else {
        return;
    };
    let text = text_bytes(response);
    connection.timeline().add_response_bytes(ResponseBytes {
        text,
        dialect: (body.len() as u64).saturating_sub(text),
        ..ResponseBytes::default()
    });
}

/// How many bytes of a response are the model's text, in their JSON form, which is the same in
/// every dialect.
fn text_bytes(response: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Response<'a> {
        #[serde(borrow, default)]
        output: Vec<Item<'a>>,
    }
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(borrow, default)]
        content: Option<Vec<Part<'a>>>,
        #[serde(borrow, default)]
        summary: Option<Vec<Part<'a>>>,
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, default)]
        text: Option<&'a RawValue>,
        #[serde(borrow, default)]
        refusal: Option<&'a RawValue>,
    }
    let Ok(response) = serde_json::from_slice::<Response<'_>>(response) else { return 0 };
    let of_item = |item: Item<'_>| {
        let parts = item.content.into_iter().chain(item.summary).flatten();
        let texts = parts.flat_map(|part| [part.text, part.refusal]).chain([item.arguments]);
        // Between the quotes.
        texts.flatten().map(|text| (text.get().len() as u64).saturating_sub(2)).sum::<u64>()
    };
    response.output.into_iter().map(of_item).sum()
}

/// The fault in an `error` entry.
pub(crate) fn fault(entry: &Entry) -> Fault {
    #[derive(Deserialize)]
    struct ErrorEvent {
        error: Value,
    }
    let payload =
        serde_json::from_slice::<ErrorEvent>(&entry.data).map_or(Value::Null, |event| event.error);
    Fault::from_payload(&payload)
}
