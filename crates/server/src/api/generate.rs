//! Serves one request of a dialect: reads it, starts the response, and delivers that as a document
//! or as a stream.
//!
//! A handler of a dialect calls [`create`] and adds only what its path or headers contain.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use codec::Frame;
use codec::json::Json as JsonFrame;
use engine::feed::Feed;
use engine::response::options::{Idempotency, StartOptions};
use http::{HeaderMap, HeaderValue, header};
use protocol::dialect::Dialect;
use protocol::entry::Entry;
use protocol::fault::Fault;
use protocol::snapshot;
use serde_json::value::RawValue;

use super::headers::{idempotency_key, with_response_id, with_warning};
use super::hold::{HoldOutcome, hold, patience};
use crate::app::App;
use crate::error::{FaultResponse, left, refused};
use crate::http::body;
use crate::http::body::ReadBody;
use crate::http::context::RequestContext;
use crate::listen::ConnectionHandle;
use crate::transport::{
    Delivery, Failed, JsonOutcome, Source, stream_frame, tell_lens, wait_for_end,
};

/// Serves a request of the dialect `D` that was posted to `path`. Every error is rendered by
/// the dialect.
pub(super) async fn create<D: Dialect + 'static>(
    app: &App,
    context: Result<RequestContext, FaultResponse>,
    headers: &HeaderMap,
    body: Body,
    path: &'static str,
) -> Response {
    let served = match context {
        Ok(context) => serve::<D>(app, context, headers, body, path).await,
        Err(refused) => Err(refused),
    };
    served.unwrap_or_else(|FaultResponse(fault)| refused::<D>(&fault))
}

async fn serve<D: Dialect + 'static>(
    app: &App,
    context: RequestContext,
    headers: &HeaderMap,
    body: Body,
    path: &'static str,
) -> Result<Response, FaultResponse> {
    let key = idempotency_key(headers)?;
    let fingerprinted = key.as_ref().map(|_| path);
    let ReadBody { request, fingerprint, bytes } =
        body::json(app, &context.owner, headers, body, fingerprinted, D::read).await?;
    let (create, dialect) = request;
    let idempotency = key.zip(fingerprint).map(|(key, request)| Idempotency { key, request });
    // Reading the body may have taken long.
    context.grant.check()?;
    let (stream, background) = (create.stream, create.background);
    let terms = StartOptions {
        idempotency,
        trace: context.trace.clone(),
        bytes: Some(bytes),
        ..StartOptions::default()
    };
    let started = app.engine.start(&context.owner, create, terms).await?;
    let (id, ignored, mut feed) = (started.id, started.ignored, started.feed);
    // A background response is acknowledged at once.
    let patience = if background { Duration::ZERO } else { patience(&app.config, headers) };
    let frame = stream_frame(headers);
    let may_stream = if stream {
        may_stream(app, &mut feed, &dialect, &context, (frame, patience)).await
    } else {
        Ok(false)
    };
    let response = match may_stream {
        Err(fault) => refused::<D>(&fault),
        Ok(true) => {
            Delivery::new(app, context, Source::Log(feed), Box::new(dialect), frame).respond()
        }
        // An acknowledgement: it has output only by chance, so the lens does not count any of it as
        // text.
        Ok(false) if background => {
            let response = app.engine.response(&context.owner, &id).await?;
            let bytes = response.weight() as u64;
            render::<D>(app, &context, bytes, move || Json(response).into_response()).await
        }
        Ok(false) => wait(app, feed, dialect, &context).await,
    };
    Ok(with_warning(with_response_id(response, &id), &ignored))
}

/// Whether the head of the stream may be sent: the response has not failed yet.
async fn may_stream<D: Dialect>(
    app: &App,
    feed: &mut Feed,
    dialect: &D,
    context: &RequestContext,
    (frame, patience): (&'static dyn Frame, Duration),
) -> Result<bool, Fault> {
    let _counted = app.metrics.stream(frame.name(), dialect.description().name);
    let held = hold(feed, dialect.first_output(), context.connection.as_ref(), patience).await?;
    Ok(matches!(held, HoldOutcome::Stream))
}

/// Waits for the end and gives the response as one document.
async fn wait<D: Dialect + 'static>(
    app: &App,
    feed: Feed,
    dialect: D,
    context: &RequestContext,
) -> Response {
    let _counted = app.metrics.stream(JsonFrame.name(), dialect.description().name);
    match wait_for_end(feed, &dialect, context, app.config.fin_leaves_json).await {
        JsonOutcome::Response(terminal) => {
            let (bytes, connection) = (terminal.data.len() as u64, context.connection.clone());
            let document = move || whole(terminal, &dialect, connection.as_ref());
            render::<D>(app, context, bytes, document).await
        }
        JsonOutcome::Failed(ending) => {
            let bytes = ending.terminal().map_or(0, |terminal| terminal.data.len() as u64);
            render::<D>(app, context, bytes, move || part(&ending, &dialect)).await
        }
        JsonOutcome::Left => refused::<D>(&left()),
    }
}

/// Renders a document of about this many bytes: a large one off the runtime's threads.
pub(super) async fn render<D: Dialect>(
    app: &App,
    context: &RequestContext,
    bytes: u64,
    document: impl FnOnce() -> Response + Send + 'static,
) -> Response {
    let rendered = app.engine.work_sized(&context.owner, bytes, document).await;
    rendered.unwrap_or_else(|| refused::<D>(&snapshot::unreadable()))
}

/// A response as a document, or as an error if its dialect cannot represent how it ended.
fn whole<D: Dialect>(
    terminal: Entry,
    dialect: &D,
    connection: Option<&ConnectionHandle>,
) -> Response {
    match dialect.whole(&terminal) {
        Ok(body) => {
            let response = snapshot::response_json(&terminal).map_or("", RawValue::get);
            document(body, response.as_bytes(), connection)
        }
        Err(fault) => part(&Failed::at(fault, terminal), dialect),
    }
}

/// The error of a failed response, with the model's output so far, if any.
pub(super) fn part<D: Dialect>(ending: &Failed, dialect: &D) -> Response {
    let partial = ending
        .terminal()
        .filter(|_| ending.has_output())
        .and_then(|terminal| dialect.partial(terminal));
    ending.respond(D::error_body(ending.fault(), partial))
}

/// A JSON body that holds this response.
pub(super) fn document(
    body: Bytes,
    response: &[u8],
    connection: Option<&ConnectionHandle>,
) -> Response {
    tell_lens(connection, response, &body);
    json_body(body)
}

/// A JSON body.
pub(super) fn json_body(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(JsonFrame.content_type()))], body)
        .into_response()
}

#[cfg(test)]
mod tests;
