//! `/v1/responses`: create, retrieve and resume, cancel, delete, list input items, count
//! input tokens, compact.

use axum::Json;
use axum::body::Body;
use axum::extract::{Query as QueryOf, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use codec::Frame;
use codec::json::Json as JsonFrame;
use engine::feed::Feed;
use engine::response::compact::Compacting;
use http::HeaderMap;
use protocol::dialect::responses::{self, Responses};
use protocol::fault::Fault;
use protocol::id::ResponseId;
use protocol::item::Item;
use protocol::snapshot;
use serde_json::{Value, json};

use super::generate::{self, document, json_body, part, render};
use super::headers::with_response_id;
use crate::app::App;
use crate::error::{FaultResponse, left};
use crate::http::body;
use crate::http::body::ReadBody;
use crate::http::context::RequestContext;
use crate::http::extract::PathParam;
use crate::query::{self, Query};
use crate::transport::{Delivery, JsonOutcome, Source, stream_frame, wait_for_end};

/// `POST /v1/responses`
pub(crate) async fn create(
    State(app): State<App>,
    context: Result<RequestContext, FaultResponse>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    generate::create::<Responses>(&app, context, &headers, body, "/v1/responses").await
}

/// `GET /v1/responses/{id}`, with `?stream=true` and `starting_after=N` to resume; the position
/// alone means a stream.
pub(crate) async fn retrieve(
    State(app): State<App>,
    context: RequestContext,
    PathParam(id): PathParam<ResponseId>,
    QueryOf(query): QueryOf<Query>,
    headers: HeaderMap,
) -> Result<Response, FaultResponse> {
    let after = query::integer(&query, "starting_after", 0..=u64::MAX)?;
    // A position implies a stream: openai-go sends `stream` in the body, which a GET does not have.
    let is_streamed =
        query::boolean(&query, "stream")? || (after.is_some() && !query.contains_key("stream"));
    if !is_streamed {
        if after.is_some() {
            let message = "'starting_after' is a position in a stream and cannot be combined with stream=false.";
            return Err(Fault::invalid("invalid_value", "starting_after", message).into());
        }
        let response = app.engine.response(&context.owner, &id).await?;
        return Ok(with_response_id(current(&app, &context, response).await, &id));
    }
    let feed = app.engine.feed(&context.owner, &id, after).await?;
    Ok(with_response_id(deliver(&app, context, feed, stream_frame(&headers)), &id))
}

/// `DELETE /v1/responses/{id}`
pub(crate) async fn delete(
    State(app): State<App>,
    context: RequestContext,
    PathParam(id): PathParam<ResponseId>,
) -> Result<Json<Value>, FaultResponse> {
    app.engine.delete(&context.owner, &id).await?;
    Ok(Json(json!({ "id": id, "object": "response", "deleted": true })))
}

/// `POST /v1/responses/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<App>,
    context: RequestContext,
    PathParam(id): PathParam<ResponseId>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FaultResponse> {
    // SDKs send an empty body or `{}`; the body is ignored.
    body::ignore(&app.config, &headers, body).await?;
    let response = app.engine.cancel(&context.owner, &id).await?;
    Ok(with_response_id(current(&app, &context, response).await, &id))
}

/// `GET /v1/responses/{id}/input_items`
pub(crate) async fn input_items(
    State(app): State<App>,
    context: RequestContext,
    PathParam(id): PathParam<ResponseId>,
    QueryOf(query): QueryOf<Query>,
) -> Result<Response, FaultResponse> {
    let limit = query::integer(&query, "limit", 1..=100)?.unwrap_or(20);
    let mut items = app.engine.input_items(&context.owner, &id).await?;
    match query.get("order").map(String::as_str) {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => {
            return Err(Fault::invalid(
                "invalid_value",
                "order",
                "Invalid value for 'order': expected 'asc' or 'desc'.",
            )
            .into());
        }
    }
    if let Some(after) = query.get("after") {
        let index = items.iter().position(|item| item.id().as_str() == after).ok_or_else(|| {
            Fault::invalid(
                "invalid_value",
                "after",
                format!("Invalid value for 'after': there is no item '{after}' here."),
            )
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
    let list = app
        .engine
        .work_sized(&context.owner, bytes, list)
        .await
        .ok_or_else(snapshot::unreadable)?;
    Ok(json_body(list.into()))
}

/// `POST /v1/responses/input_tokens`
pub(crate) async fn input_tokens(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, FaultResponse> {
    let ReadBody { request, bytes: _in_hand, .. } =
        body::json(&app, &context.owner, &headers, body, None, responses::read_count).await?;
    let tokens = app.engine.count_input(&context.owner, request).await?;
    Ok(Json(json!({ "object": "response.input_tokens", "input_tokens": tokens })))
}

/// `POST /v1/responses/compact`
pub(crate) async fn compact(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, FaultResponse> {
    let ReadBody { request, bytes, .. } =
        body::json(&app, &context.owner, &headers, body, None, responses::read_compact).await?;
    context.grant.check()?;
    let Compacting { id, feed, kept } =
        app.engine.compact(&context.owner, request, context.trace.clone(), bytes).await?;
    let _counted = app.metrics.stream(JsonFrame.name(), responses::DESCRIPTION.name);
    let response = match wait_for_end(feed, &Responses, &context, app.config.fin_leaves_json).await
    {
        JsonOutcome::Response(terminal) => {
            let bytes = terminal.data.len() as u64 + kept.weight();
            let document = move || {
                snapshot::response(&[terminal])
                    .ok_or_else(snapshot::unreadable)
                    .and_then(|response| kept.with_summary(&response))
                    .map_or_else(
                        |fault| FaultResponse(fault).into_response(),
                        |compacted| Json(compacted).into_response(),
                    )
            };
            render::<Responses>(&app, &context, bytes, document).await
        }
        JsonOutcome::Failed(failed) => part(&failed, &Responses),
        JsonOutcome::Left => FaultResponse(left()).into_response(),
    };
    Ok(with_response_id(response, &id))
}

/// A reader of the log in its own vocabulary.
pub(super) fn deliver(
    app: &App,
    context: RequestContext,
    feed: Feed,
    frame: &'static dyn Frame,
) -> Response {
    Delivery::new(app, context, Source::Log(feed), Box::new(Responses), frame).respond()
}

/// The current state of a response.
async fn current(
    app: &App,
    context: &RequestContext,
    response: protocol::response::Response,
) -> Response {
    let bytes = response.weight() as u64;
    let written = app
        .engine
        .work_sized(&context.owner, bytes, move || serde_json::to_vec(&response).ok())
        .await
        .flatten();
    match written {
        Some(body) => {
            let body = Bytes::from(body);
            document(body.clone(), &body, context.connection.as_ref())
        }
        None => FaultResponse(snapshot::unreadable()).into_response(),
    }
}
