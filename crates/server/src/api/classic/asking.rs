//! Reads a question, finds the stream for its response, and accepts the question before the
//! response starts.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use engine::feed::Feed;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use protocol::dialect::classic::read_question;
use protocol::fault::Fault;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::api::headers::with_response_id;
use crate::app::App;
use crate::classic::CallerUid;
use crate::delayed_feed::DelayedFeed;
use crate::http::body;
use crate::http::context::RequestContext;

/// When a question failed.
pub(super) enum AskFailure {
    /// It failed before it took a stream, so its stream is still waiting.
    Early(Fault),
    /// It failed after that, so the stream has ended, or there was none.
    Late(Fault),
}

/// Asks on a stream of the asker, and responds with the number of the question's tokens.
pub(super) async fn ask(
    app: &App,
    asker: &CallerUid,
    context: &RequestContext,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, AskFailure> {
    let read = async {
        if let Some(fault) = app.engine.draining() {
            return Err(fault);
        }
        let read = body::json(app, &asker.owner, headers, body, None, read_question).await?;
        let question = read.request;
        let model = app.classic.model(&app.engine).await?;
        Ok((question, model))
    };
    let (question, model) = read.await.map_err(AskFailure::Early)?;
    // From here on a failure drops the reserved stream, which ends it.
    let place = app
        .classic
        .channels
        .pair(asker, app.config.classic.patience)
        .await
        .map_err(AskFailure::Late)?;
    // Reading the body and waiting for the stream may have taken long.
    context.grant.check().map_err(AskFailure::Late)?;
    let started = app
        .classic
        .start(&app.engine, asker, &model, question, context.trace.clone())
        .await
        .map_err(AskFailure::Late)?;
    let tokens = app
        .engine
        .count_context(&asker.owner, model, app.classic.instructions(), started.context)
        .await
        .map_err(AskFailure::Late)?;
    let (sending, sent) = oneshot::channel();
    place
        .give(&started.id, delayed(started.feed, sent, app.config.classic.grace))
        .map_err(AskFailure::Late)?;
    let tokens = json!({ "question_tokens": tokens }).to_string();
    let body = Body::new(Accepted { bytes: Some(tokens.into()), _sending: sending });
    let response = ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
        .into_response();
    Ok(with_response_id(response, &started.id))
}

/// The response once its question was accepted: a page creates the element for the text then. The
/// acceptance is sent on another connection, and the page has `grace` to read it there.
fn delayed(feed: Feed, sent: oneshot::Receiver<()>, grace: Duration) -> DelayedFeed {
    async move {
        // Sent, or the asking client has left: in both cases no one waits for it.
        let _sent = sent.await;
        sleep(grace).await;
        feed
    }
    .boxed()
}

/// The body that accepts a question. The server drops it after handing it to the connection.
struct Accepted {
    bytes: Option<Bytes>,
    _sending: oneshot::Sender<()>,
}

impl HttpBody for Accepted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}

/// Weir's own parameters. Anything else after the question belongs to it: the page does not encode
/// an `&`.
const PARAMETERS: [&str; 4] = ["uid", "lastEventId", "padding", "ticket"];

/// Whether a query has a parameter.
pub(super) fn has(query: &str, name: &str) -> bool {
    parameter(query, name).is_some()
}

/// A parameter of a query, decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(decode)
}

/// The question in a query as the page writes it, which encodes nothing by itself: an `&` does not
/// end it, and a `+` is a plus. Percent-encoding by the browser is decoded; any other `%`
/// is literal.
pub(super) fn message(query: &str) -> String {
    let is_ours = |pair: &&str| {
        PARAMETERS
            .iter()
            .any(|name| pair.split_once('=').is_some_and(|(found, _value)| found == *name))
    };
    let from_message = query.split('&').skip_while(|pair| !pair.starts_with("message="));
    let parts: Vec<&str> = from_message.filter(|pair| !is_ours(pair)).collect();
    decode(parts.join("&").strip_prefix("message=").unwrap_or_default())
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
        let encoded =
            (*first == b'%').then(|| Some(hex(after.first())? * 16 + hex(after.get(1))?)).flatten();
        if let Some(byte) = encoded.and_then(|byte| u8::try_from(byte).ok()) {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &str) {
        assert_eq!(message(query), expected, "{query}");
    }

    #[test]
    fn c11_a_question_that_was_not_encoded_is_read_as_it_was_typed() {
        check("message=hello", "hello");
        check("message=%E4%BD%A0%E5%A5%BD%20Ada", "你好 Ada");
        check("message=1+1=2", "1+1=2");
        check("message=a&b&c=d", "a&b&c=d");
        check("message=100%&50%25", "100%&50%");
        check("message={}[]|^\\`%", "{}[]|^\\`%");
        check("message=%zz%4", "%zz%4");
        check("uid=7&message=hello&lastEventId=3", "hello");
        check("message=", "");
        check("", "");
        check("question=hello", "");
    }

    #[test]
    fn a_parameter_is_one_by_its_whole_name() {
        assert_eq!(parameter("message=a&uid=b%20c", "uid").as_deref(), Some("b c"));
        assert!(has("message=a&lastEventId=", "lastEventId"));
        assert!(
            !has("message=lastEventId", "lastEventId") && !has("lastEventIds=1", "lastEventId")
        );
    }
}
