//! `/v1/responses`: create, retrieve and resume, cancel, delete, what went in, what it would cost, compact.

use std::fmt::Write;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query as QueryOf, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use codec::Frame;
use engine::response::compact::Compacting;
use engine::response::options::{Idempotency, Terms};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use protocol::dialect::{Dialect, responses};
use protocol::event::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::id::ResponseId;
use protocol::item::Item;
use protocol::snapshot;
use serde_json::{Value, json};

use super::hold::{Held, hold, patience};
use crate::app::App;
use crate::error::{self, Refused, left};
use crate::http::body::{self, Read};
use crate::http::context::RequestContext as From;
use crate::http::extract::Path;
use crate::http::query::{self, Query};
use crate::listen::Connection;
use crate::metrics::Words;
use crate::transport::{Delivery, Ending, Failed, StreamFrame, respond, response_in, stream_frame, tell_lens, wait_for_end};

/// The head of a document.
const JSON: [(HeaderName, HeaderValue); 1] = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];

/// `POST /v1/responses`
pub(crate) async fn create(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    let key = idempotency_key(&headers)?;
    let path = key.as_ref().map(|_| "/v1/responses");
    let Read { request: create, fingerprint, bytes } = body::json(&app, &from.owner, &headers, body, path, responses::read_create).await?;
    let idempotency = key.zip(fingerprint).map(|(key, request)| Idempotency { key, request });
    // The body may have taken its time.
    from.grant.check()?;
    let (stream, background) = (create.stream, create.background);
    let terms = Terms { idempotency, trace: from.trace.clone(), bytes: Some(bytes), ..Terms::default() };
    let started = app.engine.start(&from.owner, create, terms).await?;
    let mut feed = started.feed;
    // What runs in the background is acknowledged at once.
    let patience = if background { Duration::ZERO } else { patience(&app.config, &headers) };
    let response = if stream && matches!(hold(&mut feed, from.connection.as_ref(), patience).await?, Held::Go) {
        respond(deliver(&app, from, feed, stream_frame(&headers)))
    } else if background {
        // An acknowledgement: of the answer it has by chance as much as there is, so that nothing of it is told to the lens as text.
        Json(app.engine.response(&from.owner, &started.id).await?).into_response()
    } else {
        let _counted = app.metrics.stream(Frame::Json, Words::Responses);
        match wait_for_end(feed, &from, app.config.fin_leaves_json).await {
            Ending::Answer(terminal) => whole(&terminal, from.connection.as_ref()),
            Ending::Failed(failed) => part(&failed),
            Ending::Left => Refused(left()).into_response(),
        }
    };
    Ok(warned(named(response, &started.id), &started.ignored))
}

/// `GET /v1/responses/{id}`, with `?stream=true` and `starting_after=N` to resume; the position alone means a stream.
pub(crate) async fn retrieve(
    State(app): State<App>,
    from: From,
    Path(id): Path<ResponseId>,
    QueryOf(query): QueryOf<Query>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let after = query::integer(&query, "starting_after", 0..=u64::MAX)?;
    // A position is one of a stream. openai-go sends `stream` in the body, which a GET has not.
    let is_streamed = query::boolean(&query, "stream")? || (after.is_some() && !query.contains_key("stream"));
    if !is_streamed {
        if after.is_some() {
            let message = "'starting_after' is a position in a stream: leave out stream=false.";
            return Err(Fault::invalid("invalid_value", "starting_after", message).into());
        }
        let response = app.engine.response(&from.owner, &id).await?;
        return Ok(named(current(&app, &from, response).await, &id));
    }
    let feed = app.engine.feed(&from.owner, &id, after).await?;
    Ok(named(respond(deliver(&app, from, feed, stream_frame(&headers))), &id))
}

/// `DELETE /v1/responses/{id}`
pub(crate) async fn delete(State(app): State<App>, from: From, Path(id): Path<ResponseId>) -> Result<Json<Value>, Refused> {
    app.engine.delete(&from.owner, &id).await?;
    Ok(Json(json!({ "id": id, "object": "response", "deleted": true })))
}

/// `POST /v1/responses/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<App>,
    from: From,
    Path(id): Path<ResponseId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    // SDKs send an empty body, or `{}`; whatever it says, it changes nothing.
    body::ignore(&app.config, &headers, body).await?;
    let response = app.engine.cancel(&from.owner, &id).await?;
    Ok(named(current(&app, &from, response).await, &id))
}

/// `GET /v1/responses/{id}/input_items`
pub(crate) async fn input_items(
    State(app): State<App>,
    from: From,
    Path(id): Path<ResponseId>,
    QueryOf(query): QueryOf<Query>,
) -> Result<Response, Refused> {
    let limit = query::integer(&query, "limit", 1..=100)?.unwrap_or(20);
    let mut items = app.engine.input_items(&from.owner, &id).await?;
    match query.get("order").map(String::as_str) {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => return Err(Fault::invalid("invalid_value", "order", "Invalid value for 'order': expected 'asc' or 'desc'.").into()),
    }
    if let Some(after) = query.get("after") {
        let index = items.iter().position(|item| item.id().as_str() == after).ok_or_else(|| {
            Fault::invalid("invalid_value", "after", format!("Invalid value for 'after': there is no item '{after}' here."))
        })?;
        items.drain(..=index);
    }
    let has_more = items.len() as u64 > limit;
    items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let bytes = items.iter().map(|item| item.weight() as u64).sum();
    let list = move || {
        let id_of = |item: Option<&Item>| item.map(|item| item.id().clone());
        let (first, last) = (id_of(items.first()), id_of(items.last()));
        json!({ "object": "list", "first_id": first, "last_id": last, "has_more": has_more, "data": items }).to_string()
    };
    let list = app.engine.work_sized(&from.owner, bytes, list).await.ok_or_else(unreadable)?;
    Ok((JSON, list).into_response())
}

/// `POST /v1/responses/input_tokens`
pub(crate) async fn input_tokens(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Json<Value>, Refused> {
    let Read { request, bytes: _in_hand, .. } = body::json(&app, &from.owner, &headers, body, None, responses::read_count).await?;
    let tokens = app.engine.count_input(&from.owner, request).await?;
    Ok(Json(json!({ "object": "response.input_tokens", "input_tokens": tokens })))
}

/// `POST /v1/responses/compact`
pub(crate) async fn compact(State(app): State<App>, from: From, headers: HeaderMap, body: Body) -> Result<Response, Refused> {
    let Read { request, bytes, .. } = body::json(&app, &from.owner, &headers, body, None, responses::read_compact).await?;
    from.grant.check()?;
    let Compacting { id, feed, kept } = app.engine.compact(&from.owner, request, from.trace.clone(), bytes).await?;
    let _counted = app.metrics.stream(Frame::Json, Words::Responses);
    let response = match wait_for_end(feed, &from, app.config.fin_leaves_json).await {
        Ending::Answer(terminal) => snapshot::response(&[terminal])
            .ok_or_else(unreadable)
            .and_then(|response| kept.with_summary(&response))
            .map_or_else(|fault| Refused(fault).into_response(), |compacted| Json(compacted).into_response()),
        Ending::Failed(failed) => part(&failed),
        Ending::Left => Refused(left()).into_response(),
    };
    Ok(named(response, &id))
}

/// A reader of the log in its own words.
pub(super) fn deliver(app: &App, from: From, feed: engine::feed::Feed, frame: StreamFrame) -> Delivery {
    Delivery {
        feed,
        dialect: Dialect::Responses,
        frame,
        grant: from.grant,
        connection: from.connection,
        is_http_1_0: from.is_http_1_0,
        config: app.config.clone(),
        drain: app.drain.clone(),
        _counted: app.metrics.stream(frame.frame(), Words::Responses),
    }
}

/// A response as a document, byte for byte as the log has it.
fn whole(terminal: &Entry, connection: Option<&Connection>) -> Response {
    let Some(response) = response_in(terminal) else { return Refused(unreadable()).into_response() };
    document(Bytes::copy_from_slice(response.get().as_bytes()), connection)
}

/// The error of a response that failed, beside the response as it ended if the model had made anything.
fn part(failed: &Failed) -> Response {
    let response = failed.terminal().filter(|_| failed.has_output()).and_then(response_in);
    error::failed(failed, response.map(|response| ("response", response.get())))
}

/// A response as it is now.
async fn current(app: &App, from: &From, response: protocol::response::Response) -> Response {
    let output: u64 = response.output.iter().map(|item| item.weight() as u64).sum();
    let bytes = output + response.instructions.as_ref().map_or(0, |text| text.len() as u64);
    let written = app.engine.work_sized(&from.owner, bytes, move || serde_json::to_vec(&response).ok()).await.flatten();
    match written {
        Some(body) => document(body.into(), from.connection.as_ref()),
        None => Refused(unreadable()).into_response(),
    }
}

/// A response as the body of an answer.
fn document(body: Bytes, connection: Option<&Connection>) -> Response {
    tell_lens(connection, &body, &body);
    (JSON, body).into_response()
}

fn unreadable() -> Fault {
    Fault::new(FaultKind::Server, "server_error", "the log's last entry is not readable")
}

/// Puts the response's id on its answer, so that a client which waits for JSON, or is refused, still learns it.
pub(super) fn named(mut response: Response, id: &ResponseId) -> Response {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert("weir-response-id", value);
    }
    response
}

/// How long a warning may become: a request may have many fields.
const WARNING: usize = 1024;

/// Says in `weir-warning` which fields of the request have no effect, by path.
pub(super) fn warned(mut response: Response, ignored: &[String]) -> Response {
    if ignored.is_empty() {
        return response;
    }
    let mut warning = String::from("ignored: ");
    for (index, path) in ignored.iter().enumerate() {
        if warning.len() + path.len() > WARNING {
            _ = write!(warning, " and {} more", ignored.len() - index);
            break;
        }
        warning.push_str(if index == 0 { "" } else { ", " });
        // A field's name may be any text, a header's value may not.
        warning.extend(path.chars().map(|character| if matches!(character, ' '..='~') { character } else { '?' }));
    }
    if let Ok(value) = HeaderValue::from_str(&warning) {
        response.headers_mut().insert("weir-warning", value);
    }
    response
}

/// The idempotency key of a request.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > 255 {
        let message = "An Idempotency-Key has 1 to 255 printable characters.";
        return Err(Fault::invalid("invalid_value", "Idempotency-Key", message));
    }
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(ignored: &[&str]) -> Option<String> {
        let ignored: Vec<String> = ignored.iter().map(|&path| path.to_owned()).collect();
        let response = warned(Response::new(Body::empty()), &ignored);
        response.headers().get("weir-warning").map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn fields_without_effect_are_named() {
        assert_eq!(warning(&[]), None);
        assert_eq!(warning(&["tools[0]", "logprobs"]).unwrap(), "ignored: tools[0], logprobs");
    }

    #[test]
    fn a_warning_is_a_header_of_bounded_length_whatever_fields_are_called() {
        assert_eq!(warning(&["a\r\nset-cookie: b", "\u{6587}"]).unwrap(), "ignored: a??set-cookie: b, ?");
        let long = "x".repeat(700);
        assert_eq!(warning(&[&long, &long, &long]).unwrap(), format!("ignored: {long} and 2 more"));
    }
}
